"""What the owner of batches keeps of each, and how records become that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from schemas.chunk import BatchControl, Chunk
from schemas.journal import WINDOW
from schemas.message_name import MessageName, message_id
from sender.journal.recovery import settled_by
from sender.journal.report import Stopped
from sender.journal.rows import as_recorded
from sender.journal.spool_evidence import Fate
from sender.journal.values import BatchJournal, Clue, Ended
from sender.traffic import BatchKey, Known, prefetch_limit

Sought = BatchControl | Literal["left", "late"]
"""For what addresses are looked up: an order, what a dead owner left intended, a spool that can be read at last."""

Present = tuple[
    BatchJournal, BatchJournal | None, int | None, tuple[Stopped, str | None] | None, Chunk | None, int | None,
    Sought, BatchJournal | None, float,
]  # fmt: skip
"""A batch in memory at some moment."""


@dataclass(slots=True)
class Held:
    """A batch in memory. `recorded` is what the changelog has, `journal` what the next commit makes it."""

    partition: int
    journal: BatchJournal
    recorded: BatchJournal | None
    run: int | None = None
    ending: tuple[Stopped, str | None] | None = None
    waiting: Chunk | None = None
    looking: int | None = None
    sought: Sought = "left"
    """What it is looked for."""
    shown: BatchJournal | None = None
    shown_at: float = 0.0

    @property
    def key(self) -> BatchKey:
        return self.journal.campaign_id, self.journal.batch_number

    @property
    def at_rest(self) -> bool:
        """Whether nothing is done for it, nothing waits, and nothing of it is to be written: its rows say all."""
        permit = self.journal.permit
        if permit.active or self.journal.pending or self.waiting is not None:
            return False
        if self.run is not None or self.looking is not None or self.ending is not None:
            return False
        return self.recorded is self.journal or self.recorded == as_recorded(self.journal)

    def present(self) -> Present:
        """What may change of it, as it is now. Taken before each message, so by hand."""
        return (
            self.journal, self.recorded, self.run, self.ending, self.waiting, self.looking, self.sought,
            self.shown, self.shown_at,
        )  # fmt: skip

    def restore(self, present: Present) -> None:
        """As it was then."""
        (
            self.journal, self.recorded, self.run, self.ending, self.waiting, self.looking, self.sought,
            self.shown, self.shown_at,
        ) = present  # fmt: skip


def first_grant(chunk: Chunk, wanted: int = 0) -> int:
    """How many indices a run begins with; `wanted`: what another run of its relay asked for."""
    return min(max(WINDOW, wanted), prefetch_limit(chunk.connections, chunk.rate))


def decode(value: bytes | None) -> Chunk | BatchControl:
    """Raises ValueError (also pydantic's) and KeyError."""
    kind = orjson.loads(value or b"null")
    if not isinstance(kind, dict):
        raise ValueError("not a JSON object")
    if kind.get("kind") == "chunk":
        return Chunk.model_validate_json(value or b"")
    return BatchControl.model_validate_json(value or b"")


def left_behind(known: Known, index: int, now: datetime, fate: Fate | None = None, clue: Clue | None = None) -> Ended:
    """An index whose owner died, by what was looked up. Without a `fate` nobody knows whether the provider took the
    message, until perhaps the spool of the `clue` can be read."""
    unknown = Ended(
        index, "in_doubt", now, email=known.emails.get(index, ""), message_id=known.message_ids.get(index, ""),
        reason="unknown", text="the process that was to send it ended before it recorded an outcome", recovered=True,
    )  # fmt: skip
    return unknown._replace(unread=clue[0] if clue else "") if fate is None else settled_by(unknown, fate)


def message_ids(chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue], key: bytes) -> dict[int, str]:
    """The Message-IDs of what was begun under this permit, by index.

    Of one begun in another round, or whom this permit does not name, none: the day of that permit is not known any
    more, and an id with the wrong day would be nobody's. Raises what `Chunk.day` raises.
    """
    day, mine = chunk.day(), {i for start, end in chunk.ranges for i in range(start, end)}
    known = [i for i in indices if i in mine and (i not in clues or clues[i][1] == chunk.round)]
    names = (MessageName(chunk.campaign_id, chunk.batch_number, i, chunk.round) for i in known)
    return {name.index: message_id(name, day, chunk.sending_domain, key) for name in names}
