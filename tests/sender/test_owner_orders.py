"""Orders that reach the owner of a batch while something of it is on its way."""

from __future__ import annotations

import pytest
from journals import NOON, chunk, control
from test_owner_poison import Desk, events, results

from sender.journal import core, late, orders
from sender.journal.values import Ended, EndKind
from sender.traffic import Came, Drained, Known


def resending(n: int = 2) -> Desk:
    """A desk whose run is to send to so many, and to whom it is unknown once more."""
    desk = Desk()
    desk.give(chunk(1, ((0, n),), n, in_doubt="resend"))
    return desk


def test_who_was_seen_to_have_his_message_is_not_sent_to_again_when_his_owner_died() -> None:
    desk = Desk(rows=resending().rows)
    desk.give(control("evidence", 1, indices=((1, 2),)))
    desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {0: "p0@x.example", 1: "p1@x.example"}))
    effects = desk.give()
    assert events(effects) == [("in_doubt", 0), ("in_doubt", 1)]
    desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {1: "p1@x.example"}))
    effects = desk.give()
    assert events(effects) == [("accepted", 1)]
    assert (results(effects)["c"].open, results(effects)["c"].in_doubt) == (((0, 1),), ())
    desk.give(chunk(2, ((0, 2),), 2, in_doubt="resend"))
    assert desk.runs.granted[desk.runs.started["c"]] == (0,)


@pytest.mark.parametrize("kind", ["in_doubt", "not_begun", "deferred"])
def test_who_was_seen_to_have_his_message_is_not_sent_to_again_whatever_becomes_of_the_next(kind: EndKind) -> None:
    desk = resending()
    desk.give(control("evidence", 1, indices=((1, 2),)))
    run = desk.runs.started["c"]
    desk.owner.post(Came(("c", 1), run, [Ended(0, "failed", NOON), Ended(1, kind, NOON, tries=kind != "not_begun")]))
    desk.owner.post(Drained(("c", 1), run, "done"))
    desk.give()
    desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {1: "p1@x.example"}))
    effects = desk.give()
    assert events(effects) == [("accepted", 1)]
    result = results(effects)["c"]
    assert (result.final, result.accepted, result.in_doubt, result.open, result.deferred) == (True, 1, (), (), ())


def test_evidence_waits_for_one_of_whom_a_spool_says_late_that_his_next_message_was_not_begun() -> None:
    journal, indices = core.begin(core.take_permit(None, chunk(size=1, ranges=((0, 1),)), NOON)[0], 1, NOON, "s")
    journal, _ = core.ended(journal, [Ended(0, "in_doubt", NOON, recovered=True, unread="s")])
    journal, _ = orders.order(journal, control("evidence", 1, indices=((0, 1),)))
    never = [Ended(i, "not_begun", NOON, 0) for i in indices]
    journal = orders.awaiting(late.settle(journal, never)[0], never)
    assert orders.next_order(journal)[1] is not None
