"""What the owner of a batch knows of it: frozen values, no clock, no I/O.

A batch's journal is its windows, the newest permit and the last order. `sender.journal.core` says how it
may change; `sender.journal.rows` how it is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal, NamedTuple

from schemas.batch import Range
from schemas.chunk import BatchControl, Chunk, ChunkResult, SendError
from schemas.event import EventType
from schemas.journal import NEVER, OPEN, WINDOW

Clue = tuple[str, int]
"""Where something may be found out about an index: a spool, and the round in which it was begun."""

EndKind = Literal["accepted", "failed", "in_doubt", "suppressed", "deferred", "not_begun"]


@dataclass(frozen=True, slots=True)
class Window:
    """The indices start to start + len(states): a state letter, a round and a number of tries for each."""

    start: int
    states: str
    rounds: tuple[int, ...]
    attempts: tuple[int, ...]
    permit_id: str
    at: datetime
    spool: str | None = None
    """Where the process that began them records what it puts on a wire."""
    deferrals: tuple[int, ...] = ()
    """How often each was deferred in its round; empty: none was."""
    unread: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By spool: offsets in doubt because it could not be read when its process was gone. It may be, later."""
    doubts: tuple[int, ...] = ()
    """How often nobody knew what became of each, in all rounds: so many messages he may have; empty: of everybody it
    was always known."""

    def deferred(self, i: int) -> int:
        """How often the index at offset `i` was deferred in its round."""
        return self.deferrals[i] if self.deferrals else 0

    def with_state(self, at: int, letter: str, round_: int | None = None, attempts: int | None = None) -> Window:
        """The same with one index changed, the `at`th of the window; its round and attempts None: as they are. Who is
        open again was not deferred yet."""
        rounds, tries, counts = self.rounds, self.attempts, self.deferrals
        if round_ is not None:
            rounds = (*rounds[:at], round_, *rounds[at + 1 :])
        if attempts is not None:
            tries = (*tries[:at], attempts, *tries[at + 1 :])
        if letter == OPEN and self.deferred(at):
            counts = (*counts[:at], 0, *counts[at + 1 :])
        states = self.states[:at] + letter + self.states[at + 1 :]
        unread = without(self.unread, {at})
        return replace(self, states=states, rounds=rounds, attempts=tries, deferrals=counts, unread=unread)


@dataclass(frozen=True, slots=True)
class Permit:
    """The newest permit of a batch. Active until it has its final `result`.

    `chunk` is the permit itself; only an ended batch, which nothing can be begun of, does without.
    """

    permit_id: str
    round: int
    chunk: Chunk | None
    result: ChunkResult | None = None
    begun: int = 0
    sent_on: Mapping[date, int] = field(default_factory=dict)
    throttled: int = 0
    errors: tuple[SendError, ...] = ()
    deferral: SendError | None = None

    @property
    def active(self) -> bool:
        return self.result is None and self.chunk is not None


@dataclass(frozen=True, slots=True)
class Control:
    """The last order of the gate that was taken. `action` None: sending is allowed."""

    action: Literal["pause", "cancel"] | None = None
    version: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BatchJournal:
    """Everything that the owner has recorded of a batch. A window that is not there was never touched.

    `windows` is a dict because compiled code is quickest with one; nobody changes it in place.
    """

    campaign_id: str
    batch_number: int
    size: int
    content_hash: str
    windows: dict[int, Window]
    permit: Permit
    version: int = 0
    control: Control = Control()
    pending: tuple[BatchControl, ...] = ()

    def window(self, start: int, at: datetime) -> Window:
        """The window that begins at `start`, a fresh one where nothing is recorded."""
        found = self.windows.get(start)
        if found is not None:
            return found
        n = min(WINDOW, self.size - start)
        return Window(start, OPEN * n, (NEVER,) * n, (0,) * n, "", at)

    def with_windows(self, windows: dict[int, Window], permit: Permit | None = None) -> BatchJournal:
        """The same with these windows, and with this permit. There is one for each few messages, so by hand."""
        return BatchJournal(
            self.campaign_id, self.batch_number, self.size, self.content_hash, windows,
            self.permit if permit is None else permit, self.version, self.control, self.pending,
        )  # fmt: skip

    def starts(self) -> range:
        """Where the windows of the batch begin."""
        return range(0, self.size, WINDOW)

    def states(self) -> str:
        """One letter for each index of the batch."""
        return "".join(
            w.states if (w := self.windows.get(s)) is not None else OPEN * min(WINDOW, self.size - s)
            for s in self.starts()
        )


class Ended(NamedTuple):
    """What became of an index that was begun.

    `tries` counts the times that it was put on a wire since it was begun; 0: it never was (a suppressed
    address, a row that no message can be made of, or one given back). `not_begun`: no server took it or may
    have taken it, and it is open again. `deferred`: refused for now; it waits for a permit that names it again.
    `recovered`: its owner died; nobody knows.
    """

    index: int  # type: ignore[assignment]  # hides the method of tuples, which nobody asks for
    kind: EndKind
    at: datetime
    tries: int = 1
    email: str = ""
    message_id: str = ""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    reason: str = ""
    provider_id: str = ""
    recovered: bool = False
    unread: str = ""
    """With `recovered`: the spool that may tell more once it can be read."""


class Fact:
    """Something to tell the world by an event: `ended` happened in `round`, at try `attempt`. There is one for each
    message, so it is a plain class, which is made quickest."""

    __slots__ = ("attempt", "ended", "round", "type")

    def __init__(self, type_: EventType, ended: Ended, round_: int, attempt: int) -> None:
        self.type = type_
        self.ended = ended
        self.round = round_
        self.attempt = attempt

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fact):
            return NotImplemented
        same = self.type == other.type and self.round == other.round and self.attempt == other.attempt
        return same and self.ended == other.ended

    def __hash__(self) -> int:
        return hash((self.type, self.ended, self.round, self.attempt))

    def __repr__(self) -> str:
        return f"Fact({self.type!r}, {self.ended!r}, {self.round}, {self.attempt})"


def without(unread: Mapping[str, tuple[int, ...]], offsets: Collection[int]) -> dict[str, tuple[int, ...]]:
    """What spools may still tell, when nothing more is to be learnt of these offsets of a window."""
    left = {spool: tuple(at for at in found if at not in offsets) for spool, found in unread.items()}
    return {spool: found for spool, found in left.items() if found}


def merged(indices: Iterable[int]) -> tuple[Range, ...]:
    """Ascending indices as ranges: 1, 2, 3, 7 as (1, 4), (7, 8)."""
    out: list[Range] = []
    for i in indices:
        if out and out[-1][1] == i:
            out[-1] = (out[-1][0], i + 1)
        else:
            out.append((i, i + 1))
    return tuple(out)


def pieces(ranges: Iterable[Range]) -> Iterator[tuple[int, int, int]]:
    """The ranges cut by windows: (start of the window, from and to as offsets in it)."""
    for start, end in ranges:
        first = start - start % WINDOW
        for window in range(first, end, WINDOW):
            yield window, max(start - window, 0), min(end - window, WINDOW)
