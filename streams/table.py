"""Whole topics, read without a group: a table of the newest value of each key, and a plain generator.

Both read committed records of all partitions, commit nothing, and go on by themselves when a broker was away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message, TopicPartition

from streams.clients import Kafka
from streams.errors import TableLost, TopicsWrong
from streams.fenced.model import Input
from streams.fenced.records import as_input

log = logging.getLogger(__name__)

V = TypeVar("V")


class TopicReader:
    """Reads all partitions of one topic; knows when it has reached what stood there when it began."""

    def __init__(
        self, kafka: Kafka, topic: str, *, from_beginning: bool = True, since: float | None = None,
        timeout: float = 30.0,
    ) -> None:  # fmt: skip
        """Waits up to `timeout` seconds for the topic. Raises `TopicsWrong` when there is none.

        `since`: begins with the first record of that time (Unix seconds) or later, where the broker finds it by its
        time; else at the beginning. Raises `KafkaException` when it cannot be asked.
        """
        self.topic = topic
        self._consumer = kafka.consumer(
            f"reader.{topic}", auto_offset_reset="earliest", enable_partition_eof=True, fetch_wait_max_ms=100
        )
        try:
            partitions = self._partitions(time.monotonic() + timeout)
        except BaseException:
            self._consumer.close()
            raise
        self._behind = set(partitions)
        where = OFFSET_BEGINNING if from_beginning else OFFSET_END
        places = [TopicPartition(topic, p, where) for p in partitions]
        if since is not None and not kafka.embedded:
            places = self._by_time(partitions, since, timeout)
        self._consumer.assign(places)

    @property
    def at_end(self) -> bool:
        """Whether every partition has been read to an end at least once."""
        return not self._behind

    def read(self, timeout: float) -> list[Input]:
        """What comes within `timeout` seconds; nothing earlier than that when there is nothing.

        Raises `TopicsWrong` when the topic has gone.
        """
        first = self._consumer.poll(timeout)
        if first is None:
            return []
        return [i for m in (first, *self._consumer.consume(5000, 0)) if (i := self._record(m)) is not None]

    def close(self) -> None:
        self._consumer.close()

    def _record(self, message: Message) -> Input | None:
        error = message.error()
        if error is None:
            return as_input(message)
        if error.code() == KafkaError._PARTITION_EOF:
            self._behind.discard(message.partition() or 0)
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicsWrong(f"topic {self.topic} has gone; create it again (rampa topics create)")
        else:
            log.warning("%s: %s; going on", self.topic, error.str())
        return None

    def _by_time(self, partitions: list[int], since: float, timeout: float) -> list[TopicPartition]:
        asked = [TopicPartition(self.topic, p, max(0, int(since * 1000))) for p in partitions]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=timeout)
        except BaseException:
            self._consumer.close()
            raise
        return [TopicPartition(self.topic, f.partition, f.offset if f.offset >= 0 else OFFSET_END) for f in found]

    def _partitions(self, deadline: float) -> list[int]:
        while True:
            try:
                found = self._consumer.list_topics(self.topic, timeout=2.0).topics[self.topic]
                if found.error is not None:
                    raise KafkaException(found.error)
            except KafkaException as e:
                if time.monotonic() > deadline:
                    raise TopicsWrong(
                        f"topic {self.topic} cannot be read ({e.args[0].str()}); create it (rampa topics create)"
                    ) from e
                time.sleep(0.1)
            else:
                return sorted(found.partitions)


def read_topic(
    kafka: Kafka,
    topic: str,
    *,
    from_beginning: bool = True,
    until_end: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Input]:
    """The records of a topic, in order within each partition; follows it when not `until_end`, until `stop()`.

    Not `from_beginning`: what comes from now on. (The embedded broker repeats the last batch then.)
    """
    reader = TopicReader(kafka, topic, from_beginning=from_beginning)
    try:
        while not stop() and not (until_end and reader.at_end):
            yield from reader.read(0.2)
    finally:
        reader.close()


class GlobalTable(Generic[V]):
    """The newest value of every key of a compacted topic, all partitions, followed.

    Either `start()` follows it in a thread, or the owner calls `poll()`. Reading it is safe in any thread. A
    value with which `decode` or `filter` fails, in whatever way, is logged and counted in `broken`; the key keeps
    what it had. When the thread that follows has ended, everything that reads the table raises `TableLost`.
    """

    def __init__(
        self,
        kafka: Kafka,
        topic: str,
        decode: Callable[[bytes], V],
        *,
        filter: Callable[[str, V], bool] | None = None,  # noqa: A002 - the word that reads best where it is used
        on_change: Callable[[str, V | None], None] | None = None,
    ) -> None:
        """`filter` says which rows to keep. `on_change` is told of every change, None for a row that went; it
        is called in the thread that reads, after the change can be seen."""
        self.topic = topic
        self.broken = 0
        self._decode = decode
        self._filter = filter
        self._on_change = on_change
        self._reader = TopicReader(kafka, topic)
        self._rows: dict[str, V] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._failure: Exception | None = None
        self._ready = False
        self._thread: threading.Thread | None = None

    def start(self) -> GlobalTable[V]:
        """Follow the topic in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name=f"table {self.topic}", daemon=True)
        self._thread.start()
        return self

    def poll(self, timeout: float = 0.0) -> int:
        """Take in what has come within `timeout` seconds; how many records that were. Without `start` only."""
        self.check()
        return self._take_in(timeout)

    def check(self) -> None:
        """Raises `TableLost` when the table is not followed any more."""
        if self._failure is not None:
            raise TableLost(
                f"the table of {self.topic} is no longer followed ({self._failure}); this process has to start again"
            ) from self._failure

    def _take_in(self, timeout: float) -> int:
        records = self._reader.read(timeout)
        changes = [change for record in records if (change := self._change(record)) is not None]
        with self._changed:
            for key, value in changes:
                if value is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = value
            self._ready = self._ready or self._reader.at_end
            self._changed.notify_all()
        if self._on_change is not None:
            for key, value in changes:
                self._on_change(key, value)
        return len(records)

    def get(self, key: str) -> V | None:
        """The row of a key. Raises `TableLost`. Without the lock, because it is asked for each mail: one look-up
        in a dict is whole by itself."""
        if self._failure is not None:
            self.check()
        return self._rows.get(key)

    def items(self) -> list[tuple[str, V]]:
        """All rows, as they are now. Raises `TableLost`."""
        self.check()
        with self._changed:
            return list(self._rows.items())

    def __len__(self) -> int:
        return len(self._rows)

    def ready(self, timeout: float = 30.0) -> bool:
        """Wait until everything that was there at the start has been read. False when it was not in time.

        Raises `TableLost`.
        """
        return self._until(lambda: self._ready, timeout)

    def wait_for(self, predicate: Callable[[GlobalTable[V]], bool], timeout: float) -> bool:
        """Wait until `predicate(self)`, asked again after every change. False when it was not in time.

        Raises `TableLost`.
        """
        return self._until(lambda: predicate(self), timeout)

    def close(self) -> None:
        """Stop following and leave the broker."""
        self._closing.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._reader.close()

    def __enter__(self) -> GlobalTable[V]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(self, record: Input) -> tuple[str, V | None] | None:
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            return key, None
        try:
            value = self._decode(record.value)
            kept = self._filter is None or self._filter(key, value)
        except Exception as e:  # noqa: BLE001 - anybody may write anything; it must cost that record only
            self.broken += 1
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            log.warning("%s, key %s, is left out: %s: %s", place, key, type(e).__name__, e)
            return None
        return key, value if kept else None

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                self._take_in(0.1)
            except Exception as e:
                log.exception("the table of %s is no longer followed", self.topic)
                with self._changed:
                    self._failure = e
                    self._changed.notify_all()
                return

    def _until(self, condition: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            if condition():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._thread is None:
                self.poll(min(left, 0.05))
                continue
            with self._changed:
                self._changed.wait(min(left, 0.05))
