"""Faust's consumer, with what it gets wrong put right by subclassing (neither library is touched).

Four faults of Faust 0.15.3 on aiokafka 0.14 lose or repeat records; each is closed here once:

- There is no isolation setting, so records of aborted transactions are read. The consumer is made
  read-committed before it starts.
- `seek_to_committed` skips partitions whose committed offset is 0 or missing, so a rebalance before their
  first commit goes on behind what was prefetched. Those partitions are sought to their beginning instead.
- Acknowledgements are collected as sets with gaps: an event that was skipped in a rebalance counts as done, an
  offset may be committed one record too far, and commits creep by one after a rebalance. Here a partition has
  one mark: the offset after the last record whose effects are in Kafka (`processed`). Records of a partition are
  handled strictly one after another, so everything below the mark is done.
- A worker that was suspended past its session time-out goes on with what it had prefetched when it wakes. `alive`
  says whether the group still counts on us; agents wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import aiokafka
from faust.app.base import App, BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer."""

    app: GuardedApp
    heard_at = 0.0
    """`time.monotonic()` of the last heartbeat that the group's coordinator accepted."""

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        beat = coordinator._do_heartbeat

        async def heard() -> bool:
            accepted = bool(await beat())
            if accepted:
                self.heard_at = time.monotonic()
            return accepted

        coordinator._do_heartbeat = heard

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = self.app.fetch_max_wait_ms
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every partition to its committed offset, also when that is 0 or missing."""
        return cast("Mapping[TP, int]", await self.call_thread(self._seek_all))

    async def _seek_all(self) -> Mapping[Any, int]:
        consumer = self._ensure_consumer()
        if not consumer.assignment():
            return {}
        committed: Mapping[Any, Any] = await consumer.seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        unset = [tp for tp, offset in committed.items() if not offset and tp.topic not in changelogs]
        if unset:
            await consumer.seek_to_beginning(*unset)
        return committed


class Consumer(driver.Consumer):
    """Commits what `processed` was told, and nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._marks: dict[TP, int] = {}
        self._joined_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether the group has heard of us within a session time-out, so that our partitions are ours."""
        heard = max(cast("ConsumerThread", self._thread).heard_at, self._joined_at)
        return time.monotonic() - heard < float(self.app.conf.broker_session_timeout)

    def processed(self, tp: TP, next_offset: int) -> None:
        """Everything of the partition below `next_offset` has taken effect in Kafka."""
        self._marks[tp] = next_offset

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._marks) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._marks.get(tp)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        committed = self._committed_offset[tp]
        return committed is None or offset > committed

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps (control records, compaction) do not matter to a mark."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._joined_at = time.monotonic()
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._marks.pop(tp, None)


class Transport(driver.Transport):
    Consumer: ClassVar[Any] = Consumer


class Boot(BootStrategy):
    """No web server, whatever the command line says."""

    enable_web = False

    def _should_enable_web(self) -> bool:
        return False

    def web_server(self) -> Iterable[Any]:
        return []


class GuardedApp(App):
    """A Faust app on the guarded consumer."""

    BootStrategy = Boot
    fetch_max_wait_ms = 500
    """How long the broker may keep a fetch open while there is nothing."""

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)

    @property
    def guarded_consumer(self) -> Consumer:
        return cast("Consumer", self.consumer)
