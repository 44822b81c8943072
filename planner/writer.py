"""Writing a plan to Kafka: bounded in memory, each batch announced once its recipients are there, in order.

One idempotent producer a plan at a time. Recipients' parts are on their way while the next batches are cut; the
gate is told of a batch when all of its parts are acknowledged, since it is told where they lie. While no broker
answers, it waits.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from planner.batches import PlannedBatch, encode_parts
from schemas.base import Header, Model
from schemas.batch import BatchPlanned, BatchRecipients, Pointer, part_checksum
from schemas.campaign import Campaign
from schemas.identity import recipients_key
from schemas.topics import BATCH_RECIPIENTS, GATE_INPUTS, Topic
from streams.context import Context
from streams.errors import DeliveryFailed

MAX_IN_FLIGHT_BYTES = 12 * 1024 * 1024
MAX_IN_FLIGHT_RECORDS = 20_000


class Cancelled(Exception):
    """The plan is somebody else's now, or this process is stopping."""


class Producers:
    """Idempotent producers for plans, one at a time each, kept: a new one takes half a second to begin."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._idle: list[Producer] = []
        self._lock = threading.Lock()

    def take(self) -> Producer:
        """One that nobody else uses now."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._ctx.kafka.producer(**{
            "linger.ms": 5,
            "message.timeout.ms": 0,
            "compression.type": "lz4",
            "message.max.bytes": 2_000_000,
            "queue.buffering.max.kbytes": 32_768,
        })  # fmt: skip

    def give_back(self, producer: Producer) -> None:
        """It has nothing on its way any more and never failed."""
        with self._lock:
            self._idle.append(producer)


@dataclass(slots=True)
class _Waiting:
    """A batch whose parts are on their way."""

    planned: BatchPlanned
    pointers: list[Pointer | None] = field(default_factory=list)
    missing: int = 0


class Writer:
    """The records of one plan. Not for several threads. Raises `Cancelled` as soon as `cancelled()` says so."""

    def __init__(self, ctx: Context, producers: Producers, cancelled: Callable[[], bool]) -> None:
        self._ctx = ctx
        self._cancelled = cancelled
        self._producers = producers
        self._producer = producers.take()
        self._write_id = uuid.uuid4().hex[:12]
        self._batches: deque[_Waiting] = deque()
        self._parts: list[tuple[str, int, int]] = []
        self._bytes = 0
        self._records = 0
        self._failure: str | None = None

    def record(self, topic: Topic, key: str, record: Model) -> None:
        """Write a record; returns when there is room."""
        self._produce(topic, key.encode(), record.encode(), record.headers(), None)

    def batch(self, campaign: Campaign, batch: PlannedBatch) -> None:
        """Write a batch's recipients; the gate is told when they are there."""
        waiting = _Waiting(
            BatchPlanned(
                relay=campaign.relay,
                campaign_id=batch.campaign_id,
                content_hash=campaign.content_hash,
                batch_number=batch.number,
                size=batch.size,
                pointers=(),
                checksum=batch.checksum,
                scheduled_for=batch.scheduled_for,
                sending_day=batch.sending_day,
            )
        )
        parts = encode_parts(batch, self._write_id)
        self._parts.append((batch.campaign_id, batch.number, len(parts)))
        waiting.pointers = [None] * len(parts)
        waiting.missing = len(parts)
        self._batches.append(waiting)
        headers = BatchRecipients.headers()
        for index, (key, value, start, count) in enumerate(parts):
            self._produce(
                BATCH_RECIPIENTS, key, value, headers, _Arrival(waiting, index, start, count, part_checksum(value))
            )
        self._announce()

    def keys(self) -> list[bytes]:
        """The keys of all recipients' parts that it has written."""
        return [
            recipients_key(campaign_id, number, self._write_id, part).encode()
            for campaign_id, number, parts in self._parts
            for part in range(parts)
        ]

    def remove(self, keys: Iterable[bytes]) -> None:
        """Write tombstones for recipients' parts."""
        for key in keys:
            self._produce(BATCH_RECIPIENTS, key, None, (), None)

    def flush(self) -> None:
        """Return when everything is acknowledged and the gate has been told of every batch."""
        while self._batches or self._records:
            self._producer.poll(0.05)
            self._check()
            self._announce()

    def close(self) -> None:
        """Let go; what is not acknowledged is dropped."""
        if self._records or self._failure is not None:
            self._producer.purge()
            self._producer.flush(0.5)
        else:
            self._producers.give_back(self._producer)

    def _announce(self) -> None:
        while self._batches and not self._batches[0].missing:
            done = self._batches.popleft()
            told = done.planned.model_copy(update={"pointers": tuple(p for p in done.pointers if p is not None)})
            self.record(GATE_INPUTS, told.relay, told)

    def _produce(
        self, topic: Topic, key: bytes, value: bytes | None, headers: Sequence[Header], arrival: _Arrival | None
    ) -> None:
        size = len(value or b"") + 200
        while self._bytes + size > MAX_IN_FLIGHT_BYTES or self._records >= MAX_IN_FLIGHT_RECORDS:
            self._producer.poll(0.05)
            self._check()

        def delivered(error: KafkaError | None, message: Message) -> None:
            self._bytes -= size
            self._records -= 1
            if error is not None:
                self._failure = self._failure or f"{topic.name}: {error.str()}"
            elif arrival is not None:
                arrival.at(message.partition() or 0, message.offset() or 0)

        while True:
            try:
                self._producer.produce(
                    self._ctx.topic(topic), value=value, key=key, headers=list(headers), on_delivery=delivered
                )
            except BufferError:
                self._producer.poll(0.05)
                self._check()
            else:
                break
        self._bytes += size
        self._records += 1
        self._producer.poll(0)
        self._check()

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled
        if self._failure is not None:
            raise DeliveryFailed(f"Kafka did not take a record of the plan ({self._failure}); it is planned again.", 1)


def remove_parts(ctx: Context, producers: Producers, keys: Iterable[bytes]) -> None:
    """Tombstones for the recipients of a plan that was given up. Blocks. Raises `DeliveryFailed`."""
    writer = Writer(ctx, producers, lambda: False)
    try:
        writer.remove(keys)
        writer.flush()
    finally:
        writer.close()


@dataclass(frozen=True, slots=True)
class _Arrival:
    """What to note when a part is there."""

    waiting: _Waiting
    index: int
    start: int
    count: int
    checksum: str

    def at(self, partition: int, offset: int) -> None:
        self.waiting.pointers[self.index] = Pointer(
            partition=partition, offset=offset, start=self.start, count=self.count, checksum=self.checksum
        )
        self.waiting.missing -= 1
