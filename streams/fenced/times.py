"""The clock of fenced processing."""

from __future__ import annotations

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_since_boot() -> float:
    """Goes on while the machine is suspended, where the system can tell; so a long sleep is noticed."""
    return time.clock_gettime(_BOOT)
