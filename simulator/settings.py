"""What kind of mailbox provider the simulator is: one frozen object, from Python, JSON or TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.errors import RulesError
from simulator.rules import problems_of, read_document


class Settings(BaseModel):
    """The extensions offered, the limits, and who may send. Sizes are octets, times seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hostname: str = "mailbox.example"
    pipelining: bool = True  # RFC 2920: whether it is announced; pipelined commands work in any case
    eight_bit: bool = True  # 8BITMIME, RFC 6152
    smtputf8: bool = True  # RFC 6531
    chunking: bool = False  # BDAT, RFC 3030
    max_size: int = Field(default=25 * 1024 * 1024, ge=1)  # SIZE, RFC 1870
    max_recipients: int = Field(default=100, ge=1)
    max_command_line: int = Field(default=2048, ge=512)  # with CRLF; RFC 5321, 4.5.3.1.4
    max_auth_line: int = Field(default=12288, ge=512)  # with CRLF; RFC 4954, section 4
    strict_lines: bool = True  # refuse messages with bare CR or LF or lines over 1000 octets
    answer_354_without_recipients: bool = False  # RFC 2920, 3.1 lets a server do that; 554 follows the final dot
    conventions: bool = True  # addresses such as bounce+550-5.1.1@...: see simulator.conventions
    idle_seconds: float = Field(default=300.0, gt=0)  # then 421 4.4.2
    tls_certificate: Path | None = None  # PEM; offers STARTTLS, or speaks TLS at once
    tls_key: Path | None = None
    implicit_tls: bool = False
    require_tls: bool = False  # 530 5.7.0 to MAIL before STARTTLS
    users: dict[str, str] = Field(default_factory=dict)  # name: password; offers AUTH
    tokens: dict[str, str] = Field(default_factory=dict)  # name: bearer token of XOAUTH2
    require_auth: bool = False  # 530 5.7.0 to MAIL before AUTH
    auth_needs_tls: bool = False  # AUTH is offered under TLS only
    record_headers: tuple[str, ...] = ()  # further header fields for the record

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.implicit_tls or self.require_tls) and self.tls_certificate is None:
            raise ValueError("implicit_tls and require_tls need tls_certificate")
        if self.tls_certificate is not None and self.tls_key is None:
            raise ValueError("tls_certificate needs tls_key")
        if self.require_auth and not (self.users or self.tokens):
            raise ValueError("require_auth needs users or tokens")
        return self


DEFAULTS: Final = Settings()


def load_settings(path: Path) -> Settings:
    """Settings from a JSON or TOML file.

    Raises:
        RulesError: it cannot be read, or does not validate; every problem by field.
    """
    try:
        return Settings.model_validate(read_document(path))
    except ValidationError as error:
        raise RulesError(str(path), problems_of(error)) from error
