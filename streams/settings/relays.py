"""`[relays.NAME]` and `[domains."NAME"]`: the accounts that mail goes out by, and who sends by them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from schemas.domain_names import ascii_domain
from schemas.request import TimeZone
from schemas.units import Duration, Quota, Rate
from streams.settings.base import Section

PRESETS: dict[str, dict[str, Any]] = {
    "improvmx": {"connections": 3, "rate": 5.0},
    "gmail": {"connections": 5, "rate": 20.0, "daily_quota": 500},
    "sendgrid": {"connections": 10, "rate": 100.0},
    "ses": {"connections": 10, "rate": 14.0},
}
"""Limits of known providers, where a relay's own settings leave them open."""


_MAILBOX = re.compile(r"(?=.{1,20}\Z)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


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

    @property
    def lacks(self) -> str | None:
        """What it needs for sending and has not. Commands that only look do without: secrets are the sender's."""
        if self.username is not None and (self.password is None or not self.password.get_secret_value()):
            return "it has a username and no password"
        return None


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
    return_path: str | None = Field(
        None, description="bounces go to subaddresses of this mailbox, one a message (VERP); none: to the From address"
    )

    @field_validator("return_path")
    @classmethod
    def _has_room_for_a_name(cls, mailbox: str | None) -> str | None:
        if mailbox is None:
            return None
        local, at, domain = mailbox.rpartition("@")
        if not at or not _MAILBOX.fullmatch(local):
            raise ValueError(
                f'{mailbox[:80]!r} is not a mailbox such as "bounces@bore.example" (before the @ at most 20 of a-z, '
                "0-9, dot and hyphen: the name of the message follows after a +)"
            )
        return f"{local}@{ascii_domain(domain)}"
