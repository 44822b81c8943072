"""The calendar, for the planner's callers; it stands in `schemas.calendar`, since the gate reckons by it too."""

from __future__ import annotations

from schemas.calendar import (
    HORIZON_DAYS,
    NeverOpens,
    closes_at,
    is_sendable,
    local_day,
    next_midnight,
    next_sendable,
    why_closed,
)

__all__ = [
    "HORIZON_DAYS",
    "NeverOpens",
    "closes_at",
    "is_sendable",
    "local_day",
    "next_midnight",
    "next_sendable",
    "why_closed",
]
