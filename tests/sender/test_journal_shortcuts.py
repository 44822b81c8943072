"""What the journal does by hand, because it is done for each message or row, is what the plain way would give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from journal_histories import KINDS, ended_and_opened_again, histories, outcomes
from journals import HOUR, NOON, chunk

from schemas.calendar import local_day
from schemas.journal import WINDOW, JournalEntry, JournalPermit
from sender.journal import core, drafts, rows
from sender.journal.values import BatchJournal, Ended, Fact, Permit, Window

LETTERS = dict(zip(KINDS, "afdslo", strict=True))


@given(histories(), st.sampled_from([NOON, NOON + HOUR]))
def test_whether_anything_may_be_begun_is_whether_begin_finds_anything(
    history: Sequence[BatchJournal], now: datetime
) -> None:
    for journal in history:
        assert core.may_begin(journal, now) is bool(core.begin(journal, 1, now)[1])


def test_who_is_open_again_may_not_be_begun_when_the_permit_is_used_up() -> None:
    journal, _, _ = core.take_permit(None, chunk(ranges=((0, 1),), in_doubt="resend"), NOON)
    journal, _ = core.begin(journal, 1, NOON)
    journal, _ = core.ended(journal, [Ended(0, "in_doubt", NOON)])
    assert (journal.states()[0], core.may_begin(journal, NOON), core.begin(journal, 1, NOON)[1]) == ("o", False, [])


@given(histories(), st.integers(1, 120))
def test_many_are_begun_as_they_would_be_one_by_one(history: Sequence[BatchJournal], limit: int) -> None:
    for journal in history:
        single, taken = journal, list[int]()
        while len(taken) < limit:
            single, found = core.begin(single, 1, NOON, "spool")
            if not found:
                break
            taken += found
        assert core.begin(journal, limit, NOON, "spool") == (single, taken)


@given(st.data(), histories())
def test_outcomes_do_what_they_would_do_one_by_one(data: st.DataObject, history: Sequence[BatchJournal]) -> None:
    journal = history[-1]
    found = data.draw(outcomes(journal))
    after, facts = core.ended(journal, found)
    windows, sent_on, told = plainly(journal, found)
    assert (dict(after.windows), facts) == (windows, told)
    assert (after.permit.begun, dict(after.permit.sent_on)) == (sum(sent_on.values()), sent_on)
    assert [e.email for e in after.permit.errors] == (
        [e.email for e in journal.permit.errors] + [f.ended.email for f in told if f.type == "failed"]
    )[-drafts.ERRORS_KEPT :]
    same = (after.campaign_id, after.batch_number, after.size, after.content_hash, after.version, after.pending)
    assert same == ("c", 1, journal.size, "hash", journal.version, journal.pending)
    assert after.control == journal.control


def plainly(journal: BatchJournal, found: Sequence[Ended]) -> tuple[dict[int, Window], dict[date, int], list[Fact]]:
    """The windows, the messages by day and the facts after outcomes, each taken by itself."""
    permit, chunk_ = journal.permit, journal.permit.chunk
    assert chunk_ is not None
    windows, days, facts = dict(journal.windows), dict(permit.sent_on), []
    for outcome in found:
        at = outcome.index % WINDOW
        window = windows.get(outcome.index - at)
        if window is None or window.states[at] != "i":
            continue
        attempt = window.attempts[at] + outcome.tries - 1
        if outcome.kind != "not_begun":
            facts.append(Fact(outcome.kind, outcome, permit.round, attempt))
        if outcome.kind not in {"not_begun", "suppressed"} and outcome.tries:
            day = local_day(chunk_.day_timezone, window.at if outcome.recovered else outcome.at)
            days[day] = days.get(day, 0) + 1
        windows[window.start] = _after(window, at, outcome, attempt, permit)
    return windows, days, facts


def _after(window: Window, at: int, outcome: Ended, attempt: int, permit: Permit) -> Window:
    n, chunk_ = len(window.states), permit.chunk
    assert chunk_ is not None
    rounds, attempts, deferrals, doubts = (
        list(values) for values in (window.rounds, window.attempts, window.deferrals, window.doubts)
    )
    letter, unread = LETTERS[outcome.kind], dict(window.unread)
    if outcome.kind == "in_doubt":
        doubts = doubts or [0] * n
        doubts[at] += 1
    again = outcome.kind == "in_doubt" and chunk_.in_doubt == "resend" and doubts[at] == 1
    if outcome.kind == "not_begun" or again:
        deferred = bool(deferrals and deferrals[at])
        letter, rounds[at] = ("l", chunk_.round) if deferred else ("o", chunk_.round - 1)
    elif outcome.kind == "deferred":
        deferrals = deferrals or [0] * n
        deferrals[at] += 1
    elif outcome.kind == "in_doubt" and outcome.unread:
        unread[outcome.unread] = (*unread.get(outcome.unread, ()), at)
    attempts[at] = attempt
    states = window.states[:at] + letter + window.states[at + 1 :]
    unread = {name: tuple(i for i in places if states[i] == "d") for name, places in unread.items()}
    return Window(
        window.start, states, tuple(rounds), tuple(attempts), window.permit_id, window.at, window.spool,
        tuple(deferrals), {name: places for name, places in unread.items() if places}, tuple(doubts),
    )  # fmt: skip


@given(st.one_of(histories(), ended_and_opened_again()), st.integers(0, 10**6))
def test_rows_are_what_their_models_would_encode(history: Sequence[BatchJournal], micros: int) -> None:
    now = NOON.replace(microsecond=micros % 10**6)
    before: BatchJournal | None = None
    for journal in history:
        for _, value in rows.changes(before, journal, now):
            if value is not None:
                model = JournalEntry if b'"kind":"window"' in value[:20] else JournalPermit
                assert model.decode(value).encode() == value
        if not core.is_ended(journal):
            permit, *windows = rows.whole(journal)
            assert rows.load(permit, windows) == journal
        before = journal


@given(st.one_of(histories(), ended_and_opened_again()), st.data())
def test_rows_that_were_written_over_rows_tell_the_batch_as_it_is(
    history: Sequence[BatchJournal], data: st.DataObject
) -> None:
    log, recorded = dict[bytes, bytes](), None
    for journal in history:
        if data.draw(st.booleans()):  # several changes may go into one transaction
            continue
        for key, value in rows.changes(recorded, journal, NOON):
            log.pop(key, None) if value is None else log.update({key: value})
        recorded = rows.as_recorded(journal)
        found = rows.load(log[b"c/1!"], [row for key, row in log.items() if b"#" in key])
        assert (found.states(), core.is_ended(found)) == (journal.states(), core.is_ended(journal))
        assert found == journal or core.is_ended(journal)
        assert rows.as_recorded(found).windows == recorded.windows


@given(histories())
def test_a_permit_row_is_written_whenever_anything_but_windows_differs(history: Sequence[BatchJournal]) -> None:
    for one, other in pairwise(history):
        if core.is_ended(other):
            continue
        written = [key for key, _ in rows.changes(one, other, NOON) if key.endswith(b"!")]
        assert bool(written) is (one.with_windows({}) != other.with_windows({}))


def test_of_two_permits_of_one_name_each_is_written_as_it_is() -> None:
    for size in (10, 11):
        journal, _, _ = core.take_permit(None, chunk(size=size), NOON)
        written = dict(rows.changes(None, journal, NOON))
        assert rows.load(written[b"c/1!"] or b"", []).permit.chunk == chunk(size=size)
