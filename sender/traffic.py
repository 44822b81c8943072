"""What the owner of a batch (in the thread of fenced processing) and its runs (in asyncio) say to each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.chunk import Chunk
from schemas.journal import WINDOW
from sender.journal.report import Stopped
from sender.journal.spool_evidence import Fate
from sender.journal.values import Clue, Ended

BatchKey = tuple[str, int]
"""(campaign id, batch number)."""


PREFETCH = 4 * WINDOW
"""Indices that may wait intended for each connection: what a quick one sends in the time of two commits."""


def prefetch_limit(connections: int, rate: float | None) -> int:
    """How many indices may wait intended: what half a second takes, at most `PREFETCH` a connection."""
    most = PREFETCH * connections
    return most if rate is None else max(connections, min(most, math.ceil(rate / 2)))


@dataclass(frozen=True, slots=True)
class Want:
    """A run wants up to `n` more indices. It asks again only when `grant` has answered."""

    batch: BatchKey
    run: int
    n: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Indices that are committed as intended; `last`: there are no more."""

    indices: Sequence[int]
    last: bool


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
    """The answer to `look_up`: the addresses of the indices; an empty one could not be read.

    `fates`: what spools prove of them. One that is not there may have been on a wire. `message_ids`: of those that
    were begun under the present permit.
    """

    batch: BatchKey
    look: int
    emails: Mapping[int, str]
    fates: Mapping[int, Fate] = field(default_factory=dict)
    message_ids: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Readable:
    """A spool can be read now: its process has died."""

    spool: str


Message = Want | Came | Drained | Known
"""About a batch."""


class Runs(Protocol):
    """What an owner asks of the other side. Every method returns at once and may be called from any thread."""

    def start(self, run: int, chunk: Chunk, grant: Grant) -> None:
        """Send under this permit: first these, then what further grants give.

        The run says what came of each index, and ends with `Drained`.
        """

    def grant(self, run: int, grant: Grant) -> None:
        """The answer to `Want`."""

    def stop(self, run: int, stopped: Stopped) -> None:
        """Begin nothing more, finish what is on the wire, give back the rest."""

    def halt(self, run: int) -> None:
        """The batch belongs to another by now: touch no wire any more. Nothing is answered."""

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:
        """Say the addresses of these indices by `Known`, and what spools prove of those that have a clue."""

    def try_spools(self, names: Sequence[str]) -> None:
        """Say `Readable` of each of these whose process has died by now."""

    def settled(self, run: int, indices: Sequence[int]) -> None:
        """The outcomes of these are committed. Said before any of them is granted again."""
