"""Many outcomes at once: a window that is being changed, and what a permit's counters become. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from schemas.calendar import local_day, next_midnight
from schemas.chunk import SendError
from schemas.journal import IN_DOUBT
from sender.journal.report import clipped
from sender.journal.values import Ended, Permit, Window, without

ERRORS_KEPT = 5
"""How many of the last errors a report carries."""


class Draft:
    """A window while several of its indices change."""

    __slots__ = ("attempts", "deferrals", "refused", "rounds", "states", "unread", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.states = list(window.states)
        self.rounds = list(window.rounds)
        self.attempts = list(window.attempts)
        self.deferrals = list(window.deferrals)
        """Empty: none was deferred."""
        self.refused = list(window.refused)
        """Empty: no try ended in a deferral."""
        self.unread: dict[str, tuple[int, ...]] = dict(window.unread)

    def deferred(self, at: int) -> int:
        """How often the index at offset `at` was deferred in its round."""
        return self.deferrals[at] if self.deferrals else 0

    def defer(self, at: int, tries: int) -> None:
        """It is deferred once more, which took so many tries."""
        self.deferrals = self.deferrals or [0] * len(self.states)
        self.deferrals[at] += 1
        self.refused = self.refused or [0] * len(self.states)
        self.refused[at] += tries

    def spared(self, at: int) -> int:
        """How many of its tries ended in a deferral."""
        return self.refused[at] if self.refused else 0

    def frozen(self) -> Window:
        """The window as it is now."""
        w, unread = self.window, self.unread
        if unread:
            unread = without(unread, {at for at, letter in enumerate(self.states) if letter != IN_DOUBT})
        return Window(
            w.start, "".join(self.states), tuple(self.rounds), tuple(self.attempts), w.permit_id, w.at, w.spool,
            tuple(self.deferrals), unread, tuple(self.refused),
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
        self._day: tuple[datetime, datetime, date] | None = None

    def add(self, outcome: Ended, attempt: int, begun_at: datetime) -> None:
        """One outcome; `begun_at` is when its index became intended."""
        if outcome.kind == "failed":
            self._errors.append(_error(outcome, attempt))
        elif outcome.kind == "deferred":
            self._deferral = _error(outcome, attempt)
        if outcome.kind in {"not_begun", "suppressed"} or not outcome.tries:
            return
        day = self._day_of(begun_at if outcome.recovered else outcome.at)
        self._days[day] = self._days.get(day, 0) + 1

    def on(self, permit: Permit) -> Permit:
        """The permit with all of it."""
        sent_on = {**permit.sent_on, **{day: permit.sent_on.get(day, 0) + n for day, n in self._days.items()}}
        errors = (*permit.errors, *self._errors)[-ERRORS_KEPT:]
        return replace(
            permit, begun=permit.begun + sum(self._days.values()), sent_on=sent_on, errors=errors,
            deferral=self._deferral or permit.deferral,
        )  # fmt: skip

    def _day_of(self, instant: datetime) -> date:
        """The local day; the one that was looked up last is remembered."""
        if self._day is None or not self._day[0] <= instant < self._day[1]:
            self._day = (instant, next_midnight(self._timezone, instant), local_day(self._timezone, instant))
        return self._day[2]


def _error(outcome: Ended, attempt: int) -> SendError:
    return SendError(email=outcome.email, error=clipped(outcome.text), attempts=attempt, at=outcome.at)
