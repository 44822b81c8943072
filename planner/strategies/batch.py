"""`batch`: a warm domain sends in large batches, several at once, at any time."""

from __future__ import annotations

from planner.strategies.base import Kind
from schemas.strategy import Step, Thresholds

BATCH = Kind(
    name="batch",
    steps=(Step(day=1, daily_limit=None, batch_size=500),),
    interval_minutes=30,
    thresholds=Thresholds(min_opens=0.20, min_delivery=0.95, max_bounces=0.05, max_complaints=0),
    max_batches_per_day=100,
    concurrent_batches=5,
    ranges={
        "batch_size": (100, 1000),
        "interval_minutes": (15, 120),
        "max_batches_per_day": (10, 200),
        "concurrent_batches": (1, 10),
    },
)
