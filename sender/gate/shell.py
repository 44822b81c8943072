"""The gate as a role of fenced processing: records in, one core a partition, records and rows out.

Nothing is decided here. An input that cannot be read, or on which the core fails three times, goes to
`gate.inputs.dlq` and its partition goes on. When the core fails, by an input or by the time, its tables can no longer
be trusted: they are made again from the rows that were written so far. A campaign on which it fails three times is
put aside: it holds and says why, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from pydantic import ValidationError

from schemas import topics
from schemas.base import Model
from schemas.batch import BatchPlanned, PlanComplete, PlanFailed
from schemas.chunk import BatchControl, Chunk, ChunkResult, Evidence
from schemas.command import GateCommand
from schemas.gate_state import GateRow
from schemas.identity import batch_id
from schemas.records import RelayAccount, ReputationChanged
from schemas.topics import Topic
from sender.gate.core import GateCore
from sender.gate.decision import Dead, Decision, GateInput
from sender.gate.rows import Table
from sender.gate.rows_json import to_json
from sender.gate.settings import GateSettings
from streams.clock import Clock
from streams.deadletter import Attempts, dead_letter
from streams.fenced.model import Effects, Input, Output

log = logging.getLogger(__name__)

KINDS: dict[str, type[Model]] = {
    "batch_planned": BatchPlanned,
    "plan_complete": PlanComplete,
    "plan_failed": PlanFailed,
    "chunk_result": ChunkResult,
    "evidence": Evidence,
    "command": GateCommand,
    "reputation": ReputationChanged,
    "relay_account": RelayAccount,
}
_ROW_HEADERS = GateRow.headers()
Rows = dict[bytes, bytes | None]
"""Rows to be written by key; None: deleted."""


class Unreadable(ValueError):
    """An input that is not one of the gate's."""


class Naming(Protocol):
    """What a topic is called on this installation's broker."""

    def __call__(self, t: Topic) -> str: ...


def decode(value: bytes | None) -> GateInput:
    """The input of a record's value. Raises `Unreadable` with every problem named by field."""
    try:
        kind = orjson.loads(value or b"").get("kind")
    except (ValueError, AttributeError) as e:
        raise Unreadable(f"not a JSON object: {e}") from None
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise Unreadable(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    try:
        return model.decode(value or b"")  # type: ignore[return-value]
    except ValidationError as e:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors(include_url=False))
        raise Unreadable(f"{kind}: {problems}") from None


def row_key(table: Table, name: str) -> bytes:
    """Key of a row on `gate.state`."""
    return f"{table}:{name}".encode()


def encode_row(table: Table, name: str, row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Key and value of a row on `gate.state`: the same bytes as `GateRow.encode`, without its detour."""
    return row_key(table, name), orjson.dumps({"table": table, "name": name, "row": row})


@dataclass(slots=True)
class Partition:
    """One partition's core, and its rows as they were last written. `wake`: when it wants to be looked at."""

    core: GateCore
    rows: dict[bytes, bytes] = field(default_factory=dict)
    wake: float | None = 0.0
    leaving: bool = False
    aside: dict[str, str] = field(default_factory=dict)

    def put_aside(self, campaign_id: str | None, error: str) -> bool:
        """Nothing more is decided for the campaign; False when that is so already, or there is none to blame."""
        if campaign_id is None or campaign_id in self.aside:
            return False
        self.aside[campaign_id] = error
        log.error("campaign %s is put aside: %s", campaign_id, error)
        return True


TRIES = 3
"""How often something may fail before it or its campaign is put out of the way."""
IDLE_SECONDS = 10.0
"""Real time until timers are tried again that fail for no campaign in particular."""


class GateRole:
    """Implements `streams.fenced.Role`. `topic` names topics as this installation does."""

    full = False

    def __init__(self, settings: GateSettings, clock: Clock, topic: Naming | Callable[[Topic], str]) -> None:
        self._settings = settings
        self._clock = clock
        self._topic = topic
        self._partitions: dict[int, Partition] = {}
        self._attempts = Attempts()

    # --- partitions come and go

    def assigned(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        """Makes the partition's tables from its rows; permits that are open stay reserved."""
        aside: dict[str, str] = {}
        self._partitions[partition] = Partition(self._restore(state, aside), dict(state), aside=aside)

    def revoking(self, partition: int) -> None:
        """Nothing more is decided for it."""
        self._partitions[partition].leaving = True

    def lost(self, partition: int) -> None:
        self._partitions.pop(partition, None)
        self._attempts.forget_partition(self._topic(topics.GATE_INPUTS), partition)

    def busy(self, partition: int) -> bool:  # noqa: ARG002 - what a step decides is committed with it
        return False

    def committed(self, effects: Effects) -> None:
        """Nothing to do: what is in memory is what was committed."""

    # --- work

    def step(self, inputs: Sequence[Input], now: float) -> Effects | None:
        """All inputs, then whatever is due by the time. `now`: Unix seconds."""
        effects = Effects()
        changed: dict[int, Rows] = {}
        for record in inputs:
            owned = self._partitions.get(record.partition)
            if owned is not None:
                self._take(owned, record, now, effects, changed.setdefault(record.partition, {}))
        for partition, owned in self._partitions.items():
            if not owned.leaving and owned.wake is not None and owned.wake <= now:
                decision = self._tick(owned, now)
                self._gather(owned, partition, decision, None, effects, changed.setdefault(partition, {}))
        effects.state = [(p, key, value) for p, rows in changed.items() for key, value in rows.items()]
        return effects if inputs or effects.state or effects.outputs else None

    def _tick(self, owned: Partition, now: float) -> Decision:
        """What is due by the time. Whoever it fails for is put aside; without one to blame it waits."""
        tries = 0
        while True:
            try:
                return owned.core.tick(self._clock.at(now), now)
            except Exception as e:
                tries += 1
                log.exception("what was due failed %d times", tries)
                about = owned.core.about
                self._remake(owned)
                if tries < TRIES:
                    continue
                if not owned.put_aside(about, f"{type(e).__name__}: {e}"):
                    return Decision(next_wake=now + IDLE_SECONDS)
                tries = 0

    def _remake(self, owned: Partition) -> None:
        before, owned.core = owned.core, self._restore(owned.rows, owned.aside)
        owned.core.succeed(before)
        owned.wake = 0.0

    def _take(self, owned: Partition, record: Input, now: float, effects: Effects, rows: Rows) -> None:
        """One input: its decision, or a dead letter. After a failure the tables are made again and it is retried."""
        try:
            given = decode(record.value)
        except Unreadable as e:
            effects.outputs.append(self._dead(record, str(e), 1, now))
            return
        while True:
            try:
                decision = owned.core.apply(given, self._clock.at(now), now)
            except Exception as e:
                attempts = self._attempts.fail(record)
                log.exception(
                    "%s/%d offset %d failed %d times", record.topic, record.partition, record.offset, attempts
                )
                about = owned.core.about
                self._remake(owned)
                if self._attempts.exhausted(record):
                    self._attempts.forget(record)
                    if owned.put_aside(about, f"{type(e).__name__}: {e}"):
                        continue  # the input itself was fine
                    effects.outputs.append(self._dead(record, f"{type(e).__name__}: {e}", attempts, now))
                    return
            else:
                self._gather(owned, record.partition, decision, record, effects, rows)
                return

    def _gather(
        self, owned: Partition, partition: int, decision: Decision, record: Input | None, effects: Effects,
        rows: Rows,
    ) -> None:  # fmt: skip
        for (table, name), row in decision.rows.items():
            key, value = encode_row(table, name, to_json(row))
            owned.rows[key] = rows[key] = value
        for table, name in decision.gone:
            key = row_key(table, name)
            owned.rows.pop(key, None)
            rows[key] = None
        out = [self._order(order) for order in decision.orders]
        out += [
            Output(
                self._topic(topics.BATCHES), batch_id(b.campaign_id, b.batch_number).encode(), b.encode(), b.headers()
            )
            for b in decision.batches
        ]
        out += [
            Output(self._topic(topics.CAMPAIGN_PROGRESS), p.campaign_id.encode(), p.encode(), p.headers())
            for p in decision.progress
        ]
        for alert in decision.alerts:
            log.warning("%s: %s%s", alert.sending_domain, "resolved: " if alert.resolved else "", alert.detail)
        out += [
            Output(self._topic(topics.ALERTS), a.sending_domain.encode(), a.encode(), a.headers())
            for a in decision.alerts
        ]
        out += [
            Output(self._topic(topics.PLANNER_INPUTS), p.campaign_id.encode(), p.encode(), p.headers())
            for p in decision.planner
        ]
        effects.outputs += [(partition, o) for o in out]
        effects.outputs += [self._dead_of(d, partition, record) for d in decision.dead]
        owned.wake = decision.next_wake

    def _order(self, order: Chunk | BatchControl) -> Output:
        key = batch_id(order.campaign_id, order.batch_number).encode()
        return Output(self._topic(topics.CHUNKS), key, order.encode(), order.headers())

    # --- dead letters

    def _dead_of(self, dead: Dead, partition: int, record: Input | None) -> tuple[int, Output]:
        now = self._clock.now()
        if dead.command is not None:
            topic, key = self._topic(topics.GATE_INPUTS), dead.command.relay.encode()
            place = record.offset if record is not None else 0
            given = Input(topic, partition, place, key, dead.command.encode(), GateCommand.headers(), 0)
            return partition, dead_letter(topic, given, dead.error, dead.attempts, at=now)
        if dead.chunk is None:
            assert record is not None  # noqa: S101 - only inputs are refused
            return partition, dead_letter(record.topic, record, dead.error, dead.attempts, at=now)
        chunk = self._order(dead.chunk)
        place = record.offset if record is not None else 0
        # the chunk's own place is not known here; named is the record that said that it failed
        as_read = Input(chunk.topic, partition, place, chunk.key, chunk.value, chunk.headers, 0)
        extra = {"place": f"partition and offset are those of the result on {self._topic(topics.GATE_INPUTS)}"}
        return partition, dead_letter(chunk.topic, as_read, dead.error, dead.attempts, at=now, extra=extra)

    def _dead(self, record: Input, error: str, attempts: int, now: float) -> tuple[int, Output]:
        log.warning("%s/%d offset %d is a dead letter: %s", record.topic, record.partition, record.offset, error)
        at = self._clock.at(now)
        return record.partition, dead_letter(record.topic, record, error, attempts, at=at)

    def _restore(self, rows: Mapping[bytes, bytes], aside: dict[str, str]) -> GateCore:
        read = (GateRow.decode(value) for _, value in sorted(rows.items()))
        return GateCore.restored(self._settings, self._clock.speed, ((r.table, r.name, r.row) for r in read), aside)
