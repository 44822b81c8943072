"""What a built-in strategy is: its numbers, its ranges, and when it sends unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time

from schemas.strategy import DayThresholds, Step, StrategyType, Thresholds

OFFICE_HOURS = (time(9), time(17))


@dataclass(frozen=True, slots=True)
class Kind:
    """A strategy's defaults. A new one is a file with such a value and a line in the registry."""

    name: StrategyType
    steps: tuple[Step, ...]
    interval_minutes: float
    thresholds: Thresholds
    later_thresholds: tuple[DayThresholds, ...] = ()
    max_batches_per_day: int | None = None
    concurrent_batches: int = 5
    window: tuple[time, time] | None = None
    skip_weekends: bool = False
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Least and most of a number in a request, by the name of the field."""
