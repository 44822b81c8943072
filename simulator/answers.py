"""What the server answers and does next, as values."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from simulator.moments import PASS, Decision


class Then(Enum):
    """What to do once the bytes are sent."""

    READ = "feed what the client sends"
    WAIT = "call resume after the delay"
    CLOSE = "end the stream in order"
    RESET = "end the stream by RST"
    START_TLS = "negotiate TLS, then call tls_started"


class Taken(NamedTuple):
    """A message that the server has made itself responsible for."""

    connection: int
    sender: str
    recipients: tuple[str, ...]
    body: bytes  # dots unstuffed
    at: float  # seconds since the epoch
    replied: bool  # False: a rule cut the connection before the 250
    tls: bool
    user: str


class Answer(NamedTuple):
    """One command's reply, held back for `delay` seconds, and what follows it; `taken` does not wait."""

    reply: bytes
    then: Then = Then.READ
    delay: float = 0.0
    taken: Taken | None = None


@lru_cache(maxsize=64)
def plain(reply: bytes) -> Answer:
    """The reply and nothing else; the same few again and again, hence remembered."""
    return Answer(reply)


def by_decision(decision: Decision, usual: bytes) -> Answer:
    """The usual reply, or what the rules have decided instead."""
    if decision is PASS:
        return plain(usual)
    end = Then.RESET if decision.reset else Then.CLOSE
    if decision.drop == "before":
        return Answer(b"", end, decision.delay)
    if decision.refusal:
        return Answer(decision.refusal, Then.CLOSE if decision.closes else Then.READ, decision.delay)
    return Answer(usual, end if decision.drop else Then.READ, decision.delay)
