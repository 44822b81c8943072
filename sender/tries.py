"""What was put on a wire and is not settled: how often each index was tried, and when it is tried again.

Pure: the time is given, in seconds of a monotonic clock.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from sender.smtp.outcomes import Outcome, relay_down, retry_delays

CLEAN_RETRIES = 5
"""How often a connection that is lost before the body is not counted against the recipient."""
SLOWER = (0.25, 0.5, 1.0, 2.0)
"""Seconds for which nothing is begun after a reply that asks for less speed; longer when nothing is taken between."""
FOR_NOW = frozenset({"transient", "throttled", "lost_before"})
"""Kinds of outcomes after which it is tried again: on the spot, then by the gate's schedule."""


@dataclass(slots=True)
class _Try:
    """An index that was put on a wire and is not settled."""

    tries: int = 0
    lost: int = 0


@dataclass(slots=True)
class Tries:
    """Those of one run."""

    max_retries: int
    slow_until: float = 0.0
    """Nothing is begun before."""
    _slowed: int = 0
    _states: dict[int, _Try] = field(default_factory=dict)
    _waiting: list[tuple[float, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether any index waits to be tried again."""
        return bool(self._waiting)

    @property
    def next_at(self) -> float | None:
        """When the first one that waits is due."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: float) -> int | None:
        """An index that is to be tried again now; it waits no more."""
        return heapq.heappop(self._waiting)[1] if self._waiting and self._waiting[0][0] <= now else None

    def waiting(self) -> list[int]:
        """All that wait, the first first; they wait no more."""
        indices = [index for _, index in sorted(self._waiting)]
        self._waiting.clear()
        return indices

    def of(self, index: int) -> int:
        """How often it was put on a wire, those times not counted that were nobody's fault."""
        state = self._states.get(index)
        return state.tries if state else 0

    def forget(self, index: int) -> int:
        """The same; it will not be tried again."""
        state = self._states.pop(index, None)
        return state.tries if state else 0

    def settle(self, index: int, outcome: Outcome, now: float) -> int:
        """How many tries it took when this is its end; 0: it waits to be tried again. Raises `RelayDown`."""
        kind = outcome.kind
        if kind == "accepted":
            self._slowed = 0
            return 1 + (self.forget(index) if self._states else 0)
        if kind == "relay_down":
            raise relay_down(outcome)
        state = self._states.setdefault(index, _Try())
        if kind == "lost_before" and state.lost < CLEAN_RETRIES:
            state.lost += 1
            heapq.heappush(self._waiting, (now, index))
            return 0
        state.tries += 1
        if kind == "throttled":
            self._slow_down(now)
        delays = retry_delays(self.max_retries)
        if kind in FOR_NOW and state.tries <= len(delays):
            heapq.heappush(self._waiting, (now + delays[state.tries - 1], index))
            return 0
        return self.forget(index)

    def _slow_down(self, now: float) -> None:
        """Replies to what was on the wire at the same moment count once."""
        if now >= self.slow_until:
            self.slow_until = now + SLOWER[min(self._slowed, len(SLOWER) - 1)]
            self._slowed += 1
