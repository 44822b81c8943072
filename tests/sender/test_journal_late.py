"""A spool that can be read at last settles those who are in doubt because of it, and nobody else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from journals import HOUR, NOON, chunk, control

from sender.held import left_behind
from sender.journal import core, late, orders, rows
from sender.journal.spool_evidence import MAY_HAVE_BEGUN, NEVER_BEGUN, Fate
from sender.journal.spool_lines import SpoolEnd
from sender.journal.values import BatchJournal, Ended
from sender.traffic import Known

KEY = ("c", 1)
END = SpoolEnd("accepted", NOON + timedelta(minutes=1), 2, 250, "2.0.0", "", "Ok", "id-7")
REFUSED = SpoolEnd("failed", NOON, 1, 550, "5.1.1", "bad_mailbox", "no such user")


def taken_over(fates: dict[int, Fate] | None = None) -> BatchJournal:
    """Ten indices that a process left intended whose spool could not be read; the permit has ended."""
    journal, _, _ = core.take_permit(None, chunk(), NOON)
    journal, begun = core.begin(journal, 10, NOON, "spool-1")
    clues = core.spools_of(journal, begun)
    left = [left_behind(Known(KEY, 1, {}), i, NOON, (fates or {}).get(i), clues[i]) for i in begun]
    journal, _ = core.ended(journal, left)
    return core.finish(journal, NOON, "done")[0]


def told(journal: BatchJournal, fates: dict[int, Fate]) -> Any:
    clues = late.unread(journal)
    return late.settle(
        journal, [left_behind(Known(KEY, 1, {}), i, NOON, fate, clues.get(i)) for i, fate in fates.items()]
    )


def test_each_becomes_what_the_spool_says() -> None:
    journal = taken_over()
    assert (journal.states(), set(late.unread(journal).values())) == ("d" * 10, {("spool-1", 0)})
    assert core.report(journal, NOON)[1].awaited == 10
    fates = {
        0: Fate("ended", 2, END), 1: Fate("ended", 1, REFUSED), 2: NEVER_BEGUN, 3: MAY_HAVE_BEGUN,
        4: Fate("ended", 1, SpoolEnd("lost_after", NOON)), 5: Fate("ended", 1, SpoolEnd("transient", NOON, 1, 451)),
    }  # fmt: skip
    journal, facts = told(journal, fates)
    assert journal.states() == "afoddodddd"
    assert [(f.type, f.ended.index, f.attempt, f.round) for f in facts] == [("accepted", 0, 2, 0), ("failed", 1, 1, 0)]
    assert (facts[0].ended.provider_id, facts[0].ended.at) == ("id-7", END.at)
    assert sorted(late.unread(journal)) == [6, 7, 8, 9]  # of 3 and 4 there is nothing more to learn
    _, result = core.report(journal, NOON)
    assert (result.accepted, result.failed, result.open) == (1, ((1, 2),), ((2, 3), (5, 6)))
    assert result.awaited == 4
    journal, taken, _ = core.take_permit(journal, chunk(2, ranges=((2, 3),)), NOON)
    assert (taken, core.begin(journal, 10, NOON)[1]) == ("started", [2])


def test_to_hear_it_twice_changes_nothing() -> None:
    fates = {i: NEVER_BEGUN if i % 2 else Fate("ended", 1, END) for i in range(10)}
    journal, facts = told(taken_over(), fates)
    assert len(facts) == 5
    assert told(journal, fates)[1] == []
    assert told(journal, fates)[0].states() == journal.states() == "ao" * 5


@pytest.mark.parametrize(("resolution", "state"), [("accepted", "a"), ("drop", "f"), ("resend", "o")])
def test_what_a_person_has_settled_stays(resolution: str, state: str) -> None:
    journal, order = taken_over(), control("resolve", 1, resolution=resolution, address="p3@x.example")
    journal, _, _ = orders.resolve(orders.order(journal, order)[0], order, {3: "p3@x.example"}, NOON)
    assert 3 not in late.unread(journal)
    assert core.report(journal, NOON)[1].awaited == 9
    assert told(journal, {3: Fate("ended", 1, REFUSED if resolution != "drop" else END)})[0].states()[3] == state


def test_one_who_was_sent_again_is_not_what_the_old_spool_says() -> None:
    journal, _, _ = core.take_permit(taken_over(), chunk(2, round=1, ranges=((3, 4),)), NOON)
    journal, begun = core.begin(journal, 10, NOON, "spool-2")
    assert begun == [3]
    journal, _ = core.ended(journal, [Ended(3, "in_doubt", NOON)])
    assert 3 not in late.unread(journal)
    assert told(journal, {3: NEVER_BEGUN})[0].states()[3] == "d"


def test_a_spool_that_was_read_in_time_is_not_waited_for() -> None:
    journal = taken_over({i: MAY_HAVE_BEGUN if i < 4 else NEVER_BEGUN for i in range(10)})
    assert (journal.states(), late.unread(journal)) == ("dddd" + "o" * 6, {})


def test_the_next_owner_knows_which_spools_to_wait_for() -> None:
    journal = taken_over()
    written = dict(rows.changes(None, journal, NOON + HOUR))
    windows = [value for key, value in written.items() if value is not None and b"#" in key]
    assert rows.load(written[b"c/1!"] or b"", windows) == journal
