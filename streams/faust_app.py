"""One factory for Faust apps, and one way to write their agents (`faust_run.py` runs them).

Faust runs what may be repeated. What its defects could lose is guarded here, in `faust_guard.py` (consumer) and
in `faust_group.py` (where a group begins):

- Agents get raw bytes. A handler says what to write; this module writes it, waits until Kafka has acknowledged
  all of it, the table's row included, and only then moves past the record. Faust's own way sends a table's
  changelog without looking whether it arrived.
- A record whose handler fails three times, or which it refuses, goes to `<topic>.dlq`, and the partition goes on.
- Members are static (a restarted worker takes its partitions back at once), sessions short, no topic is
  created behind our backs, no web server is started, no environment variable changes a setting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka.partitioner import murmur2

from schemas.topics import Topic
from streams.context import Context
from streams.deadletter import Attempts, dead_letter
from streams.errors import DeliveryFailed, TableLost
from streams.faust_group import is_genesis
from streams.faust_guard import GuardedApp
from streams.faust_security import credentials
from streams.fenced.model import Input, Output
from streams.outbox import Outbox, OutboxBroken

log = logging.getLogger(__name__)

RETRY_AFTER = 0.2
"""Real seconds between two tries of one record."""
BURY_AGAIN_AFTER = 30.0
"""Real seconds, at most, between two tries to write a dead letter that Kafka refuses."""
EMBEDDED_SESSION = 3.0
"""Seconds: the embedded broker lets a group's first join wait for half of it (a static member's twice three)."""


class Refused(Exception):
    """A record that can never be used: it is dead-lettered at once. `extra` becomes headers."""

    def __init__(self, error: str, extra: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.extra = dict(extra or {})


@dataclass(frozen=True, slots=True)
class Handled:
    """What a record leads to: records to write, then something to do in memory once they are in Kafka."""

    outputs: Sequence[Output] = ()
    then: Callable[[], None] | None = None


Handler = Callable[[Input], Awaitable[Handled]]


@dataclass(slots=True)
class Life:
    """A Faust app from its start to its end, with the producer that its agents share."""

    ctx: Context
    app: GuardedApp
    outbox: Outbox
    closers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether partitions are assigned and tables recovered."""
        tables: Any = self.app.tables
        return not self.app.rebalancing and tables.recovery.completed.is_set()

    def owned(self, topic: str) -> set[int]:
        """The partitions of `topic` that are ours now; none while that is being settled."""
        if not self.settled:
            return set()
        return {tp.partition for tp in self.app.consumer.assignment() if tp.topic == topic}


def faust_app(ctx: Context, name: str, **overrides: Any) -> GuardedApp:
    """The Faust app of role `name`. Raises StreamsError for security settings that Faust cannot have."""
    session = ctx.settings.kafka.session_timeout.total_seconds()
    if ctx.kafka.embedded:
        session = min(session, EMBEDDED_SESSION)
    member = None if ctx.kafka.embedded else f"{ctx.group(name)}-{ctx.installation.id}-{ctx.slot}"
    data = ctx.data / "faust" / ctx.slot
    data.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "broker": [f"aiokafka://{host.strip()}" for host in ctx.kafka.bootstrap.split(",")],
        "broker_credentials": credentials(ctx.kafka.options),
        "broker_session_timeout": session,
        "broker_heartbeat_interval": max(0.2, session / 6),
        "broker_rebalance_timeout": 60.0,
        "broker_request_timeout": 40.0,
        "broker_max_poll_interval": 300.0,
        "broker_commit_interval": 0.5,
        "consumer_group_instance_id": member,
        "consumer_auto_offset_reset": "earliest",
        "producer_acks": -1,
        "producer_linger_ms": 0,
        "datadir": data,
        "store": "memory://",
        "stream_buffer_maxsize": 256,
        "stream_wait_empty": False,
        "stream_recovery_delay": 0.0,
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_replication_factor": ctx.settings.kafka.replication,
        "topic_partitions": ctx.installation.partitions,
        "reply_create_topic": False,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        "autodiscover": False,
        "env": {},
        **overrides,
    }
    app = GuardedApp(ctx.group(name), **settings)
    if ctx.kafka.embedded:
        app.fetch_max_wait_ms = 100  # it answers a fetch at the end of that time, also when a record has come
    return app


def changelog(ctx: Context, name: str, table: str) -> str:
    """The changelog topic of a table of role `name`: `<group>-<table>-changelog`, compacted."""
    return f"{ctx.group(name)}-{table}-changelog"


class Rows:
    """A Faust table of bytes. Faust recovers it and moves it with its partitions; rows are written as outputs.

    `row(...)` is the record for the changelog; when Kafka has it, `apply` puts it in memory. It is partitioned
    as the topic whose records it is decided on.
    """

    def __init__(self, app: GuardedApp, name: str, partitions: int) -> None:
        self._table = app.Table(name, key_type=bytes, value_type=bytes, partitions=partitions)
        self.changelog: str = self._table.changelog_topic.get_topic_name()

    def get(self, key: str) -> bytes | None:
        value: bytes | None = self._table.data.get(key.encode())
        return value

    def items(self) -> list[tuple[str, bytes]]:
        """All rows in memory: those of our partitions, and some of partitions that we had before."""
        return [(key.decode(), value) for key, value in self._table.data.items()]

    def row(self, partition: int, key: str, value: bytes) -> Output:
        """The record that sets a row; `partition` is that of the input."""
        return Output(self.changelog, key.encode(), value, partition=partition)

    def apply(self, key: str, value: bytes) -> None:
        """The row is in Kafka: show it."""
        self._table.data[key.encode()] = value


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, as every producer of ours and of the Java clients chooses it."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


def add_agent(life: Life, topic: Topic, handle: Handler) -> None:
    """Let `handle` have the records of `topic`, one after another, genesis records left out."""
    name = life.ctx.topic(topic)
    channel = life.app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
    )
    guard = _Guard(life, topic, handle)

    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            await guard.process(event)

    life.app.agent(channel, name=f"{name}-agent")(agent)


class _Guard:
    """What stands between Faust and a handler: nothing gets out of it but the end of the app."""

    def __init__(self, life: Life, topic: Topic, handle: Handler) -> None:
        self._life = life
        self._topic = topic
        self._handle = handle
        self._attempts = Attempts()

    async def process(self, event: faust.EventT[bytes]) -> None:
        consumer = self._life.app.guarded_consumer
        while not consumer.alive:  # noqa: ASYNC110 - it follows a clock, nobody can set an event
            await asyncio.sleep(0.05)
        link = await consumer.take(event.message)
        if link is None:
            return
        record = _as_input(event)
        if not is_genesis(record.value, record.headers):
            try:
                await self._settle(record)
            except (OutboxBroken, TableLost) as e:
                await self._life.app.crash(e)
                raise
        consumer.processed(event.message, link)

    async def _settle(self, record: Input) -> None:
        while True:
            try:
                handled = await self._handle(record)
                await self._life.outbox.send(handled.outputs)
                if handled.then is not None:
                    handled.then()
            except (asyncio.CancelledError, OutboxBroken, TableLost):
                raise
            except Refused as e:
                await self._bury(record, str(e), 1, e.extra)
            except Exception as e:
                attempts = self._attempts.fail(record)
                log.exception("%s[%d]@%d failed (%d)", record.topic, record.partition, record.offset, attempts)
                if not self._attempts.exhausted(record):
                    await asyncio.sleep(RETRY_AFTER * attempts)
                    continue
                await self._bury(record, f"{type(e).__name__}: {e}", attempts, {})
            self._attempts.forget(record)
            return

    async def _bury(self, record: Input, error: str, attempts: int, extra: Mapping[str, str]) -> None:
        log.warning("%s[%d]@%d is a dead letter: %s", record.topic, record.partition, record.offset, error)
        letter = dead_letter(
            self._life.ctx.topic(self._topic), record, error, attempts, at=self._life.ctx.clock.now(), extra=extra
        )
        tries = 0
        while True:
            try:
                await self._life.outbox.send([letter])
            except OutboxBroken:
                raise
            except DeliveryFailed as e:  # nothing that was accepted is lost: its partition waits
                tries += 1
                pause = min(RETRY_AFTER * 2**tries, BURY_AGAIN_AFTER)
                place = f"{record.topic}[{record.partition}]@{record.offset}"
                log.error("%s cannot be dead-lettered; again in %.1f s: %s", place, pause, e)
                await asyncio.sleep(pause)
            else:
                return


def _as_input(event: faust.EventT[bytes]) -> Input:
    m = event.message
    headers = m.headers.items() if isinstance(m.headers, Mapping) else (m.headers or ())
    return Input(
        topic=m.topic,
        partition=m.partition,
        offset=m.offset,
        key=m.key,
        value=m.value,
        headers=tuple((name, value or b"") for name, value in headers),
        timestamp_ms=int((m.timestamp or 0) * 1000),
    )
