"""What runs need of the world, and why they cannot send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.chunk import Chunk
from sender.journal.spool import Spool
from sender.recipients import Part
from sender.smtp.refusals import Refusals
from sender.traffic import Message
from sender.worker import Compiled
from streams.clock import Clock


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world, as far as runs go."""

    post: Callable[[Message], None]
    clock: Clock
    alive: Callable[[], bool]
    """Whether this process is surely still the owner of what it was given. Asked before each write: it is cheap."""
    suppressed: Callable[[str], bool]
    compiled: Callable[[Chunk], Awaitable[Compiled]]
    """Raises CannotSend."""
    row: Callable[[Chunk, int], Awaitable[Mapping[str, Any]]]
    """Raises RecipientsError."""
    parts: Callable[[Chunk], Awaitable[Sequence[Part]]]
    """Raises RecipientsError."""
    tempo: dict[str, float]
    """By relay: how many indices a connection was last seen to need ahead."""
    refusals: dict[str, Refusals]
    """By relay: what it has lately made of our mail."""
    spool: Spool | None = None
    """Where it is written what goes on a wire, before it does."""


class CannotSend(Exception):
    """Nothing of a permit can be sent: its campaign, template or relay is not there, or not the one named."""


class CannotYet(CannotSend):
    """What is missing is on its way: nobody's failure, to be tried again."""
