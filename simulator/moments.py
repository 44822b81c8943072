"""What a rule is told, and what it can decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from simulator.rules import Stage


@dataclass(slots=True, eq=False, weakref_slot=True)
class Facts:
    """What is known of one connection when a rule is asked."""

    connection: int  # its number, from 1
    open_connections: int = 1  # with this one, when it came
    tls: bool = False
    user: str = ""  # by AUTH
    messages: int = 0  # taken on this connection so far
    sender: str = ""
    recipients: list[str] = field(default_factory=list)  # at `rcpt`: the last one is being decided


class Decision(NamedTuple):
    """What becomes of a stage: the usual reply, unless something is set here."""

    refusal: bytes = b""
    drop: Literal["", "before", "after"] = ""
    reset: bool = False  # a drop by RST
    keep: bool = False  # a drop before the reply takes the message nevertheless
    delay: float = 0.0  # seconds

    @property
    def lets_through(self) -> bool:
        """The stage succeeds (a drop after its reply included)."""
        return not self.refusal and self.drop != "before"

    @property
    def closes(self) -> bool:
        """421 means that the server closes the connection."""
        return self.refusal.startswith(b"421")


class Moment(NamedTuple):
    """A stage of a conversation, at `now` (seconds since the epoch)."""

    stage: Stage
    facts: Facts
    now: float


PASS: Final = Decision()
