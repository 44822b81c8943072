"""Who was refused for now waits in the journal, and is begun again only under a permit that says after how often."""

from __future__ import annotations

import orjson
import pytest
from journals import HOUR, NOON, chunk

from schemas.chunk import Chunk
from schemas.journal import DEFERRED
from sender.journal import core, orders, rows
from sender.journal.values import BatchJournal, Ended


def taken(journal: BatchJournal | None, permit: Chunk) -> BatchJournal:
    journal, how, _ = core.take_permit(journal, permit, NOON)
    assert how == "started"
    return journal


def deferred(journal: BatchJournal, n: int = 10, tries: int = 4) -> BatchJournal:
    """All that the active permit begins is deferred, and it ends."""
    journal, indices = core.begin(journal, n, NOON)
    outcomes = [Ended(i, "deferred", NOON, tries, f"p{i}@x.example", text="4.7.1 Greylisted") for i in indices]
    journal, facts = core.ended(journal, outcomes)
    assert {f.type for f in facts} <= {"deferred"}
    return core.finish(journal, NOON, "done")[0]


def test_a_permit_that_names_nobody_who_was_deferred_begins_none_of_them() -> None:
    journal = deferred(taken(None, chunk(1, ((0, 10),))))
    assert journal.states() == DEFERRED * 10
    journal, how, result = core.take_permit(journal, chunk(2, ((0, 10),)), NOON)
    assert how == "answered"
    assert result is not None
    assert (result.begun, result.unsent, result.deferred) == (0, (), ((0, 10, 1),))


def test_a_permit_from_before_the_last_deferral_begins_nobody_however_late_it_comes() -> None:
    journal = deferred(taken(None, chunk(1)))
    again = chunk(2, deferrals=1)
    journal = deferred(taken(journal, again))
    journal, how, result = core.take_permit(journal, again, NOON)
    assert how == "answered"
    journal, how, result = core.take_permit(journal, chunk(3, deferrals=1), NOON)  # newer, and still too little
    assert how == "answered"
    assert result is not None
    assert (result.unsent, result.deferred) == ((), ((0, 10, 2),))
    assert core.begin(taken(journal, chunk(4, deferrals=2)), 10, NOON)[1] == list(range(10))


def test_who_is_begun_again_keeps_his_round_and_his_tries_go_on() -> None:
    journal = deferred(taken(None, chunk(1, size=3, ranges=((0, 3),))))
    journal, indices = core.begin(taken(journal, chunk(2, size=3, ranges=((0, 3),), deferrals=1)), 3, NOON)
    journal, facts = core.ended(journal, [Ended(i, "accepted", NOON, 2) for i in indices])
    assert [(f.type, f.round, f.attempt) for f in facts] == [("accepted", 0, 6)] * 3
    assert core.is_ended(core.finish(journal, NOON, "done")[0])


def test_what_was_not_begun_again_is_unsent_and_as_often_deferred_as_before() -> None:
    journal = deferred(taken(None, chunk(1)))
    journal, indices = core.begin(taken(journal, chunk(2, deferrals=1)), 4, NOON)
    journal, _ = core.ended(journal, [Ended(i, "not_begun", NOON, 0) for i in indices])
    journal, result = core.finish(journal, NOON, "paused")
    assert (result.unsent, result.deferred, result.begun) == (((0, 10),), ((0, 10, 1),), 0)
    assert core.begin(taken(journal, chunk(3, deferrals=1)), 10, NOON)[1] == list(range(10))


def test_a_new_round_begins_to_count_from_nothing() -> None:
    journal = deferred(taken(None, chunk(1)))
    journal = deferred(taken(journal, chunk(2, round=1)))
    assert core.report(journal, NOON)[1].deferred == ((0, 10, 1),)
    journal, how, _ = core.take_permit(journal, chunk(3, deferrals=1, round=0), NOON)
    assert how == "answered"  # of the round before


def test_who_is_in_doubt_after_deferrals_is_sent_again_where_that_is_wanted() -> None:
    journal = deferred(taken(None, chunk(1, in_doubt="resend")))
    journal = taken(journal, chunk(2, in_doubt="resend", deferrals=1))
    journal, indices = core.begin(journal, 10, NOON)
    assert len(indices) == 10
    journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON) for i in indices])
    journal, _ = core.finish(journal, NOON, "done")
    journal = taken(journal, chunk(3, in_doubt="resend", deferrals=1))
    journal, indices = core.begin(journal, 10, NOON)
    journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON) for i in indices])
    assert orders.in_doubt(journal) == list(range(10))  # twice is enough


def test_rows_keep_how_often_each_was_deferred() -> None:
    journal = taken(None, chunk(1, ((0, 120),), 120))
    journal, indices = core.begin(journal, 120, NOON)
    ends = [Ended(i, "deferred" if i % 3 == 0 and i > 50 else "accepted", NOON) for i in indices]
    journal, _ = core.ended(journal, ends)
    journal, result = core.finish(journal, NOON, "done")
    written = {k: v for k, v in rows.changes(None, journal, NOON) if v is not None}
    loaded = rows.load(written[b"c/1!"], [v for k, v in written.items() if b"#" in k])
    assert loaded == journal
    assert result.deferral is not None
    assert result.deferral.attempts == 1
    again = core.begin(taken(loaded, chunk(2, ((0, 120),), 120, deferrals=1)), 120, NOON)[1]
    assert again == [i for i in range(51, 120) if i % 3 == 0]
    assert not core.is_ended(journal)


def test_nothing_is_begun_again_after_until() -> None:
    journal = deferred(taken(None, chunk(1)))
    _, how, result = core.take_permit(journal, chunk(2, deferrals=1), NOON + HOUR)
    assert how == "answered"
    assert result is not None
    assert (result.stopped, result.unsent) == ("expired", ((0, 10),))


@pytest.mark.parametrize("refusals", [0, 1, 2, 5])
@pytest.mark.parametrize("tries", [1, 4])
@pytest.mark.parametrize("between", [0, 1, 3])
def test_however_often_he_is_refused_before_and_between_who_is_in_doubt_is_sent_again_once_and_no_oftener(
    refusals: int, tries: int, between: int
) -> None:
    """A greylisting server takes one try, a server that is busy all of them."""
    journal, number, bodies, times = taken(None, one(1, 0)), 1, 0, 0
    while not orders.in_doubt(journal):
        assert bodies < 2
        if not journal.permit.active:
            number += 1
            journal = taken(journal, one(number, times))
        if times < (refusals + between if bodies else refusals):
            journal, times = as_loaded(deferred(journal, 1, tries)), times + 1
            continue
        journal, indices = core.begin(journal, 1, NOON)
        bodies += len(indices)
        journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON, tries) for i in indices])
        journal = as_loaded(core.finish(journal, NOON, "done")[0])
    assert (bodies, times) == (2, refusals + between)


def one(number: int, deferrals: int) -> Chunk:
    return chunk(number, ((0, 1),), 1, in_doubt="resend", max_retries=3, deferrals=deferrals)


def as_loaded(journal: BatchJournal) -> BatchJournal:
    """From its rows."""
    written = {k: v for k, v in rows.changes(None, journal, NOON) if v is not None}
    loaded = rows.load(written[b"c/1!"], [v for k, v in written.items() if b"#" in k])
    assert loaded == journal
    return loaded


def test_a_row_from_before_doubts_were_counted_allows_one_more_copy_at_most() -> None:
    journal = taken(None, one(1, 0))
    journal, indices = core.begin(journal, 1, NOON)
    journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON) for i in indices])
    journal, _ = core.finish(journal, NOON, "done")
    written = {k: v for k, v in rows.changes(None, journal, NOON) if v is not None}
    row = orjson.loads(written[b"c/1#0"])
    assert row.pop("doubts") == [1]
    journal = rows.load(written[b"c/1!"], [orjson.dumps({**row, "refused": [0]})])
    for number in (2, 3):
        journal, indices = core.begin(taken(journal, one(number, 0)), 1, NOON)
        journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON) for i in indices])
        journal, _ = core.finish(journal, NOON, "done")
    assert orders.in_doubt(journal) == [0]


def failed_after_doubts(size: int = 120) -> BatchJournal:
    """Every third was in doubt, those above 50 twice (by an order), before he was refused for good: all has ended."""
    journal: BatchJournal | None = None
    for round_ in range(3):
        journal = taken(journal, chunk(1 + round_, ((0, size),), size, round=round_, resend=((0, size),)))
        journal, indices = core.begin(journal, size, NOON)
        again = {i for i in indices if i % 3 == 0 and (round_ == 0 or (round_ == 1 and i > 50))}
        journal, _ = core.ended(journal, [Ended(i, "in_doubt" if i in again else "failed", NOON) for i in indices])
        journal, _ = core.finish(journal, NOON, "done")
    assert journal is not None
    return journal


def test_the_row_of_an_ended_batch_keeps_how_often_each_was_in_doubt() -> None:
    journal = failed_after_doubts()
    assert core.is_ended(journal)
    ((_, row),) = [(k, v) for k, v in rows.changes(None, journal, NOON) if v is not None]
    loaded = rows.load(row, ())
    doubts = {start + i: n for start, w in journal.windows.items() for i, n in enumerate(w.doubts) if n}
    assert {start + i: n for start, w in loaded.windows.items() for i, n in enumerate(w.doubts) if n} == doubts
    assert doubts == {i: 1 + (i > 50) for i in range(0, 120, 3)}
    old = {k: v for k, v in orjson.loads(row).items() if k != "doubts"}
    assert not any(any(w.doubts) for w in rows.load(orjson.dumps(old), ()).windows.values())


def test_who_failed_after_deferrals_and_is_retried_is_sent_again_as_often_as_anybody_else() -> None:
    """The batch was one row in between, and its owner another one."""
    journal = deferred(taken(None, one(1, 0)), 1, tries=4)
    journal, indices = core.begin(taken(journal, one(2, 1)), 1, NOON)
    journal, _ = core.ended(journal, [Ended(i, "failed", NOON) for i in indices])
    journal, number, bodies = as_ended(core.finish(journal, NOON, "done")[0]), 2, 0
    while not orders.in_doubt(journal):
        number += 1
        journal = taken(journal, one(number, 0).model_copy(update={"round": 1}))
        journal, indices = core.begin(journal, 1, NOON)
        bodies += len(indices)
        journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON) for i in indices])
        journal = as_loaded(core.finish(journal, NOON, "done")[0])
    assert bodies == 2


def as_ended(journal: BatchJournal) -> BatchJournal:
    """From the one row of an ended batch."""
    ((_, row),) = rows.changes(None, journal, NOON)
    assert row is not None
    return rows.load(row, ())
