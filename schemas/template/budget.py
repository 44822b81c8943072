"""What rendering one part of one message may use: turns, characters, processor time."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

from schemas.template.errors import OverBudget

MAX_OUTPUT = 1_000_000
"""Characters of one rendered part."""
MAX_STEPS = 100_000
"""Turns of loops and calls, for one part of one message."""
MAX_SECONDS = 0.5
"""Processor time to render one part of one message: other processes' load is not the template's fault."""


class Budget:
    """What one rendering may still use. For one rendering at a time."""

    def __init__(self, clock: Callable[[], float] = thread_time) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """A new rendering."""
        self._steps = MAX_STEPS
        self._size = MAX_OUTPUT
        self._deadline = self._clock() + MAX_SECONDS

    def step(self) -> None:
        """A turn of a loop, a call, a filter. Raises `OverBudget` when there have been too many, or for too long."""
        self._steps -= 1
        if self._steps < 0:
            raise OverBudget(f"the template's loops take more than {MAX_STEPS:,} turns: is one endless?")
        self._look()

    def write(self, size: int) -> None:
        """So many characters come out. Raises `OverBudget` when there are too many, or it took too long."""
        self._size -= size
        if self._size < 0:
            raise OverBudget(f"the message is longer than {MAX_OUTPUT:,} characters: is a loop endless?")
        self._look()

    def _look(self) -> None:
        if self._clock() > self._deadline:
            raise OverBudget(f"the template takes more than {MAX_SECONDS:g} s: is a loop endless?")
