"""The rules by which the simulator misbehaves: frozen values, written in Python, JSON or TOML.

Rules are asked in their order. `slow` adds a delay and lets the next rules decide; the first that
refuses or drops wins. A rule applies when everything that it names matches: the stage, the sender,
the recipient, the connection's number, the chance, the count.

    [[rules]]
    action = "drop"            # one connection in thirty is closed before DATA is answered
    at = "data"
    every_connection = 30

    [[rules]]
    action = "reject"
    at = "rcpt"
    recipient = "*@full.example"
    code = 552
    enhanced = "5.2.2"
    text = "Mailbox is full"
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from simulator.errors import RulesError
from simulator.replies import ENHANCED

Stage: TypeAlias = Literal["connect", "helo", "auth", "mail", "rcpt", "data", "message"]
"""Where a rule acts: the greeting, EHLO or HELO, AUTH, MAIL, RCPT, DATA or the first BDAT, the final dot."""

_KNOWS_SENDER: Final = ("mail", "rcpt", "data", "message")
_KNOWS_RECIPIENT: Final = ("rcpt", "data", "message")


class Matching(BaseModel):
    """What all rules have: when they apply. Patterns are globs, or regular expressions after `re:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""  # the key in the statistics; made from place, action and stage when left out
    at: Stage
    recipient: str | None = None  # at data and message: any recipient of the message
    sender: str | None = None
    every_connection: int | None = Field(default=None, ge=1)  # connections whose number it divides
    every: int | None = Field(default=None, ge=1)  # each n-th time that all else matches
    probability: float | None = Field(default=None, gt=0, le=1)
    seed: int = 0  # of the probability: the same seed gives the same choices
    skip: int = Field(default=0, ge=0)  # the first n matches pass
    limit: int | None = Field(default=None, ge=1)  # applies at most n times

    @field_validator("recipient", "sender")
    @classmethod
    def _pattern_compiles(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("re:"):
            try:
                re.compile(value[3:])
            except re.error as error:
                raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _stage_knows_what_is_asked(self) -> Self:
        if self.sender is not None and self.at not in _KNOWS_SENDER:
            raise ValueError(f"no sender is known at {self.at!r}; use one of {', '.join(_KNOWS_SENDER)}")
        if self.recipient is not None and self.at not in _KNOWS_RECIPIENT:
            raise ValueError(f"no recipient is known at {self.at!r}; use one of {', '.join(_KNOWS_RECIPIENT)}")
        return self


class Refusing(Matching):
    """What rules have that answer with a refusal. 421 also closes the connection (RFC 5321, 3.8)."""

    code: int = Field(default=550, ge=400, le=599)
    enhanced: str = ""  # left out: <class>.0.0
    text: str = "Refused by a rule of this server"

    @field_validator("text")
    @classmethod
    def _text_is_printable(cls, value: str) -> str:
        if not all(line and line.isascii() and line.isprintable() for line in value.split("\n")):
            raise ValueError("the text of a reply is printable ASCII, lines parted by \\n, none of them empty")
        return value

    @model_validator(mode="after")
    def _enhanced_fits_code(self) -> Self:
        if self.enhanced and not ENHANCED.fullmatch(self.enhanced):
            raise ValueError(f"{self.enhanced!r} is not an enhanced code such as 5.1.1 (RFC 3463)")
        if self.enhanced and self.enhanced[0] != str(self.code)[0]:
            raise ValueError(f"class of {self.enhanced} does not fit {self.code}")
        return self


class Reject(Refusing):
    """Refuses at a stage."""

    action: Literal["reject"] = "reject"


class Defer(Refusing):
    """Refuses each recipient (at `message`: each set of recipients) `times` times, then lets it through."""

    action: Literal["defer"] = "defer"
    at: Literal["rcpt", "message"] = "rcpt"
    times: int = Field(default=1, ge=1)
    code: int = Field(default=451, ge=400, le=499)
    enhanced: str = "4.7.1"
    text: str = "Greylisted, try again later"


class Throttle(Refusing):
    """Refuses what comes faster than `per_second`, beyond a burst (one second's worth when left out)."""

    action: Literal["throttle"] = "throttle"
    at: Literal["connect", "mail", "rcpt", "message"] = "mail"
    per_second: float = Field(gt=0)
    burst: int | None = Field(default=None, ge=1)
    scope: Literal["server", "connection"] = "server"
    code: int = Field(default=450, ge=400, le=499)
    enhanced: str = "4.7.1"
    text: str = "Too many messages, slow down"


class Drop(Matching):
    """Cuts the connection before or after the reply of a stage; what the client had sent ahead is lost.

    `keep` (at `message`, before the reply): the message is taken and recorded although its reply is
    never sent. `how`: `close` ends the stream in order, `reset` sends RST.
    """

    action: Literal["drop"] = "drop"
    when: Literal["before", "after"] = "before"
    keep: bool = False
    how: Literal["close", "reset"] = "close"

    @model_validator(mode="after")
    def _keep_has_a_message(self) -> Self:
        if self.keep and (self.at != "message" or self.when != "before"):
            raise ValueError("keep is for at = 'message', when = 'before': elsewhere there is nothing to choose")
        return self


class Slow(Matching):
    """Delays the reply of a stage. At `message` the message is taken first, then the reply waits."""

    action: Literal["slow"] = "slow"
    milliseconds: float = Field(gt=0)


class LimitConnections(Refusing):
    """Refuses connections while `most` are open."""

    action: Literal["limit_connections"] = "limit_connections"
    at: Literal["connect"] = "connect"
    most: int = Field(ge=1)
    code: int = Field(default=421, ge=400, le=599)
    enhanced: str = "4.7.0"
    text: str = "Too many concurrent connections"


class LimitMessages(Refusing):
    """Takes `most` messages in a connection; the next MAIL is refused, or (`close`) the stream ends by itself."""

    action: Literal["limit_messages"] = "limit_messages"
    at: Literal["mail"] = "mail"
    most: int = Field(ge=1)
    close: bool = False
    code: int = Field(default=421, ge=400, le=599)
    enhanced: str = "4.7.0"
    text: str = "Too many messages in this connection"


Rule: TypeAlias = Annotated[
    Reject | Defer | Throttle | Drop | Slow | LimitConnections | LimitMessages, Field(discriminator="action")
]

_RULES: Final[TypeAdapter[tuple[Rule, ...]]] = TypeAdapter(tuple[Rule, ...])


def read_document(path: Path) -> object:
    """A JSON or (by its suffix) TOML file.

    Raises:
        RulesError: it cannot be read or parsed.
    """
    try:
        text = path.read_text("utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise RulesError(str(path), [str(error)]) from error


def parse_rules(document: object, source: str = "rules") -> tuple[Rule, ...]:
    """Rules from a list, or from an object with the list under `rules`.

    Raises:
        RulesError: each problem with its place in the list.
    """
    if isinstance(document, dict):
        if set(document) != {"rules"}:
            raise RulesError(source, [f"expected a list, or an object with `rules` only, not {sorted(document)}"])
        document = document["rules"]
    try:
        return _RULES.validate_python(document)
    except ValidationError as error:
        raise RulesError(source, problems_of(error)) from error


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Rules from a JSON or TOML file; raises RulesError as `parse_rules` does."""
    return parse_rules(read_document(path), str(path))


def dump_rules(rules: Iterable[Rule]) -> bytes:
    """Rules as JSON that `parse_rules` reads."""
    return _RULES.dump_json(tuple(rules))


def problems_of(error: ValidationError) -> list[str]:
    """One line a problem: where, and what."""
    return [f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['msg']}" for one in error.errors()]
