"""Batches that are put aside: a row of theirs cannot be read, or handling them fails.

Nothing of such a batch is begun. A row says so, its permits are answered (the gate takes their connections back, holds
the batch with the reason, and asks again now and then), and the row that cannot be read is a dead letter. An owner who
can read all of it goes on where it was, but under no permit that was answered.
"""

from __future__ import annotations

from schemas.chunk import Chunk, ChunkResult
from schemas.identity import batch_id
from schemas.journal import JournalAside, aside_key
from sender.batches import Aside, Batches
from sender.journal import core
from sender.traffic import BatchKey
from sender.turn import Turn
from streams.fenced import Input


class Shelf:
    """What is put aside of `batches`."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def look(self, turn: Turn) -> None:
        """Record what was found when partitions were loaded: whom to put aside, and who is back."""
        for partition, (raw, value) in self._batches.nobodys:
            row = Input(turn.voice.topics.chunks, partition, 0, raw, value, (), 0)
            turn.dead(row, f"row {raw.decode(errors='replace')} of the journal is no row of a batch", 1)
            turn.part(("", partition)).state.append((partition, raw, None))
        self._batches.nobodys = []
        for key, one in self._batches.aside.items():
            if one.since is None:
                self._record(key, one, turn)
        for key, held in list(self._batches.back.items()):
            partition = self._batches.partition_of(key, held)
            turn.part(key).state.append((partition, aside_key(*key), None))
            if held is None:
                continue
            if held.journal.permit.active:
                held.ending = ("error", "the batch had been put aside")  # its permit was answered then
            elif held.journal.permit.result is not None:
                held.journal, result = core.report(held.journal, turn.now)
                turn.answer(held, result)
            self._batches.touch(held, turn)
        self._batches.back.clear()

    def put(self, key: BatchKey, partition: int, reason: str, turn: Turn) -> None:
        """From now on nothing is done for it."""
        one = self._batches.aside[key] = Aside(partition, reason)
        self._record(key, one, turn)

    def answer(self, key: BatchKey, chunk: Chunk, turn: Turn) -> None:
        """To a permit of a batch that is put aside. One from before may have been used: it counts as used up."""
        one = self._batches.aside[key]
        used = one.since is None or chunk.issued_at <= one.since
        result = ChunkResult(
            relay=chunk.relay, campaign_id=chunk.campaign_id, batch_number=chunk.batch_number,
            permit_id=chunk.permit_id, round=chunk.round, version=0, final=True,
            begun=chunk.permitted() if used else 0, unsent=chunk.ranges, stopped="unready", aside=True,
            detail=f"{one.reason}; nothing of the batch is sent until its owner can read and handle it", at=turn.now,
        )  # fmt: skip
        turn.send(key, one.partition, result)

    def _record(self, key: BatchKey, one: Aside, turn: Turn) -> None:
        for raw, value in one.bad:
            letter = Input(turn.voice.topics.chunks, one.partition, 0, raw, value, (), 0)
            turn.dead(letter, f"batch {batch_id(*key)} is put aside: {one.reason}", 1)
        row = JournalAside(campaign_id=key[0], batch_number=key[1], reason=one.reason, at=turn.now)
        turn.part(key).state.append((one.partition, aside_key(*key), row.encode()))
        one.since, one.bad = turn.now, []
