"""Batches that are put aside: a row of theirs cannot be read, or handling them fails.

Nothing of such a batch is begun. A row says so, its permits are answered (the gate takes their connections back, holds
the batch with the reason, and asks again now and then), and the row that cannot be read is a dead letter. An owner who
can read all of it goes on where it was, but under no permit that was answered. Evidence is kept until then; an order to
settle somebody is answered, a dead letter, and can be given again.
"""

from __future__ import annotations

from schemas.chunk import BatchControl, Chunk, ChunkResult
from schemas.identity import batch_id
from schemas.journal import JournalAside, aside_key, permit_key
from sender.batches import Aside, Batches
from sender.held import Held
from sender.journal import core, rows
from sender.journal.values import merged
from sender.traffic import BatchKey
from sender.turn import Turn
from streams.fenced import Input


class Shelf:
    """What is put aside of `batches`."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._changed: dict[BatchKey, Aside] = {}

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

    def put(self, key: BatchKey, partition: int, reason: str, held: Held | None, turn: Turn) -> None:
        """From now on nothing is done for it; `held` is what was in memory of it."""
        keys = [permit_key(*key)] if held is None else [raw for raw, _ in rows.forgotten(held.journal)]
        one = Aside(partition, reason, keys=keys)
        self._batches.put_aside(key, one)
        if held is not None:
            recorded = () if held.recorded is None else held.recorded.pending
            for command in held.journal.pending:
                if command in recorded:
                    continue  # it is carried out when the batch is back
                if command.action == "evidence":
                    one.evidence = _together(one.evidence, command)
                else:
                    turn.send(key, partition, _unresolved(command, one, turn))
        self._record(key, one, turn)

    def order(self, key: BatchKey, command: BatchControl, record: Input, turn: Turn) -> None:
        """An order to a batch that is put aside. To pause or cancel it changes nothing: nothing is begun anyway."""
        one = self._batches.aside[key]
        if command.action == "evidence" and command.indices:
            one.evidence = _together(one.evidence, command)
            self._changed[key] = one
        elif command.action == "resolve":
            turn.dead(record, f"batch {batch_id(*key)} is put aside: {one.reason}", 1)
            turn.send(key, one.partition, _unresolved(command, one, turn))
        elif command.action == "forget":
            turn.part(key).state += [(one.partition, raw, None) for raw in (*one.keys, aside_key(*key))]
            self._changed.pop(key, None)
            self._batches.forget_all(key)

    def write(self, turn: Turn) -> None:
        """Record what has come for them in this turn."""
        changed, self._changed = self._changed, {}
        for key, one in changed.items():
            if self._batches.aside.get(key) is one:
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
        one.since, one.bad = one.since or turn.now, []
        evidence = None if one.evidence is None else one.evidence.encode().decode()
        row = JournalAside(
            campaign_id=key[0], batch_number=key[1], reason=one.reason, evidence=evidence, at=one.since
        )  # fmt: skip
        turn.part(key).state.append((one.partition, aside_key(*key), row.encode()))


def _together(one: BatchControl | None, other: BatchControl) -> BatchControl:
    """One order that says what both say; `other` is the newer one."""
    if one is None or other.version <= one.version:
        return one or other
    known = {i for command in (one, other) for start, end in command.indices for i in range(start, end)}
    return other.model_copy(update={"indices": merged(sorted(known))})


def _unresolved(command: BatchControl, one: Aside, turn: Turn) -> ChunkResult:
    """The answer that nobody was settled."""
    return ChunkResult(
        relay=command.relay, campaign_id=command.campaign_id, batch_number=command.batch_number, permit_id="", round=0,
        version=0, final=True, begun=0, order=command.version, aside=True, detail=one.reason, at=turn.now,
    )  # fmt: skip
