"""What the owner of a batch (in the thread of fenced processing) and its runs (in asyncio) say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.chunk import Chunk
from sender.journal.report import Stopped
from sender.journal.values import Ended

BatchKey = tuple[str, int]
"""(campaign id, batch number)."""


@dataclass(frozen=True, slots=True)
class Want:
    """A run wants up to `n` more indices. It asks again only when `grant` has answered."""

    batch: BatchKey
    run: int
    n: int


@dataclass(frozen=True, slots=True)
class Came:
    """What became of indices that were granted to a run; and replies that asked for less speed."""

    batch: BatchKey
    run: int
    outcomes: Sequence[Ended]
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class Drained:
    """A run is over: every index that it was granted has its outcome, and its connections are given up."""

    batch: BatchKey
    run: int
    stopped: Stopped
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The answer to `look_up`: the addresses of the indices; an empty one could not be read."""

    batch: BatchKey
    look: int
    emails: Mapping[int, str]


Message = Want | Came | Drained | Known


class Runs(Protocol):
    """What an owner asks of the other side. Every method returns at once and may be called from any thread."""

    def start(self, run: int, chunk: Chunk) -> None:
        """Send under this permit: ask for indices, send them, say what came of each, and end with `Drained`."""

    def grant(self, run: int, indices: Sequence[int]) -> None:
        """The answer to `Want`: these are committed as intended. None: there are no more."""

    def stop(self, run: int, stopped: Stopped) -> None:
        """Begin nothing more, finish what is on the wire, give back the rest."""

    def halt(self, run: int) -> None:
        """The batch belongs to another by now: touch no wire any more. Nothing is answered."""

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int]) -> None:
        """Say the addresses of these indices by `Known`."""
