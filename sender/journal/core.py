"""What the owner of a batch may begin, and what follows from each outcome. Pure: (journal, input, now).

The rules, and why nobody is mailed twice and nobody forgotten:

- An index goes open -> intended -> accepted, failed, in doubt, suppressed or deferred; only `begin` makes it
  intended, only for the active permit, in a round in which it was not begun before.
- Who was deferred is begun again in the same round, and only under a permit that says after how many deferrals: so
  a permit from before the last of them, however late it comes, does nothing.
- An intended index leaves that state only by its outcome. `not_begun` makes it open again; that is said only
  of one that no server took or may have taken.
- What the previous owner left intended has an unknown outcome: it becomes in doubt (`interrupted`), unless the
  permit says `resend`.
- With `resend` who is in doubt is sent to once more by itself, and never oftener, whatever `max_retries` says: doubts
  are counted over permits and rounds, and what is refused or deferred between them changes nothing. Each message that
  was begun is in doubt at most once, so he has at most two. Beyond that only a person's order sends again, one message
  an order.
- A permit ends once, when nothing of it is intended any more; then all its indices that are open are `unsent`.

Callers apply a change only together with the committed rows of it (`sender.journal.rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from schemas.chunk import Chunk, ChunkResult
from schemas.journal import ACCEPTED, DEFERRED, FAILED, IN_DOUBT, INTENDED, NEVER, OPEN, SUPPRESSED, WINDOW
from sender.journal.drafts import Count, Draft
from sender.journal.orders import seen
from sender.journal.report import Stopped, answer_older, finished, may_go, reported
from sender.journal.values import BatchJournal, Clue, Control, Ended, Fact, Permit, Window, pieces

Taken = Literal["started", "ignored", "waiting", "answered"]
Answer = tuple[BatchJournal, Taken, ChunkResult | None]

BY_ITSELF = 1
"""How often somebody in doubt is sent to again without an order."""

LETTER = {"accepted": ACCEPTED, "failed": FAILED, "in_doubt": IN_DOUBT, "suppressed": SUPPRESSED}


def take_permit(journal: BatchJournal | None, chunk: Chunk, now: datetime) -> Answer:
    """What a permit that arrives, for the first time or again, does to the batch.

    started: it is now the active permit. ignored: it is already. waiting: an older one is active; take it
    when that has ended (the gate repeats it, so forgetting it does no harm). answered: the result says all.
    """
    if journal is None:
        journal = BatchJournal(
            chunk.campaign_id, chunk.batch_number, chunk.batch_size, chunk.content_hash, {}, Permit("", 0, None)
        )
    permit = journal.permit
    if permit.permit_id == chunk.permit_id:
        return (journal, "ignored", None) if permit.active else _answered(*reported(journal, now))
    if _is_older(chunk.permit_id, permit.permit_id):
        return _answered(*answer_older(journal, chunk, now))
    if permit.active:
        return journal, "waiting", None
    return _take_new(journal, chunk, now)


def may_begin(journal: BatchJournal, now: datetime) -> bool:
    """Whether `begin` would find anything."""
    chunk = _beginnable(journal, now)
    if chunk is None or chunk.permitted() - journal.permit.begun - intended(journal) <= 0:
        return False
    for start, low, high in pieces(chunk.ranges):
        window = journal.windows.get(start)
        if chunk.round > NEVER if window is None else may_go(window, low, high, chunk):
            return True
    return False


def begin(journal: BatchJournal, limit: int, now: datetime, spool: str | None = None) -> tuple[BatchJournal, list[int]]:
    """Make up to `limit` indices intended, the lowest first. None of them may be sent before that is committed.

    `spool` is where each that goes on a wire is recorded before; None: nowhere, and there will be no evidence.
    Nothing is begun after `until`, under an order to pause or cancel, or beyond what the permit allows in
    all (messages that were sent again because they were in doubt count too).
    """
    chunk = _beginnable(journal, now)
    if chunk is None:
        return journal, []
    left = min(limit, chunk.permitted() - journal.permit.begun - intended(journal))
    windows = dict(journal.windows)
    taken: list[int] = []
    for start, low, high in pieces(chunk.ranges):
        if len(taken) >= left:
            break
        window = windows.get(start) or journal.window(start, now)
        found = may_go(window, low, high, chunk)[: left - len(taken)]
        if found:
            windows[start] = _begun(window, found, chunk, now, spool)
            taken += [start + i for i in found]
    return (journal.with_windows(windows), taken) if taken else (journal, [])


def ended(journal: BatchJournal, outcomes: Iterable[Ended]) -> tuple[BatchJournal, list[Fact]]:
    """What became of intended indices, and the events that tell it. An index that is not intended is skipped."""
    permit, chunk = journal.permit, journal.permit.chunk
    if chunk is None:
        return journal, []
    facts: list[Fact] = []
    drafts: dict[int, Draft] = {}
    count = Count(chunk.day_timezone)
    for outcome in outcomes:
        index, kind = outcome.index, outcome.kind
        at = index % WINDOW
        draft = drafts.get(index - at)
        if draft is None:
            window = journal.windows.get(index - at)
            if window is None:
                continue
            draft = drafts[window.start] = Draft(window)
        if draft.states[at] != INTENDED:
            continue
        attempt = draft.attempts(at) + outcome.tries - 1
        if kind == "accepted" and outcome.tries == 1 and not outcome.recovered:  # most; what follows would do the same
            facts.append(Fact("accepted", outcome, permit.round, attempt))
            count.begun(outcome.at)
            draft.states[at] = ACCEPTED
            continue
        if kind != "not_begun":
            facts.append(Fact(kind, outcome, permit.round, attempt))
        count.add(outcome, attempt, draft.window.at)
        _after(draft, at, outcome, attempt, chunk)
    windows = dict(journal.windows)
    for start, draft in drafts.items():
        windows[start] = draft.frozen()
    return journal.with_windows(windows, count.on(permit)), facts


def throttled(journal: BatchJournal, replies: int) -> BatchJournal:
    """Count replies under the active permit that asked for less speed."""
    return replace(journal, permit=replace(journal.permit, throttled=journal.permit.throttled + replies))


def interrupted(journal: BatchJournal) -> list[int]:
    """The indices that a previous owner left intended. Each is to be given to `ended` as in doubt."""
    return [
        w.start + i for w in journal.windows.values() if INTENDED in w.states
        for i, letter in enumerate(w.states) if letter == INTENDED
    ]  # fmt: skip


def spools_of(journal: BatchJournal, indices: Iterable[int]) -> dict[int, Clue]:
    """By index: the spool that may tell what became of it, and its round; where there is one."""
    found = ((i, journal.windows[i - i % WINDOW]) for i in indices)
    return {i: (w.spool, w.rounds[i - w.start]) for i, w in found if w.spool is not None}


def intended(journal: BatchJournal) -> int:
    """How many indices are intended and have no outcome."""
    found = 0
    for window in journal.windows.values():
        found += window.states.count(INTENDED)
    return found


def finish(
    journal: BatchJournal, now: datetime, stopped: Stopped, detail: str | None = None
) -> tuple[BatchJournal, ChunkResult]:
    """End the active permit. Raises ValueError while anything of it is intended."""
    if intended(journal):
        raise ValueError(f"{journal.campaign_id}/{journal.batch_number}: {intended(journal)} indices have no outcome")
    return finished(journal, now, stopped, detail)


def report(journal: BatchJournal, now: datetime) -> tuple[BatchJournal, ChunkResult]:
    """How far the batch is. After the permit's end: its final result with the batch's present totals."""
    return reported(journal, now)


def is_ended(journal: BatchJournal) -> bool:
    """Whether nothing can become of the batch without a permit of a later round."""
    if journal.permit.active or journal.pending or journal.permit.result is None:
        return False
    states = journal.states()
    return not any(letter in states for letter in (OPEN, INTENDED, IN_DOUBT, DEFERRED))


# --- details


def _beginnable(journal: BatchJournal, now: datetime) -> Chunk | None:
    """The permit under which something may be begun now; None: nothing may."""
    chunk = journal.permit.chunk
    if chunk is None or not journal.permit.active or journal.control.action is not None or now >= chunk.until:
        return None
    return chunk


def _take_new(journal: BatchJournal, chunk: Chunk, now: datetime) -> Answer:
    problem = _problem(journal, chunk)
    journal = replace(journal, permit=Permit(chunk.permit_id, chunk.round, chunk))
    if problem is not None:
        return _answered(*finished(journal, now, "error", problem))
    journal = _reopened(replace(journal, control=_lifted(journal.control, chunk)), chunk)
    if journal.control.action is not None:
        return _answered(*finished(journal, now, stopped_by(journal.control)))
    if now >= chunk.until:
        return _answered(*finished(journal, now, "expired", "the permit had run out when it arrived"))
    if not may_begin(journal, now):
        return _answered(*finished(journal, now, "done"))
    return journal, "started", None


def _answered(journal: BatchJournal, result: ChunkResult) -> Answer:
    return journal, "answered", result


def _is_older(one: str, other: str) -> bool:
    """By the relay's counter. Permits of two relays cannot be compared; the one that comes later is newer."""
    relay, _, number = one.rpartition(":")
    other_relay, _, other_number = other.rpartition(":")
    return relay == other_relay and number.isdigit() and other_number.isdigit() and int(number) < int(other_number)


def _problem(journal: BatchJournal, chunk: Chunk) -> str | None:
    if chunk.content_hash != journal.content_hash:
        return f"the permit is for content {chunk.content_hash}, but the batch was begun with {journal.content_hash}"
    if chunk.batch_size != journal.size:
        return f"the permit says that the batch has {chunk.batch_size} recipients, but it was begun with {journal.size}"
    if not _is_zone(chunk.day_timezone):
        return f"the permit names time zone {chunk.day_timezone!r}, which this process does not know (install tzdata?)"
    bad = [r for r in chunk.ranges if not 0 <= r[0] < r[1] <= journal.size]
    if bad:
        return f"the permit names indices {bad[0][0]} to {bad[0][1]} of a batch of {journal.size}"
    return None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    return True


def _lifted(control: Control, chunk: Chunk) -> Control:
    """A permit that was issued after an order says that the order no longer stands."""
    if control.action is not None and control.at is not None and chunk.issued_at > control.at:
        return Control(None, control.version, control.at)
    return control


def stopped_by(control: Control) -> Stopped:
    """The reason that an order gives for ending a permit."""
    return "cancelled" if control.action == "cancel" else "paused"


def _reopened(journal: BatchJournal, chunk: Chunk) -> BatchJournal:
    """What failed or was deferred in an earlier round is open in this one; its tries go on counting. So is who is in
    doubt, when the permit says that he is sent to again; but for who was seen to have his message."""
    windows, known = dict(journal.windows), seen(journal)
    again = None if chunk.resend is None else {i for start, end in chunk.resend for i in range(start, end)}
    for start, low, high in pieces(chunk.ranges):
        window = windows.get(start)
        if window is None:
            continue
        for i in range(low, high):
            if (
                window.states[i] in {FAILED, IN_DOUBT, DEFERRED}
                and window.rounds[i] < chunk.round
                and start + i not in known
                and (window.states[i] != IN_DOUBT or again is None or start + i in again)
            ):
                window = window.with_state(i, OPEN)
        windows[start] = window
    return replace(journal, windows=windows)


def _begun(window: Window, found: Sequence[int], chunk: Chunk, now: datetime, spool: str | None) -> Window:
    n = len(window.states)
    if len(found) == n:  # as a rule it is all of a window; what follows would do the same
        tries = tuple([tried + 1 for tried in window.attempts])
        return Window(
            window.start, INTENDED * n, (chunk.round,) * n, tries, chunk.permit_id, now, spool, window.deferrals, {},
            window.doubts,
        )  # fmt: skip
    draft = Draft(window)
    for i in found:
        draft.states[i] = INTENDED
        draft.set_round(i, chunk.round)
        draft.set_attempts(i, draft.attempts(i) + 1)
    return draft.frozen_under(chunk.permit_id, now, spool)


def _after(draft: Draft, at: int, outcome: Ended, attempt: int, chunk: Chunk) -> None:
    deferred = draft.deferred(at)
    again = outcome.kind == "in_doubt" and draft.doubt(at) <= BY_ITSELF and chunk.in_doubt == "resend"
    if outcome.kind == "not_begun" or again:
        draft.states[at] = DEFERRED if deferred else OPEN
        draft.set_round(at, chunk.round if deferred else chunk.round - 1)
    elif outcome.kind == "deferred":
        draft.states[at] = DEFERRED
        draft.defer(at)
    else:
        draft.states[at] = LETTER[outcome.kind]
        if outcome.unread and outcome.kind == "in_doubt":
            draft.may_be_told(at, outcome.unread)
    draft.set_attempts(at, attempt)
