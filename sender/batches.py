"""The batches that an owner has in memory: as a copy of the journal's rows, and on their way back to them."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from sender.held import Held, grouped
from sender.journal import core, rows
from sender.traffic import BatchKey
from sender.turn import Turn


class Batches:
    """Those of all partitions owned. One that has ended is kept as its row alone."""

    def __init__(self) -> None:
        self.held: dict[BatchKey, Held] = {}
        self.active: dict[BatchKey, Held] = {}
        """Those that have something to do."""
        self._ended: dict[int, dict[BatchKey, bytes]] = {}

    def load(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        """A partition's rows, as they were committed. Raises ValueError for windows without a permit row."""
        ended = self._ended[partition] = {}
        for key, permit_row, windows in grouped(state):
            if permit_row is None:
                raise ValueError(f"partition {partition} of the journal has windows of {key}, but no permit row")
            if not windows and orjson.loads(permit_row).get("ended"):
                ended[key] = permit_row
                continue
            journal = rows.load(permit_row, windows)
            held = self.held[key] = Held(partition, journal, journal)
            if journal.permit.active or journal.pending:
                self.active[key] = held

    def unload(self, partition: int) -> list[Held]:
        """The partition is another's; what was held of it."""
        gone = self.of(partition)
        for held in gone:
            self.forget(held.key)
        self._ended.pop(partition, None)
        return gone

    def of(self, partition: int) -> list[Held]:
        return [held for held in self.held.values() if held.partition == partition]

    def get(self, key: BatchKey, partition: int) -> Held | None:
        """The batch, one that has ended too; None: nothing was ever recorded of it."""
        held = self.held.get(key)
        if held is None and (row := self._ended[partition].get(key)) is not None:
            journal = rows.load(row, ())
            del self._ended[partition][key]  # only now: without it the batch would be taken for a new one
            held = self.held[key] = Held(partition, journal, rows.without_rows(journal))
        return held

    def forget(self, key: BatchKey) -> None:
        """Leave it out of memory."""
        self.held.pop(key, None)
        self.active.pop(key, None)

    def touch(self, held: Held, turn: Turn) -> None:
        """It is changed in this turn, and is to be looked at."""
        turn.touched[held.key] = held
        self.active[held.key] = held

    def write(self, turn: Turn) -> None:
        """The rows of what was touched. A batch that has ended leaves memory but for its row."""
        for held in turn.touched.values():
            changed = rows.changes(held.recorded, held.journal, turn.now)
            turn.effects.state += [(held.partition, key, value) for key, value in changed]
            held.recorded = held.journal
            if changed and held.key not in self.active and core.is_ended(held.journal):
                self._ended[held.partition][held.key] = changed[-1][1] or b""
                del self.held[held.key]
