"""Orders that reach the owner of a batch while something of it is on its way."""

from __future__ import annotations

import pytest
from journals import NOON, chunk, control
from test_owner_poison import Desk, events, results

from schemas.chunk import ChunkResult
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


def given_back(kind: EndKind = "in_doubt", **more: object) -> Desk:
    """A desk with one who was begun, and waits to be sent to again; nothing runs."""
    desk = Desk()
    desk.give(chunk(1, ((0, 2),), 2, **more))
    run = desk.runs.started["c"]
    desk.owner.post(Came(("c", 1), run, [Ended(0, "accepted", NOON), Ended(1, kind, NOON)]))
    desk.owner.post(Drained(("c", 1), run, "done"))
    desk.give()
    return desk


def seen_again(desk: Desk, version: int = 9) -> ChunkResult:
    """The answer to evidence of the one, which is looked up."""
    desk.give(control("evidence", version, indices=((1, 2),)))
    assert len(desk.runs.looks) == 1
    desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {1: "p1@x.example"}))
    effects = desk.give()
    assert events(effects) == [("accepted", 1)]
    return results(effects)["c"]


def test_evidence_settles_who_waits_to_be_sent_to_again_by_the_campaigns_policy() -> None:
    desk = given_back(in_doubt="resend")
    said = seen_again(desk)
    assert (said.order, said.settled, said.accepted, said.open, said.in_doubt) == (9, ((1, 2),), 2, (), ())
    again = results(desk.give(chunk(2, ((1, 2),), 2, in_doubt="resend")))["c"]
    assert (again.final, again.begun, again.unsent) == (True, 0, ())


def test_evidence_settles_who_waits_to_be_sent_to_again_by_a_persons_order() -> None:
    desk = given_back()
    desk.give(control("resolve", 1, resolution="resend", address="p1@x.example", indices=((1, 2),)))
    desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {1: "p1@x.example"}))
    assert results(desk.give())["c"].open == ((1, 2),)
    said = seen_again(desk)
    assert (said.settled, said.accepted, said.open, said.in_doubt) == (((1, 2),), 2, (), ())


def test_evidence_settles_who_was_deferred() -> None:
    said = seen_again(given_back("deferred", defer=True))
    assert (said.settled, said.accepted, said.deferred, said.in_doubt) == (((1, 2),), 2, (), ())


def test_a_permit_that_comes_with_the_evidence_begins_nobody_who_was_seen_to_have_his_message() -> None:
    for policy, round_ in (("resend", 0), ("hold", 1)):  # given back; or released again by a person's order
        desk = given_back(in_doubt=policy)
        effects = desk.give(
            control("evidence", 1, indices=((1, 2),)), chunk(2, ((1, 2),), 2, round=round_, in_doubt=policy)
        )
        answer = results(effects)["c"]
        assert (len(desk.runs.granted), answer.final, answer.unsent, answer.in_doubt) == (1, True, (), ((1, 2),))
        desk = Desk(rows=desk.rows)  # whoever owns it next
        desk.give()
        desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {1: "p1@x.example"}))
        effects = desk.give()
        assert (events(effects), results(effects)["c"].settled) == ([("accepted", 1)], ((1, 2),))


@pytest.mark.parametrize("kind", ["accepted", "failed"])
def test_evidence_of_the_first_message_leaves_the_second_alone_once_it_was_begun(kind: EndKind) -> None:
    desk = given_back(in_doubt="resend")
    desk.give(chunk(2, ((1, 2),), 2, in_doubt="resend"))
    run = desk.runs.started["c"]
    assert desk.runs.granted[run] == (1,)
    desk.give(control("evidence", 1, indices=((1, 2),)))
    desk.owner.post(Came(("c", 1), run, [Ended(1, kind, NOON)]))
    desk.owner.post(Drained(("c", 1), run, "done"))
    effects = desk.give()
    assert events(effects) == [(kind, 1)]
    final = results(effects)["c"]
    assert (final.final, final.begun, final.accepted, desk.runs.looks) == (True, 1, 1 + (kind == "accepted"), [])


def test_evidence_of_one_who_was_never_begun_is_about_nobody() -> None:
    desk = Desk()
    desk.give(chunk(1, ((0, 1),), 3), control("evidence", 1, indices=((1, 9),)))
    desk.say("c", 0)
    final = results(desk.give())["c"]
    assert (final.accepted, final.open, final.in_doubt, desk.runs.looks) == (1, ((1, 3),), (), [])


def test_who_was_seen_while_his_address_is_looked_up_to_send_to_him_again_is_not_sent_to_again() -> None:
    desk = given_back()
    desk.give(control("resolve", 1, resolution="resend", address="p1@x.example", indices=((1, 2),)))
    desk.give(control("evidence", 2, indices=((1, 2),)))
    for _ in range(4):
        while desk.runs.looks:
            desk.owner.post(Known(("c", 1), desk.runs.looks.pop(), {1: "p1@x.example"}))
        effects = desk.give()
    before = dict(desk.runs.started)
    effects = desk.give(chunk(2, ((1, 2),), 2))
    assert desk.runs.started == before
    assert results(effects)["c"].accepted == 2
