"""`ramp_up`: a cold domain earns its reputation, a few more messages every good sending day."""

from __future__ import annotations

from planner.strategies.base import OFFICE_HOURS, Kind
from schemas.strategy import Step, Thresholds

RAMP_UP = Kind(
    name="ramp_up",
    steps=(
        Step(day=1, daily_limit=50, batch_size=25),
        Step(day=2, daily_limit=100, batch_size=50),
        Step(day=3, daily_limit=150, batch_size=75),
        Step(day=6, daily_limit=200, batch_size=100),
    ),
    interval_minutes=60,
    thresholds=Thresholds(min_opens=0.20, min_delivery=0.95, max_bounces=0.05, max_complaints=0),
    window=OFFICE_HOURS,
    skip_weekends=True,
    ranges={"batch_size": (1, 1000)},
)
