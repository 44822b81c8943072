"""What a spool says when it can be read at last: its process was suspended when another took over. Pure.

Until then everybody whom that process had left intended is in doubt, and his window names the spool (`unread`).
What the spool proves then settles them as it would have at once. Who was never begun is open again: under the
permit that is active, or else reported as open, so that the gate releases him. The quota that he was charged for
stays used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from schemas.journal import ACCEPTED, FAILED, OPEN, WINDOW
from sender.journal.values import BatchJournal, Clue, Ended, Fact, Window, without


def unread(journal: BatchJournal) -> dict[int, Clue]:
    """By index in doubt: the spool that may still tell what became of it, and its round."""
    return {
        w.start + at: (spool, w.rounds[at])
        for w in journal.windows.values() if w.unread
        for spool, found in w.unread.items() for at in found
    }  # fmt: skip


def awaited(journal: BatchJournal) -> set[str]:
    """The spools that may still tell what became of somebody in doubt."""
    return {spool for w in journal.windows.values() for spool in w.unread}


def settle(journal: BatchJournal, outcomes: Iterable[Ended]) -> tuple[BatchJournal, list[Fact]]:
    """What the spool said of these. One of whom it can tell nothing more stays in doubt; others are left as they are
    when something else has settled them."""
    windows, facts = dict(journal.windows), []
    for outcome in outcomes:
        window = windows.get(outcome.index - outcome.index % WINDOW)
        if window is None or not any(outcome.index - window.start in found for found in window.unread.values()):
            continue
        window, fact = _settled(window, outcome)
        windows[window.start] = window
        facts += [fact] if fact is not None else []
    return replace(journal, windows=windows), facts


def _settled(window: Window, outcome: Ended) -> tuple[Window, Fact | None]:
    at = outcome.index - window.start
    attempt = window.attempts[at] + max(1, outcome.tries) - 1  # never less: the event of his doubt has this number
    if outcome.kind == "in_doubt":
        return replace(window, unread=without(window.unread, {at})), None
    if outcome.kind == "not_begun":
        return window.with_state(at, OPEN, window.rounds[at] - 1, attempt), None
    letter = ACCEPTED if outcome.kind == "accepted" else FAILED
    return window.with_state(at, letter, attempts=attempt), Fact(outcome.kind, outcome, window.rounds[at], attempt)
