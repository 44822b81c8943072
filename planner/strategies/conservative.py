"""`conservative`: a domain whose reputation has suffered starts again with very little."""

from __future__ import annotations

from planner.strategies.base import OFFICE_HOURS, Kind
from schemas.strategy import DayThresholds, Step, Thresholds

CONSERVATIVE = Kind(
    name="conservative",
    steps=(
        Step(day=1, daily_limit=10, batch_size=10),
        Step(day=2, daily_limit=20, batch_size=10),
        Step(day=3, daily_limit=30, batch_size=15),
        Step(day=6, daily_limit=50, batch_size=25),
    ),
    interval_minutes=60,
    thresholds=Thresholds(min_opens=0.25, min_delivery=0.95, max_bounces=0.05, max_complaints=0),
    later_thresholds=(
        DayThresholds(
            day=6, thresholds=Thresholds(min_opens=0.25, min_delivery=0.98, max_bounces=0.05, max_complaints=0)
        ),
    ),
    window=OFFICE_HOURS,
    skip_weekends=True,
    ranges={"batch_size": (1, 1000)},
)
