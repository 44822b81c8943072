"""Faust's consumer, with what it gets wrong put right by subclassing (neither library is touched).

What Faust 0.15.3 on aiokafka 0.14 loses or repeats, and what is done here:

- There is no isolation setting, so records of aborted transactions are read. The consumer is made
  read-committed before it starts.
- `seek_to_committed` skips partitions whose committed offset is 0 or missing. Here all are sought.
- Around a rebalance records are fetched before a seek and delivered after it, or fetched after it and dropped
  because an older read position says that they are known. So every record is given a `Link` where it is fetched,
  in one step with the fetch: how many seeks its partition had seen, and which offset came before it. An agent takes
  a record only when it is the next of its chain (`take`); where one is missing, the partition is read again from
  there.
- While all partitions are paused a fetch that is under way takes records of any of them, which are dropped; of a
  changelog they never come again and the recovery of its table waits for ever. Paused means paused here.
- Acknowledgements are sets with gaps: an event that a rebalance skipped counts as done, and commits creep by one
  afterwards. Here a partition has one mark, the offset after the last record whose effects are in Kafka.
- A worker that was suspended past its session time-out goes on with what it had prefetched when it wakes. `alive`
  says whether the group still counts on us; agents wait for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import aiokafka
from aiokafka.errors import IllegalStateError
from faust.app.base import App, BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

log = logging.getLogger(__name__)


class Link(NamedTuple):
    """A record's place in what was read since its partition was last sought."""

    seeks: int
    """How many seeks the partition had seen when it was fetched."""
    after: int
    """The offset that was fetched before it, or the one before where was sought to."""


class _Active:
    """The partitions that may be fetched from now. Faust's set of them; aiokafka takes an empty set for "any"."""

    def __init__(self, partitions: set[Any]) -> None:
        self._partitions = partitions

    def __contains__(self, partition: object) -> bool:
        return partition in self._partitions


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer. Fetches and seeks are steps of its one event loop, so none falls into another."""

    app: GuardedApp
    heard_at = 0.0
    """`time.monotonic()` of the last heartbeat that the group's coordinator accepted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seeks: dict[Any, int] = {}
        self.sought_to: dict[Any, int] = {}
        self.fetched: dict[Any, int] = {}
        """The last offset that was fetched of each partition."""
        self._links: dict[tuple[Any, int], Link] = {}

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
        """Seek every source partition to its committed offset, also when that is 0 or missing."""
        return cast("Mapping[TP, int]", await self.call_thread(self._seek_all))

    async def rewind(self, tp: TP, offset: int) -> None:
        """Read a partition again from `offset` on."""
        await self.call_thread(self._rewind, tp, offset)

    def forget(self) -> None:
        """Partitions are being assigned anew: nothing that was fetched before the next seek is taken."""
        for tp in list(self.seeks):
            self.seeks[tp] += 1
        self.sought_to.clear()
        self._links.clear()

    def link(self, tp: TP, offset: int) -> Link | None:
        """The link of a record that was fetched; given out once."""
        return self._links.pop((tp, offset), None)

    async def _seek_all(self) -> Mapping[Any, int]:
        consumer = self._ensure_consumer()
        changelogs = self.app.tables.changelog_topics
        sources = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        targets = {tp: await consumer.committed(tp) for tp in sources}
        unset = [tp for tp, offset in targets.items() if not offset]
        if unset:
            targets |= await consumer.beginning_offsets(unset)
        for tp, offset in targets.items():  # no await from here on
            self._seek_source(consumer, tp, offset)
        return targets

    async def _rewind(self, tp: Any, offset: int) -> None:
        try:
            self._seek_source(self._ensure_consumer(), tp, offset)
        except IllegalStateError:
            log.info("%s is no longer ours", tp)

    def _seek_source(self, consumer: aiokafka.AIOKafkaConsumer, tp: Any, offset: int) -> None:
        consumer.seek(tp, offset)
        self.seeks[tp] = self.seeks.get(tp, 0) + 1
        self.sought_to[tp] = offset
        self.fetched[tp] = offset - 1

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *args: Any, **kwargs: Any) -> Any:
        active = None if active_partitions is None else _Active(active_partitions)
        records = await super()._fetch_records(consumer, cast("Any", active), *args, **kwargs)
        for tp, fetched in records.items():  # in one step with the fetch
            if tp not in self.sought_to:
                continue
            seeks, last = self.seeks[tp], self.fetched[tp]
            for record in fetched:
                self._links[tp, record.offset] = Link(seeks, last)
                last = record.offset
            self.fetched[tp] = last
        return records


class _NoReadOffsets(dict[Any, Any]):
    """Faust drops records below an offset that it remembers, which races with its own seeks. Links do that here."""

    def __missing__(self, key: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        """Remembers nothing."""

    def update(self, *_: Any, **__: Any) -> None:
        """Remembers nothing."""


class Consumer(driver.Consumer):
    """Commits what `processed` was told, and nothing else."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()
        self._marks: dict[TP, int] = {}
        self._next: dict[TP, tuple[int, int]] = {}
        self._seen: dict[TP, int] = {}
        self._at_work: set[TP] = set()
        self._joined_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether the group has heard of us within a session time-out, so that our partitions are ours."""
        heard = max(self._thread.heard_at, self._joined_at)
        return time.monotonic() - heard < float(self.app.conf.broker_session_timeout)

    async def take(self, message: Any) -> Link | None:
        """The link of a record whose turn it is; None when it is to be left alone.

        Left alone is what was fetched before the partition's last seek. When records before it were dropped on
        the way, the partition is read again from the first of them.
        """
        tp, link = message.tp, getattr(message, "link", None)
        if link is None or link.seeks != self._thread.seeks.get(tp):
            return None
        seeks, following = self._next.get(tp, (-1, 0))
        if seeks != link.seeks:
            following = self._thread.sought_to.get(tp, 0)
            self._next[tp] = link.seeks, following
        if link.after + 1 == following:
            self._at_work.add(tp)
            return cast("Link", link)
        if link.after + 1 > following:
            log.info("%s: records from %d on were dropped on the way; they are read again", tp, following)
            await self._thread.rewind(tp, following)
        return None

    def processed(self, message: Any, link: Link) -> None:
        """Everything of the partition up to this record has taken effect in Kafka."""
        tp = message.tp
        self._at_work.discard(tp)
        if self._thread.seeks.get(tp) == link.seeks:
            self._next[tp] = link.seeks, message.offset + 1
            self._marks[tp] = message.offset + 1

    async def read_dropped_again(self) -> None:
        """Called now and then: a partition that stands still behind what was fetched of it is read again.

        Where records are dropped on the way and nothing comes after them, no later record tells.
        """
        seen, self._seen = self._seen, {}
        for tp, to in list(self._thread.sought_to.items()):
            seeks, following = self._next.get(tp, (-1, to))
            following = following if seeks == self._thread.seeks[tp] else to
            if following <= self._thread.fetched.get(tp, -1):
                self._seen[tp] = following
                if seen.get(tp) == following and tp not in self._at_work:
                    log.info("%s stands still at %d; it is read again from there", tp, following)
                    await self._thread.rewind(tp, following)

    def _to_message(self, tp: TP, record: Any) -> Any:
        message: Any = super()._to_message(tp, record)
        message.link = self._thread.link(tp, record.offset)
        return message

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
        self._thread.forget()
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        self._thread.forget()
        self._at_work.clear()
        for tp in revoked:
            self._marks.pop(tp, None)
            self._next.pop(tp, None)


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
