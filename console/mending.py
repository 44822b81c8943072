"""A local broker that dies is started again, as often as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from streams.errors import StreamsError
from streams.restarts import Policy, decide

POLICY = Policy(first_delay=0.5, longest_delay=30.0, healthy_after=60.0)


class Mendable(Protocol):
    """What is kept alive."""

    @property
    def running(self) -> bool:
        """Whether its process lives."""

    def start(self) -> object:
        """Return when clients can work. Raises StreamsError or OSError."""

    def stop(self) -> None:
        """Let go of what is left of it."""


class Mender:
    """Keeps a broker alive that was started once. Call `look` now and then.

    It is started again after half a second, and each time that it does not come up, or has lived for less than a
    minute, the wait is twice as long, up to 30 s. It never gives up: what the broker holds is on disk, and the roles
    wait for it.
    """

    def __init__(
        self, broker: Mendable, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._say = say
        self._clock = clock
        self._started = clock()
        self._failures = 0
        self._due: float | None = None

    def look(self) -> None:
        """Start it again when it has ended and it is time; says what came of it."""
        if self._due is None:
            if not self._broker.running:
                self._wait("The local broker has ended")
            return
        if self._clock() < self._due:
            return
        self._broker.stop()
        try:
            self._broker.start()
        except (StreamsError, OSError) as e:
            self._started = self._clock()  # how long it tried is no life
            self._wait(f"The local broker could not be started again. {e}\nIt is not given up")
        else:
            self._started, self._due = self._clock(), None
            self._say("The local broker works again.")

    def _wait(self, what: str) -> None:
        now = self._clock()
        decision = decide(self._failures, now - self._started, POLICY)
        self._failures, self._due = decision.failures, now + decision.delay
        self._say(f"{what}: the next start is in {decision.delay:g} s. What the broker holds is on disk.")
