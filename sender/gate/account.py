"""What a relay's account last said of itself: a part of the relay's row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Account:
    """What the relay's account last said of itself (`schemas.records.RelayAccount`); `begun`: messages since."""

    read_real: float
    again_seconds: float
    rate: float | None = None
    quota: int | None = None
    sent: int = 0
    refusal: str | None = None
    begun: int = 0
