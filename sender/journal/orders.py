"""Orders to the owner of a batch: to stop, and what is to become of those in doubt. Pure: (journal, order, now).

Callers apply a change only together with the committed rows of it, as in `sender.journal.core`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from schemas.batch import Range
from schemas.chunk import BatchControl
from schemas.domain_names import mailbox
from schemas.journal import ACCEPTED, DEFERRED, FAILED, IN_DOUBT, INTENDED, OPEN, WINDOW
from sender.journal.values import BatchJournal, Control, Ended, Fact, pieces


def order(journal: BatchJournal, command: BatchControl) -> tuple[BatchJournal, bool]:
    """An order of the gate, and whether it is news. One that is not newer than the last changes nothing.

    `resolve` and `evidence` wait as `pending` until they can be carried out (`next_order`, `resolve`). To resend to
    all is no order to the owner: the gate releases them in a new round. `forget` is the caller's business.
    Whoever was begun before and waits to be begun again is in doubt as soon as evidence of him comes.
    """
    if command.version <= journal.control.version:
        return journal, False
    control = replace(journal.control, version=command.version)
    if command.action in {"resolve", "evidence"}:
        if command.action == "evidence":
            journal = _held_back(journal, command.indices)
        if (command.resolution == "resend" and command.address is None) or _is_settled(journal, command):
            return replace(journal, control=control), True
        return replace(journal, control=control, pending=(*journal.pending, command)), True
    action: Literal["pause", "cancel"] | None = None
    if command.action == "pause" or command.action == "cancel":  # noqa: PLR1714 - the type checker narrows these
        action = command.action
    return replace(journal, control=Control(action, command.version, command.at)), True


def in_doubt(journal: BatchJournal, ranges: Sequence[Range] = ()) -> list[int]:
    """The indices in doubt, of `ranges` or, without, of the whole batch."""
    return _standing(journal, IN_DOUBT, ranges)


def next_order(journal: BatchJournal) -> tuple[BatchJournal, BatchControl | None]:
    """The first pending order that can be carried out. Evidence of what is settled by now goes away.

    Evidence of what is still intended waits: its owner may have died, and it may come to be in doubt.
    """
    left: list[BatchControl] = []
    for command in journal.pending:
        if command.action == "resolve" or in_doubt(journal, command.indices):
            return replace(journal, pending=(*left, *journal.pending[journal.pending.index(command) :])), command
        if _standing(journal, INTENDED, command.indices):
            left.append(command)
    return (journal if len(left) == len(journal.pending) else replace(journal, pending=tuple(left))), None


def resolve(
    journal: BatchJournal, command: BatchControl, emails: Mapping[int, str], now: datetime
) -> tuple[BatchJournal, list[Fact], int]:
    """Carry out a pending order on those in doubt whose addresses are in `emails`; how many it was about.

    To resend to an address makes it open again, in its round; the report says so, and the gate releases it.
    """
    kind: Literal["accepted", "failed"] = "failed" if command.resolution == "drop" else "accepted"
    reason = "evidence" if command.action == "evidence" else "resolved"
    windows, facts, found, known = dict(journal.windows), [], 0, seen(journal)
    for index in in_doubt(journal, command.indices):
        email = emails.get(index)
        if email is None or (command.address is not None and mailbox(email) != mailbox(command.address)):
            continue
        found += 1
        window = windows[index - index % WINDOW]
        at = index - window.start
        if command.resolution == "resend":
            if index in known:
                continue  # evidence of him waits: he has his message
            windows[window.start] = window.with_state(at, OPEN, window.rounds[at] - 1)
            continue
        windows[window.start] = window.with_state(at, FAILED if kind == "failed" else ACCEPTED)
        outcome = Ended(index, kind, now, email=email, reason=reason)
        facts.append(Fact(kind, outcome, max(0, window.rounds[at]), window.attempts[at]))
    pending = tuple(p for p in journal.pending if p != command)
    return replace(journal, windows=windows, pending=pending), facts, found


def seen(journal: BatchJournal) -> frozenset[int]:
    """Who has his message, by evidence that waits to be carried out. Nobody of them may be begun."""
    if not journal.pending:
        return frozenset()
    wanted = [command.indices for command in journal.pending if command.action == "evidence"]
    return frozenset(i for ranges in wanted for start, end in ranges for i in range(start, end))


def awaiting(journal: BatchJournal, outcomes: Sequence[Ended]) -> BatchJournal:
    """The journal after these outcomes. Whoever is open or deferred by them is in doubt instead when pending evidence
    says that he has his message: else he would be sent to again, and the evidence be about nobody."""
    if not journal.pending:
        return journal
    found = seen(journal).intersection(outcome.index for outcome in outcomes)
    return _in_doubt_again(journal, found) if found else journal


def _held_back(journal: BatchJournal, ranges: Sequence[Range]) -> BatchJournal:
    """Those of `ranges` who were begun before and wait to be begun again are in doubt: they are not begun."""
    wanted = [
        start + at
        for start, low, high in pieces([(max(0, r[0]), min(journal.size, r[1])) for r in ranges])
        if (window := journal.windows.get(start)) is not None
        for at in range(low, high) if window.attempts[at]
    ]  # fmt: skip
    return _in_doubt_again(journal, wanted) if wanted else journal


def _in_doubt_again(journal: BatchJournal, indices: Iterable[int]) -> BatchJournal:
    windows = dict(journal.windows)
    for index in indices:
        window = windows.get(index - index % WINDOW)
        if window is not None and window.states[index - window.start] in {OPEN, DEFERRED}:
            windows[window.start] = window.with_state(index - window.start, IN_DOUBT)
    return replace(journal, windows=windows)


def _is_settled(journal: BatchJournal, command: BatchControl) -> bool:
    """Whether evidence is of somebody of whom everything is known."""
    return command.action == "evidence" and not any(
        _standing(journal, letter, command.indices) for letter in (IN_DOUBT, INTENDED)
    )


def _standing(journal: BatchJournal, letter: str, ranges: Sequence[Range]) -> list[int]:
    """The indices in that state, of `ranges` or, without, of the whole batch."""
    wanted = None if not ranges else {i for start, end in ranges for i in range(start, end)}
    return [i for i, found in enumerate(journal.states()) if found == letter and (wanted is None or i in wanted)]
