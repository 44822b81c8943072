"""Settings: one frozen object, from `rampa.toml` and then the environment.

Built once in `main`; functions get only their part. Secrets are `SecretStr`, which prints as stars.
A key that is not known is an error that suggests the right one. Environment variables are
`RAMPA_` and the path with two underscores between its parts: `RAMPA_KAFKA__BOOTSTRAP`,
`RAMPA_RELAYS__MAIN__PASSWORD`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from schemas.domain_names import ascii_domain
from schemas.request import TimeZone
from schemas.strategy import StrategySpec
from schemas.units import Duration, Quota, Rate

ENV_PREFIX = "RAMPA_"
NO_SETTINGS = frozenset({"RAMPA_CONFIG", "RAMPA_KAFKA_HOME", "RAMPA_LOG"})
"""Variables of ours that are read elsewhere: the settings' file, where Kafka's jars lie, how much is logged."""
DEFAULT_FILE = "rampa.toml"
_SECRET = re.compile(r"password|secret|token|key\.pem|key_pem|jaas|oauthbearer")


class SettingsError(ValueError):
    """The settings cannot be used; the message names each place and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(BaseModel):
    """Where Kafka is. Keys that are not listed are passed to librdkafka (`sasl_mechanism`, ...)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    bootstrap: str = Field("embedded", min_length=1, description='"embedded", "local" or "host:9092,host:9092"')
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    partitions: int = Field(12, ge=1, le=1000)
    replication: int = Field(1, ge=1, le=10, description="replicas of each topic; 3 on a cluster")
    session_timeout: Duration = timedelta(seconds=6)
    port: int = Field(0, ge=0, le=65535, description="of the embedded or local broker; 0: any free one")

    @model_validator(mode="before")
    @classmethod
    def _secrets_are_wrapped(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: SecretStr(v) if isinstance(v, str) and _SECRET.search(k) else v for k, v in data.items()}

    @model_validator(mode="after")
    def _extras_are_for_librdkafka(self) -> KafkaSettings:
        allowed = (
            "security",
            "sasl",
            "ssl",
            "enable_ssl",
            "client",
            "broker",
            "socket",
            "debug",
            "statistics",
            "message_max",
        )
        for name, value in (self.model_extra or {}).items():
            if not name.replace(".", "_").startswith(allowed):
                raise ValueError(_unknown(name, tuple(type(self).model_fields), "a setting of [kafka]"))
            if not isinstance(value, str | int | float | bool | SecretStr):
                raise ValueError(f"{name} must be a string, a number or true/false")
        return self

    def client_options(self) -> dict[str, str]:
        """What is passed to librdkafka: underscores become dots."""
        return {name.replace("_", "."): _librdkafka(value) for name, value in (self.model_extra or {}).items()}


def _librdkafka(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


class ClickhouseSettings(Section):
    dsn: SecretStr = SecretStr("embedded")


class ClockSettings(Section):
    speed: float = Field(1.0, gt=0, le=1_000_000)
    start: str | None = Field(None, description="RFC 3339: where the clock begins at the first start; else now")


PRESETS: dict[str, dict[str, Any]] = {
    "improvmx": {"connections": 3, "rate": 5.0},
    "gmail": {"connections": 5, "rate": 20.0, "daily_quota": 500},
    "sendgrid": {"connections": 10, "rate": 100.0},
    "ses": {"connections": 10, "rate": 14.0},
}
"""Limits of known providers, where a relay's own settings leave them open."""


class RelaySettings(Section):
    """An account that mail goes out by, with its limits."""

    type: Literal["smtp", "ses", "maildir"] = "smtp"
    host: str | None = None
    port: int = Field(587, ge=1, le=65535)
    tls: Literal["auto", "implicit", "starttls", "none"] = Field(
        "auto", description="auto: implicit on 465, STARTTLS on 587, elsewhere STARTTLS when offered"
    )
    ca_file: Path | None = Field(None, description="certificates to trust besides the system's")
    preset: Literal["improvmx", "gmail", "sendgrid", "ses"] | None = None
    username: str | None = None
    password: SecretStr | None = None
    auth: Literal["auto", "plain", "login", "cram-md5", "xoauth2"] = Field(
        "auto", description="auto: the first of PLAIN, LOGIN, CRAM-MD5 that is offered; xoauth2: password is the token"
    )
    rate: Rate | None = None
    rate_from_account: bool = Field(
        False, description="for ses: send at the rate that the account says, once it is known, instead of at the lower "
        "of that and `rate`; so by itself where no rate is given",
    )  # fmt: skip
    connections: int = Field(10, ge=1, le=1000)
    messages_per_connection: int = Field(100, ge=1)
    in_flight: int = Field(8, ge=1, le=64, description="messages ahead of their replies, where CHUNKING is offered")
    daily_quota: Quota | None = None
    ip_family: Literal["any", "4", "6"] = "any"
    source_ip: str | None = None
    path: Path | None = Field(None, description="for maildir: the directory")
    helo: str | None = Field(None, description="the name to greet with; default: this host's")
    timeout: Duration = timedelta(seconds=60)
    region: str | None = Field(None, description="for ses: the AWS region; default: of the AWS profile or environment")
    profile: str | None = Field(None, description="for ses: the AWS profile; default: the usual AWS chain")
    endpoint_url: str | None = Field(None, description="for ses: another address of the API", pattern="^https?://")
    configuration_set: str | None = Field(
        None, description="for ses: publishes the events of what is sent", pattern=r"^[A-Za-z0-9_-]{1,64}$"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        preset = data.get("preset") or ("ses" if data.get("type") == "ses" else None)
        asked = {"rate_from_account": True} if data.get("type") == "ses" and data.get("rate") is None else {}
        return {**PRESETS[preset], **asked, **data} if preset in PRESETS else data

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> RelaySettings:
        if self.type == "smtp" and not self.host:
            raise ValueError('an smtp relay needs a host, such as host = "smtp.example.com"')
        if self.type == "maildir" and not self.path:
            raise ValueError('a maildir relay needs a path, such as path = "var/mail"')
        if self.type == "ses" and self.username is not None:
            raise ValueError("an ses relay takes its credentials from the AWS chain (profile, environment, role)")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username beside it")
        return self


class DkimSettings(Section):
    """The key that signs a domain's mail (RFC 6376). Its public half is at `SELECTOR._domainkey.DOMAIN` in the DNS."""

    selector: str = Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
    key: SecretStr | None = Field(None, description="the private key in PEM form, RSA or Ed25519")
    key_file: Path | None = Field(None, description="a file with it")

    @model_validator(mode="after")
    def _has_one_key(self) -> DkimSettings:
        if (self.key is None) == (self.key_file is None):
            raise ValueError('dkim needs one of key_file = "dkim.pem" and key')
        return self


class DomainSettings(Section):
    relay: str
    timezone: TimeZone = "UTC"
    warm: bool = False
    dkim: DkimSettings | None = Field(None, description="none: mail goes out unsigned, or the relay signs")


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
        "(expired). 0s: nobody is deferred",
    )  # fmt: skip

    @field_validator("after")
    @classmethod
    def _waits_are_some_time(cls, after: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        if min(after) < timedelta(seconds=1):
            raise ValueError('each is a second or more, such as after = ["5min", "15min", "1h", "4h"]')
        return after


class TrackerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8081, ge=0, le=65535)
    public_url: str | None = None
    keys: tuple[SecretStr, ...] = ()


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
                raise ValueError(_unknown(domain.relay, tuple(self.relays), f'a relay (domain "{name}" names it)'))
        for name, strategy in self.strategies.items():
            if name in {"auto", "ramp_up", "batch", "conservative"}:
                raise ValueError(f"[strategies.{name}] has a built-in name; give it a name of its own")
            if strategy.type not in {"ramp_up", "batch", "conservative"}:
                raise ValueError(f"[strategies.{name}] type must be ramp_up, batch or conservative")
        return self


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `path` (default: `rampa.toml` when there is one), then of the environment.

    Relative paths in the file are relative to it. Raises `SettingsError` naming every problem.
    """
    environ = os.environ if environ is None else environ
    if path is None and "RAMPA_CONFIG" in environ:
        path = Path(environ["RAMPA_CONFIG"])
    file = path or Path(DEFAULT_FILE)
    data: dict[str, Any] = {}
    if path is not None or file.exists():
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"{file}: no such file; `rampa init` writes one") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise SettingsError(f"{file}: {e}") from None
    _merge_environment(data, environ)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as e:
        raise SettingsError(f"{file}:\n" + "\n".join(f"  {line}" for line in problems(e))) from None
    return _anchored(settings, file.parent)


def problems(error: ValidationError) -> list[str]:
    """One line a problem: the key's path, what is wrong, and the nearest key when one is unknown."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            parent, name = item["loc"][:-1], str(item["loc"][-1])
            lines.append(
                _unknown(
                    name,
                    _keys_at(parent),
                    f"a setting of [{'.'.join(map(str, parent))}]" if parent else "a setting",
                )
            )
        else:
            lines.append(f"{place}: {item['msg']}" if place else item["msg"])
    return lines


def _unknown(name: str, known: tuple[str, ...], what: str) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + (", ".join(sorted(known)) or "none yet")
    return f"{name!r} is not {what}; {hint}"


def _keys_at(parent: tuple[int | str, ...]) -> tuple[str, ...]:
    model: Any = Settings
    for part in parent:
        fields: dict[str, FieldInfo] = getattr(model, "model_fields", {})
        kind = fields[str(part)].annotation if str(part) in fields else None
        if kind is None:
            continue  # a name of the user's own, in a table of relays, domains or strategies
        args = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = args[-1] if args else kind
    return tuple(getattr(model, "model_fields", {}))


def _merge_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in NO_SETTINGS:
            continue
        *parents, last = name.removeprefix(ENV_PREFIX).lower().split("__")
        table = data
        kind = _kind_at((*parents, last))
        for parent in parents:
            existing = next((k for k in table if k.lower() == parent), parent)
            table = table.setdefault(existing, {})
            if not isinstance(table, dict):
                raise SettingsError(f"{name}: {parent} is a value, not a table")
        table[last] = text if _is_text(kind) else _environment_value(text)


def _kind_at(path: tuple[str, ...]) -> Any:
    """The type of the setting at a path; None when there is none."""
    kind: Any = Settings
    for part in path:
        if get_origin(kind) is dict:  # the part is a name of the user's own
            kind = get_args(kind)[1]
            continue
        kind = next((a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)), kind)
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        if part not in kind.model_fields:
            return str if kind.model_config.get("extra") == "allow" else None
        kind = kind.model_fields[part].annotation
    return kind


def _is_text(kind: Any) -> bool:
    """Whether a value of that type is text, so that what looks like JSON in it must stay as it is."""
    if get_origin(kind) in {Union, UnionType}:
        return any(_is_text(arg) for arg in get_args(kind))
    return kind in {str, SecretStr, Path}


def _environment_value(text: str) -> Any:
    """A list, a table or a truth value is written as JSON."""
    if text[:1] in {"[", "{"} or text in {"true", "false"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _anchored(settings: Settings, base: Path) -> Settings:
    relays = {
        name: r.model_copy(update={k: base / p for k in ("path", "ca_file") if (p := getattr(r, k)) is not None})
        for name, r in settings.relays.items()
    }
    domains = {
        name: d.model_copy(update={"dkim": d.dkim.model_copy(update={"key_file": base / d.dkim.key_file})})
        if d.dkim is not None and d.dkim.key_file is not None
        else d
        for name, d in settings.domains.items()
    }
    planner = settings.planner.model_copy(update={"roots": tuple(base / root for root in settings.planner.roots)})
    data = base / settings.data
    return settings.model_copy(update={"data": data, "relays": relays, "domains": domains, "planner": planner})
