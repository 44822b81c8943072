"""The installation's clock, for commands that only look."""

from __future__ import annotations

from console.access import Access
from schemas.records import InstallationRecord
from schemas.topics import INSTALLATION
from streams.clock import REAL, ScaledClock


def clock_of(record: InstallationRecord) -> ScaledClock:
    """The clock that an installation agreed on at its first start."""
    return ScaledClock(record.clock.epoch_real, record.clock.epoch_virtual, record.clock.speed)


def installation_clock(access: Access) -> ScaledClock:
    """The clock of the installation, or the one on the wall before its first start."""
    records = access.newest(INSTALLATION, InstallationRecord)
    return next((clock_of(r) for r in records.values()), REAL)
