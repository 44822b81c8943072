"""How long a pipe waits for a server, with one timer a connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sender.smtp import flight as fl


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds of real time (RFC 5321, 4.5.3.2)."""

    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    """For the server to read some of what was written."""
    message: float = 600.0
    """Giving up early is how mail is sent twice."""

    @classmethod
    def of(cls, unit: float) -> Patience:
        """Where the RFC says a minute, `unit` seconds: a relay's `timeout`."""
        return cls(5 * unit, 5 * unit, 2 * unit, 3 * unit, 10 * unit)


class Timer(Protocol):
    def cancel(self) -> None: ...


class Loop(Protocol):
    """What a pipe needs of an event loop."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class Watch:
    """Calls `late` when the reply to `stage()` is overdue, counted from the last sign of life.

    `stage` gives None while nothing is awaited; `unread` how many octets the transport still holds, whose
    going out is a sign of life too.
    """

    def __init__(
        self,
        loop: Loop,
        patience: Patience,
        *,
        stage: Callable[[], int | None],
        unread: Callable[[], int],
        late: Callable[[str], None],
    ) -> None:
        self._loop, self._stage, self._unread, self._late = loop, stage, unread, late
        self._limits = {
            fl.RSET: patience.mail, fl.MAIL: patience.mail, fl.RCPT: patience.rcpt, fl.DATA: patience.data,
            fl.LONE: patience.message, fl.MESSAGE: patience.message,
        }  # fmt: skip
        self._block = patience.block
        self.shortest = min(*self._limits.values(), patience.block)
        self._held = 0
        self._timer: Timer | None = None
        self.alive()

    def alive(self) -> None:
        """The server has shown that it lives, or waiting begins now."""
        self._since = self._loop.time()

    def arm(self) -> None:
        """Something is awaited. It looks again by itself until nothing is."""
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self.shortest, self._look)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        stage = self._stage()
        if stage is None:
            return
        now, held = self._loop.time(), self._unread()
        if held != self._held:
            self._since, self._held = now, held
        limit = self._block if held else self._limits[stage]
        if now < self._since + limit:
            # Never later than the shortest limit: the stage may have one that is shorter by then.
            self._timer = self._loop.call_at(min(self._since + limit, now + self.shortest), self._look)
        else:
            self._late(f"the server has read nothing for {limit:g} s" if held else f"no reply within {limit:g} s")
