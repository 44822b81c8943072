"""How fast messages may be begun: a token bucket that starts empty.

Pure: the time is given (seconds of a monotonic clock), the wait is a result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SLACK = 0.05
"""Seconds that a late sender may catch up: so a coarse timer costs no throughput, and no burst is seen."""


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `rate` messages a second (None: no limit).

    The n-th message of a pace that began at `start` is never let go before `start + n / rate`: the bucket
    starts empty, so that permits that follow one another do not add their bursts. In any time t there
    are at most `rate * (t + SLACK) + 1`.
    """

    rate: float | None
    last: float
    """When the last token was, or will be, due."""

    @classmethod
    def begin(cls, rate: float | None, now: float) -> Pace:
        """An empty bucket."""
        return cls(rate, now)

    def take(self, now: float) -> tuple[Pace, float]:
        """Takes one token: (the pace from now on, the seconds to wait before the message may begin)."""
        if self.rate is None:
            return self, 0.0
        due = max(self.last + 1 / self.rate, now - SLACK)
        return replace(self, last=due), max(0.0, due - now)

    def due(self, now: float) -> float:
        """When the next token may be had; not later than `now`: at once."""
        return now if self.rate is None else max(self.last + 1 / self.rate, now - SLACK)

    def at_rate(self, rate: float | None, now: float) -> Pace:
        """The same bucket at another rate: what is due stays due."""
        return replace(self, rate=rate, last=max(self.last, now) if self.rate is None else self.last)
