"""What the gate needs of the settings, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from schemas.topics import CHUNKS
from streams.settings import Settings

FORGET_AFTER = (CHUNKS.retention_days or 7) * 86_400.0


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Limits of one account: messages a second (None: no limit), connections, messages a UTC day.

    rate_from_account: the account's rate takes the place of `rate`, once it is known, instead of the lower of both.
    """

    connections: int = 10
    rate: float | None = None
    daily_quota: int | None = None
    rate_from_account: bool = False


@dataclass(frozen=True, slots=True)
class DomainPlace:
    """Where a sending domain belongs: its relay, the zone of its midnight, whether its warm-up is over."""

    relay: str
    timezone: str = "UTC"
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Deferrals:
    """How long to wait after the first, second, ... deferral (the last holds for all that follow), and how much allowed
    time after the first one the last try is made; none: nobody is deferred."""

    after: tuple[timedelta, ...] = (
        timedelta(minutes=5),
        timedelta(minutes=15),
        timedelta(hours=1),
        timedelta(hours=4),
    )
    give_up_after: timedelta = timedelta(hours=24)

    def wait(self, times: int, used: float) -> timedelta:
        """After the `times`th deferral, when `used` seconds of allowed time are gone: no longer than what is left,
        and no shorter than the first wait."""
        left = max(self.give_up_after - timedelta(seconds=used), self.after[0])
        return min(self.after[min(times, len(self.after)) - 1], left)

    def goes_on(self, used: float) -> bool:
        """Whether one who is refused again is deferred again."""
        return used < self.give_up_after.total_seconds()


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Real times in seconds.

    assume:         what to take a finished sending day for while no feedback says better.
    repeat_after:   a permit without a result is repeated after this long.
    silent_after:   a permit without any answer for this long means that nobody is sending.
    lost_after:     so does one that was begun and of which nothing was heard for this long. However slow the server is,
                    a sender reports every 2 s; a hand-over to another one takes up to 16 s (its drain and session).
    show_every:     least time between two progress records of a campaign, or two records of a batch.
    permit_seconds: a permit lasts about this long at its rate.
    max_permit:     messages in one permit at most.
    max_failures:   a chunk that failed so often in a row is a dead letter.
    deferrals:      when those who were refused for now are tried again, and for how long.
    forget_after:   what is kept of an archived campaign's batches goes after this long: `chunks` has forgotten them.
    archive_after:  of the installation's clock: how long after its end a campaign is archived.
    """

    relays: dict[str, RelayLimits] = field(default_factory=dict)
    domains: dict[str, DomainPlace] = field(default_factory=dict)
    assume: Literal["healthy", "none"] = "none"
    repeat_after: float = 10.0
    silent_after: float = 15.0
    lost_after: float = 30.0
    show_every: float = 0.5
    permit_seconds: float = 30.0
    max_permit: int = 5000
    max_failures: int = 3
    deferrals: Deferrals = Deferrals()
    forget_after: float = FORGET_AFTER
    archive_after: timedelta = timedelta(days=30)


def gate_settings(settings: Settings) -> GateSettings:
    """The gate's part of all settings."""
    return GateSettings(
        relays={
            n: RelayLimits(r.connections, r.rate, r.daily_quota, r.rate_from_account)
            for n, r in settings.relays.items()
        },
        domains={n: DomainPlace(d.relay, d.timezone, d.warm) for n, d in settings.domains.items()},
        assume=settings.warmup.assume,
        deferrals=Deferrals(settings.deferrals.after, settings.deferrals.give_up_after),
        archive_after=settings.archive_after,
    )


def margin(speed: float) -> timedelta:
    """How long before midnight or a window's end a permit runs out: room for what is on the wire by then."""
    return timedelta(seconds=min(3600.0, 60.0 + 0.25 * speed))
