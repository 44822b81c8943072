"""The batches that an owner has in memory: as a copy of the journal's rows, and on their way back to them.

A batch with a row that cannot be read is put aside, and named; the others of its partition go on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import orjson
from pydantic import ValidationError

from schemas.chunk import BatchControl
from schemas.journal import JournalAside, permit_key, window_key
from sender.found import Found, Row, by_batch, culprit, of_batch
from sender.held import Held
from sender.journal import core, late, orders, rows
from sender.resting import Resting
from sender.traffic import BatchKey
from sender.turn import Turn

log = logging.getLogger(__name__)

LAID_DOWN = 100
"""Batches that are laid to rest at once: each costs what it costs to write its rows."""


@dataclass(slots=True)
class Aside:
    """A batch of which nothing is done. `since`: when that was recorded; None: it is to be, and `bad` are to be dead
    letters."""

    partition: int
    reason: str
    since: datetime | None = None
    bad: list[Row] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Of the rows that may be recorded of it, besides the one that says so."""
    evidence: BatchControl | None = None
    """Of all who were seen to have their message: nobody says it again."""


class Batches:
    """Those of all partitions owned. One of which nothing is done rests: it is kept as its rows alone.

    It is `held` from when somebody asks for it until nothing is done for it any more, and all of it is written.
    """

    def __init__(self) -> None:
        self.held: dict[BatchKey, Held] = {}
        self.active: dict[BatchKey, Held] = {}
        """Those that have something to do."""
        self.aside: dict[BatchKey, Aside] = {}
        self.back: dict[BatchKey, Held | None] = {}
        """Those whose row says that they are put aside and who can be read again; None: nothing else is recorded."""
        self.nobodys: list[tuple[int, Row]] = []
        """Rows whose key is of no batch, with their partition."""
        self._partitions: dict[BatchKey, int] = {}
        self._resting: dict[int, Resting] = {}
        self._unused: dict[BatchKey, None] = {}
        """Those held of which nothing may be to do any more, in the order in which it became so."""

    def load(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        """A partition's rows, as they were committed."""
        self._resting[partition] = Resting()
        batches, nobodys = by_batch(state)
        self.nobodys += [(partition, (raw, state[raw])) for raw in nobodys]
        for key, keys in batches.items():
            found = of_batch(keys, state)
            if found.permit is None and not found.windows:
                self.back[key] = None
                self._partitions[key] = partition
                continue
            bad = self._load_one(partition, key, found)
            if bad is None:
                continue
            row, problem = bad
            reason = f"row {row[0].decode(errors='replace')} of the journal cannot be read: {problem}"
            said = None if found.aside is None else _said(found.aside)
            known = said is not None and said.reason == reason
            since = said.at if said is not None and known else None
            self.aside[key] = Aside(partition, reason, since, [] if known else [row], found.keys(), _evidence(said))

    def _load_one(self, partition: int, key: BatchKey, found: Found) -> tuple[Row, str] | None:
        """The row that cannot be read, and why; None: the batch is in memory."""
        if found.permit is None:
            return found.windows[0], "there is no permit row beside it"
        values = found.values()
        try:
            if not values and found.aside is None and orjson.loads(found.permit[1]).get("ended"):
                self._resting[partition].put(key, (found.permit[1],))
                return None
            journal = rows.load(found.permit[1], values)
        except Exception:
            log.exception("batch %s/%d", *key)
            return culprit(found.permit, found.windows)
        held = Held(partition, journal, rows.as_recorded(journal))
        if found.aside is None and held.at_rest:
            self._resting[partition].put(key, (found.permit[1], *values), late.awaited(journal))
            return None
        self.held[key] = held
        if journal.permit.active or journal.pending:
            self.active[key] = held
        if found.aside is not None:
            self.back[key] = held
            if (evidence := _evidence(_said(found.aside))) is not None:
                held.journal, _ = orders.order(journal, evidence)
        return None

    def unload(self, partition: int) -> list[Held]:
        """The partition is another's; what was held of it."""
        gone = self.of(partition)
        for held in gone:
            self.forget(held.key)
        self._resting.pop(partition, None)
        self.aside = {key: one for key, one in self.aside.items() if one.partition != partition}
        self.nobodys = [one for one in self.nobodys if one[0] != partition]
        for key in [k for k, held in self.back.items() if self.partition_of(k, held) == partition]:
            del self.back[key]
        return gone

    def partition_of(self, key: BatchKey, held: Held | None) -> int:
        """Of one that is `back`."""
        return held.partition if held is not None else self._partitions[key]

    def of(self, partition: int) -> list[Held]:
        return [held for held in self.held.values() if held.partition == partition]

    def get(self, key: BatchKey, partition: int) -> Held | None:
        """The batch, one that rests too; None: nothing was ever recorded of it."""
        held = self.held.get(key)
        if held is None and (found := self._resting[partition].rows(key)) is not None:
            journal = rows.load(found[0], found[1:])
            self._resting[partition].drop(key)  # only now: without it the batch would be taken for a new one
            held = self.held[key] = Held(partition, journal, rows.as_recorded(journal))
            self._unused[key] = None
        return held

    def awaited(self) -> set[str]:
        """Spools that may still tell something of those in doubt."""
        resting = [spool for one in self._resting.values() for spool in one.spools()]
        return {spool for held in self.held.values() for spool in late.awaited(held.journal)}.union(resting)

    def awaiting(self, spool: str) -> list[tuple[BatchKey, int]]:
        """Those that rest of which this spool may tell something, with their partition."""
        return [(key, partition) for partition, one in self._resting.items() for key in one.awaiting(spool)]

    def forget_all(self, key: BatchKey) -> None:
        """Nothing is known any more of one that is put aside."""
        self.aside.pop(key)
        self.forget(key)

    def put_aside(self, key: BatchKey, one: Aside) -> None:
        """It is in memory as that alone; `keys` of one that rested are those of its rows."""
        resting = self._resting[one.partition]
        if (found := resting.rows(key)) is not None:
            starts = [int(orjson.loads(row)["start"]) for row in found[1:]]
            one.keys = [*(window_key(*key, start) for start in starts), permit_key(*key)]
            resting.drop(key)
        self.forget(key)
        self.aside[key] = one

    def forget(self, key: BatchKey) -> None:
        """Leave it out of memory."""
        self.held.pop(key, None)
        self.active.pop(key, None)
        self.back.pop(key, None)

    def leave(self, held: Held) -> None:
        """There is nothing to do for it for now."""
        del self.active[held.key]
        self._unused[held.key] = None

    def touch(self, held: Held, turn: Turn) -> None:
        """It is changed in this turn, and is to be looked at."""
        turn.touched[held.key] = held
        self.active[held.key] = held

    def write(self, held: Held, turn: Turn) -> None:
        """The rows of one that was touched. When it has ended it rests at once: that is one row, and it is made.

        Not while a newer permit waits, which may open some of it again: then all its windows are written anew.
        """
        changed = rows.changes(held.recorded, held.journal, turn.now)
        turn.part(held.key).state += [(held.partition, key, value) for key, value in changed]
        held.recorded = rows.as_recorded(held.journal)
        if changed and held.key not in self.active and core.is_ended(held.journal):
            self._resting[held.partition].put(held.key, (changed[-1][1] or b"",))
            del self.held[held.key]

    def lay_down(self) -> None:
        """Those of which nothing is done any more rest; when there are many, some of them. After `write`."""
        for key in list(islice(self._unused, LAID_DOWN)):
            del self._unused[key]
            held = self.held.get(key)
            if held is None or key in self.active or key in self.back or not held.at_rest:
                continue
            try:
                self._resting[held.partition].put(key, rows.whole(held.journal), late.awaited(held.journal))
            except Exception:
                log.exception("the rows of batch %s/%d: it stays in memory", *key)
            else:
                del self.held[key]


def _evidence(said: JournalAside | None) -> BatchControl | None:
    try:
        return None if said is None or said.evidence is None else BatchControl.decode(said.evidence)
    except ValidationError:
        return None


def _said(aside: Row) -> JournalAside | None:
    try:
        return JournalAside.decode(aside[1])
    except ValidationError:
        return None
