"""Many outcomes at once: a window that is being changed, and what a permit's counters become. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime

from schemas.calendar import local_day, next_midnight
from schemas.chunk import SendError
from schemas.journal import IN_DOUBT
from sender.journal.report import clipped
from sender.journal.values import Ended, Permit, Window, without

ERRORS_KEPT = 5
"""How many of the last errors a report carries."""
NO_TIME = datetime.fromtimestamp(0, UTC)

_last_days: dict[str, tuple[datetime, datetime, date]] = {}
"""By time zone: a moment, the end of its local day, and that day; only to look it up less often."""


class Draft:
    """A window while several of its indices change. Rounds and tries are copied by the first that changes."""

    __slots__ = ("_attempts", "_rounds", "deferrals", "doubts", "states", "unread", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.states = list(window.states)
        self._rounds: list[int] | None = None
        self._attempts: list[int] | None = None
        self.deferrals = list(window.deferrals)
        """Empty: none was deferred."""
        self.doubts = list(window.doubts)
        """Empty: of everybody it was always known what became of him."""
        self.unread: dict[str, tuple[int, ...]] = dict(window.unread)

    def attempts(self, at: int) -> int:
        """How often the index at offset `at` was tried."""
        return self.window.attempts[at] if self._attempts is None else self._attempts[at]

    def set_attempts(self, at: int, n: int) -> None:
        """It was tried so often."""
        if self._attempts is None:
            if self.window.attempts[at] == n:
                return
            self._attempts = list(self.window.attempts)
        self._attempts[at] = n

    def set_round(self, at: int, round_: int) -> None:
        """It was begun in this round."""
        if self._rounds is None:
            if self.window.rounds[at] == round_:
                return
            self._rounds = list(self.window.rounds)
        self._rounds[at] = round_

    def deferred(self, at: int) -> int:
        """How often the index at offset `at` was deferred in its round."""
        return self.deferrals[at] if self.deferrals else 0

    def defer(self, at: int) -> None:
        """It is deferred once more."""
        self.deferrals = self.deferrals or [0] * len(self.states)
        self.deferrals[at] += 1

    def doubt(self, at: int) -> int:
        """Once more nobody knows what became of a message; how often that is by now."""
        self.doubts = self.doubts or [0] * len(self.states)
        self.doubts[at] += 1
        return self.doubts[at]

    def frozen(self) -> Window:
        """The window as it is now."""
        w = self.window
        return self.frozen_under(w.permit_id, w.at, w.spool)

    def frozen_under(self, permit_id: str, at: datetime, spool: str | None) -> Window:
        """The same, touched under this permit at that time, with that spool."""
        w, unread = self.window, self.unread
        if unread:
            unread = without(unread, {i for i, letter in enumerate(self.states) if letter != IN_DOUBT})
        return Window(
            w.start, "".join(self.states), w.rounds if self._rounds is None else tuple(self._rounds),
            w.attempts if self._attempts is None else tuple(self._attempts), permit_id, at, spool,
            tuple(self.deferrals), unread, tuple(self.doubts),
        )  # fmt: skip

    def may_be_told(self, at: int, spool: str) -> None:
        """Nobody knows what became of an index; the spool may tell, once it can be read."""
        self.unread[spool] = (*self.unread.get(spool, ()), at)


class Count:
    """What outcomes add to a permit: messages that were begun, by local day, and the last errors."""

    def __init__(self, timezone: str) -> None:
        self._timezone = timezone
        self._days: dict[date, int] = {}
        self._errors: list[SendError] = []
        self._deferral: SendError | None = None
        self._from = self._until = NO_TIME
        self._day = NO_TIME.date()
        self._on_day = 0

    def add(self, outcome: Ended, attempt: int, begun_at: datetime) -> None:
        """One outcome; `begun_at` is when its index became intended."""
        if outcome.kind == "failed":
            self._errors.append(_error(outcome, attempt))
        elif outcome.kind == "deferred":
            self._deferral = _error(outcome, attempt)
        if outcome.kind == "not_begun" or outcome.kind == "suppressed" or not outcome.tries:  # noqa: PLR1714 - quicker
            return
        self.begun(begun_at if outcome.recovered else outcome.at)

    def begun(self, instant: datetime) -> None:
        """One message that was begun counts for the day of that moment."""
        if not self._from <= instant < self._until:
            self._look_up_day(instant)
        self._on_day += 1

    def on(self, permit: Permit) -> Permit:
        """The permit with all of it."""
        self._close_day()
        sent_on = dict(permit.sent_on)
        for day, n in self._days.items():
            sent_on[day] = sent_on.get(day, 0) + n
        errors = (*permit.errors, *self._errors)[-ERRORS_KEPT:] if self._errors else permit.errors
        return Permit(
            permit.permit_id, permit.round, permit.chunk, permit.result, permit.begun + sum(self._days.values()),
            sent_on, permit.throttled, errors, self._deferral or permit.deferral,
        )  # fmt: skip

    def _look_up_day(self, instant: datetime) -> None:
        """The local day is remembered until it ends: outcomes mostly come in their order."""
        self._close_day()
        today, kept = local_day(self._timezone, instant), _last_days.get(self._timezone)
        if kept is None or kept[2] != today or not kept[0] <= instant < kept[1]:
            kept = _last_days[self._timezone] = instant, next_midnight(self._timezone, instant), today
        self._from, self._until, self._day = instant, kept[1], today

    def _close_day(self) -> None:
        if self._on_day:
            self._days[self._day] = self._days.get(self._day, 0) + self._on_day
        self._on_day = 0


def _error(outcome: Ended, attempt: int) -> SendError:
    return SendError(email=outcome.email, error=clipped(_said(outcome)), attempts=attempt, at=outcome.at)


def _said(outcome: Ended) -> str:
    """The reply as a server writes it: `550 5.1.1 no such user`. What the words begin with already is not repeated."""
    code, enhanced, words = str(outcome.code or ""), outcome.enhanced, outcome.text
    if not code or _begins(words, code):
        return words
    if not enhanced or _begins(words, enhanced):
        return f"{code} {words}".rstrip()
    return f"{code} {enhanced} {words}".rstrip()


def _begins(words: str, number: str) -> bool:
    return words.startswith(number) and words[len(number) : len(number) + 1] in {"", " ", "-", "\n"}
