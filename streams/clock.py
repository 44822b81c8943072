"""Time as a parameter: one clock for all processes of an installation.

Calendar, intervals, windows, days and deferrals follow this clock, which can run faster than real
time; rates, back-off, SMTP time-outs, leases, permit repeats and Kafka's timestamps are real
(`time.monotonic`, `time.time`). Epoch and speed are chosen at the first start and kept in the topic
`installation`, so that all processes and all restarts agree.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the installation's time."""

    @property
    def speed(self) -> float:
        """Seconds of this clock that pass in one real second."""

    def now(self) -> datetime:
        """The installation's time, in UTC."""

    def at(self, real: float) -> datetime:
        """The installation's time at the Unix time `real`."""

    def real_seconds(self, length: timedelta) -> float:
        """How many real seconds `length` of this clock takes."""


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """Virtual time = epoch_virtual + (real - epoch_real) * speed. Epochs in Unix seconds."""

    epoch_real: float = 0.0
    epoch_virtual: float = 0.0
    speed: float = 1.0

    def now(self) -> datetime:
        return self.at(time.time())

    def at(self, real: float) -> datetime:
        return datetime.fromtimestamp(self.epoch_virtual + (real - self.epoch_real) * self.speed, UTC)

    def real_seconds(self, length: timedelta) -> float:
        return length.total_seconds() / self.speed


REAL = ScaledClock()
"""The clock on the wall."""


@dataclass(slots=True)
class ManualClock:
    """A clock that stands still until a test moves it."""

    instant: datetime
    speed: float = 1.0
    moved: list[timedelta] = field(default_factory=list)

    def now(self) -> datetime:
        return self.instant

    def at(self, real: float) -> datetime:  # noqa: ARG002 - this clock knows no real time
        return self.instant

    def real_seconds(self, length: timedelta) -> float:
        return length.total_seconds() / self.speed

    def move(self, length: timedelta) -> datetime:
        """Later by `length`; the new time."""
        self.moved.append(length)
        self.instant += length
        return self.instant
