"""All settings, section by section."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from schemas.domain_names import ascii_domain
from schemas.strategy import StrategySpec
from schemas.units import Duration
from streams.settings.base import Section, unknown
from streams.settings.kafka import KafkaSettings
from streams.settings.relays import DomainSettings, RelaySettings


class ClickhouseSettings(Section):
    dsn: SecretStr = SecretStr("embedded")


class ClockSettings(Section):
    speed: float = Field(1.0, gt=0, le=1_000_000)
    start: str | None = Field(None, description="RFC 3339: where the clock begins at the first start; else now")


class WarmupSettings(Section):
    assume: Literal["healthy", "none"] = Field(
        "none", description="what to take a finished sending day for while no feedback says better: healthy "
        "moves the domain on to its next day, none leaves it where it is",
    )  # fmt: skip


class DeferralSettings(Section):
    """When those whom a server refuses for now are tried again, after the tries on the spot (1, 2, 4, 8 s)."""

    after: tuple[Duration, ...] = Field(
        (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4)), min_length=1,
        description="how long after the first, second, ... deferral; the last one holds for all that follow",
    )  # fmt: skip
    give_up_after: Duration = Field(
        timedelta(hours=24), description="counts time in which sending was allowed; then the recipient has failed "
        "(expired). 0s: nobody is deferred, but while it may be we who are blocked",
    )  # fmt: skip

    @field_validator("after")
    @classmethod
    def _waits_are_some_time(cls, after: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        if min(after) < timedelta(seconds=1):
            raise ValueError('each is a second or more, such as after = ["5min", "15min", "1h", "4h"]')
        return after


MIN_KEY = 16
"""Characters of a key that nobody guesses."""


_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?")
"""What stands in links as it is, in HTML and in headers."""


class TrackerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8081, ge=0, le=65535)
    public_url: str | None = None
    keys: tuple[SecretStr, ...] = Field(
        (), description="what signs the names of messages in Message-IDs, return paths and URLs: the first signs, all "
        "verify, and after them one that every installation has",
    )  # fmt: skip

    @field_validator("public_url")
    @classmethod
    def _url_is_one(cls, url: str | None) -> str | None:
        if url is not None and not _PUBLIC_URL.fullmatch(url):
            raise ValueError(f"{url!r} is not where it can be reached; write it like https://t.bore.example")
        return url

    @field_validator("keys")
    @classmethod
    def _keys_are_hard_to_guess(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for n, key in enumerate(keys, 1):
            if len(key.get_secret_value().strip()) < MIN_KEY:
                raise ValueError(
                    f"key {n} has fewer than {MIN_KEY} characters, so it could be guessed; make one by "
                    'python -c "import secrets; print(secrets.token_urlsafe(32))", or leave keys out'
                )
        return keys


class ConsoleSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)


class RolesSettings(Section):
    """How many processes of each role `rampa up` starts."""

    planner: int = Field(1, ge=0, le=64)
    gate: int = Field(1, ge=0, le=64)
    sender: int = Field(1, ge=0, le=64)


class PlannerSettings(Section):
    max_row_bytes: int = Field(65536, ge=1024, description="a longer row is invalid")
    max_problems: int = Field(1000, ge=1, description="problems listed with a rejected request")
    roots: tuple[Path, ...] = Field((), description="file:// URIs must lie below one of these; empty: anywhere")
    s3_endpoint: str | None = None


class Settings(Section):
    """All settings."""

    data: Path = Path("var")
    archive_after: Duration = timedelta(days=30)
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickhouseSettings = ClickhouseSettings()
    clock: ClockSettings = ClockSettings()
    relays: dict[str, RelaySettings] = {}
    domains: dict[str, DomainSettings] = {}
    strategies: dict[str, StrategySpec] = {}
    warmup: WarmupSettings = WarmupSettings()
    deferrals: DeferralSettings = DeferralSettings()
    tracker: TrackerSettings = TrackerSettings()
    console: ConsoleSettings = ConsoleSettings()
    roles: RolesSettings = RolesSettings()
    planner: PlannerSettings = PlannerSettings()

    @field_validator("domains")
    @classmethod
    def _domains_have_one_spelling(cls, domains: dict[str, DomainSettings]) -> dict[str, DomainSettings]:
        """Under lower case and A-labels, as all others know them."""
        known: dict[str, str] = {}
        for written in domains:
            name = ascii_domain(written)
            if name in known:
                raise ValueError(f"{known[name]!r} and {written!r} are the same domain; leave one of them")
            known[name] = written
        return {name: domains[written] for name, written in known.items()}

    @model_validator(mode="after")
    def _names_meet(self) -> Settings:
        for name, domain in self.domains.items():
            if domain.relay not in self.relays:
                raise ValueError(unknown(domain.relay, tuple(self.relays), f'a relay (domain "{name}" names it)'))
            if domain.return_path is not None and self.relays[domain.relay].type == "ses":
                raise ValueError(
                    f'domain "{name}" has a return_path and relay {domain.relay} is of type ses, which sets its own (a '
                    "custom MAIL FROM domain of the account); leave it out"
                )
        for name, strategy in self.strategies.items():
            if name in {"auto", "ramp_up", "batch", "conservative"}:
                raise ValueError(f"[strategies.{name}] has a built-in name; give it a name of its own")
            if strategy.type not in {"ramp_up", "batch", "conservative"}:
                raise ValueError(f"[strategies.{name}] type must be ramp_up, batch or conservative")
        return self
