"""A partition's committed state and starting offset, on assignment.

The order is what makes it right:
1. the group's committed offsets, which wait for a transaction that is still pending on them;
2. the changelog's end as a *read-uncommitted* consumer sees it: a read-committed end stops before a
   transaction whose offsets are decided and whose markers are not yet written everywhere;
3. the changelog, read-committed, up to that end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.clients import Kafka
from streams.fenced.errors import OperatorNeeded, TransactionFailed
from streams.fenced.offsets import HAS_STATE, Committed, starting_offset
from streams.packing import PackedRows

_SLICE = 0.2
_BATCH = 5000
_AHEAD_KB = 8192
"""How much of the changelog may wait to be taken: what is read faster than it is taken is memory for nothing."""
_BACKOFF_MS = 5
"""How long fetching rests when so much waits; librdkafka's own second would be most of the time."""
_PATIENCE = 1.0
"""Seconds in which the embedded broker gives some of a changelog, unless a transaction is in the way."""
_PASSING = {
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._TRANSPORT,
    # Right after a topic was created or its leader died:
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.BROKER_NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Start:
    """How a partition begins. `first`: the group has no committed offset of it yet."""

    partition: int
    offset: int
    state: Mapping[bytes, bytes]
    committed: Committed | None


class Loader:
    """Reads what is needed to own partitions. Blocks; calls `idle` at least about every 0.2 s meanwhile."""

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        input_topic: str,
        state_topic: str,
        timeout: float,
        nudge: Callable[[str, list[int]], None] = lambda _topic, _partitions: None,
    ) -> None:
        """`nudge` is called each second with the partitions of the state topic that do not become readable on the
        embedded broker, which may have left a transaction there unfinished."""
        self._kafka = kafka
        self._nudge = nudge
        self._nudged = False
        self._group = group
        self._input = input_topic
        self._state = state_topic
        self._timeout = timeout

    def load(self, member: Consumer, partitions: list[int], idle: Callable[[], None]) -> list[Start]:
        """Raises `OperatorNeeded` when offsets and topics contradict each other, `TransactionFailed` when
        the state does not become readable in time."""
        deadline = time.monotonic() + self._timeout
        self._nudged = False
        committed = self.committed(member, partitions, deadline, idle)
        ends = self.state_ends(partitions, deadline, idle)
        states = self._read(ends, deadline, idle)
        if self._nudged:  # what was finished then may have offsets too
            committed = self.committed(member, partitions, deadline, idle)
        inputs = self._watermarks(self._input, partitions, deadline, idle)
        return [
            Start(p, self._start(p, committed[p], inputs[p], len(states[p]), p in ends), states[p], committed[p])
            for p in partitions
        ]

    def committed(
        self, member: Consumer, partitions: list[int], deadline: float, idle: Callable[[], None]
    ) -> dict[int, Committed | None]:
        """The group's offsets, once no transaction is pending on them."""
        wanted = [TopicPartition(self._input, p) for p in partitions]
        while True:
            idle()
            found = _committed(member, wanted)
            if found is not None:
                return {
                    tp.partition: Committed(tp.offset, tp.metadata == HAS_STATE) if tp.offset >= 0 else None
                    for tp in found
                }
            self._check(deadline, "the committed offsets do not become stable")

    def state_ends(self, partitions: list[int], deadline: float, idle: Callable[[], None]) -> dict[int, int]:
        """Up to where the changelog must be read."""
        marks = self._watermarks(self._state, partitions, deadline, idle)
        return {p: high for p, (low, high) in marks.items() if high > low}

    def _start(
        self, partition: int, committed: Committed | None, marks: tuple[int, int], rows: int, changelog: bool
    ) -> int:
        low, high = marks
        if self._kafka.embedded and committed is not None:
            high = max(high, committed.offset)  # that broker takes the last batch's first record for the last of all
        place = f"{self._input}[{partition}]"
        return starting_offset(place, committed, low, high, rows, self._group, changelog=changelog)

    def _watermarks(
        self,
        topic: str,
        partitions: list[int],
        deadline: float,
        idle: Callable[[], None],
        *,
        read_committed: bool = False,
    ) -> dict[int, tuple[int, int]]:
        """First and next offset of each partition; while a broker settles it asks again."""
        asking = self._kafka.consumer(f"{self._group}.loader", read_committed=read_committed)
        try:
            while True:
                try:
                    return {p: asking.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
                except KafkaException as e:
                    if e.args[0].code() not in _PASSING:
                        raise TransactionFailed(f"{topic}: its offsets cannot be read: {e}") from e
                    self._check(deadline, f"{topic}: its offsets cannot be read ({e.args[0].str()})")
                idle()
                time.sleep(_SLICE)
        finally:
            asking.close()

    def _read(self, ends: dict[int, int], deadline: float, idle: Callable[[], None]) -> _States:
        states = _States()
        if not ends:
            return states
        reader = self._kafka.consumer(
            f"{self._group}.loader",
            read_committed=True,
            auto_offset_reset="earliest",
            enable_partition_eof=True,
            fetch_wait_max_ms=20,
            queued_max_messages_kbytes=_AHEAD_KB,
            fetch_queue_backoff_ms=_BACKOFF_MS,
        )
        try:
            reader.assign([TopicPartition(self._state, p, 0) for p in ends])
            missing = dict(ends)
            nudged = time.monotonic()
            while missing:
                idle()
                _take(reader, states, missing)
                if self._kafka.embedded and missing and time.monotonic() - nudged > _PATIENCE:
                    self._nudge(self._state, sorted(missing))
                    self._nudged, nudged = True, time.monotonic()
                self._check(deadline, f"{self._state}: partitions {sorted(missing)} do not become readable")
        finally:
            reader.close()
        return states

    def _check(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise TransactionFailed(
                f"group {self._group}: {what} within {self._timeout:.0f} s; a transaction stays open (its "
                "owner's next start ends it) or the broker is away. The process leaves and tries again. Does that not "
                "help, a broker has died in the middle of a commit and left it unfinished: "
                "`kafka-transactions.sh find-hanging`, then `abort`"
            )


class _States(dict[int, PackedRows]):
    """By partition. Packed: for a moment all of it is in memory beside what the role makes of it."""

    def __missing__(self, partition: int) -> PackedRows:
        return self.setdefault(partition, PackedRows())


def _committed(member: Consumer, wanted: list[TopicPartition]) -> list[TopicPartition] | None:
    """None: ask again."""
    try:
        found = member.committed(wanted, timeout=_SLICE)
    except KafkaException as e:
        if e.args[0].code() in _PASSING:
            return None
        raise TransactionFailed(f"the group's committed offsets cannot be read: {e}") from e
    for error in (tp.error for tp in found if tp.error):
        if error.code() not in _PASSING:
            raise TransactionFailed(f"the group's committed offsets cannot be read: {error}")
        return None
    return found


def _take(reader: Consumer, states: _States, missing: dict[int, int]) -> None:
    """One batch of changelog records into `states`; partitions that are read to their end leave `missing`.

    The end may lie behind a marker or records of an aborted transaction, which no consumer is shown; the
    reader's end-of-partition event carries the offset that it has reached.
    """
    for message in reader.consume(_BATCH, _SLICE / 4):
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                if partition in missing and offset is not None and offset >= missing[partition]:
                    del missing[partition]
                continue
            if not error.retriable():
                raise OperatorNeeded(f"{message.topic()}[{partition}]: the state cannot be read: {error}")
            continue
        key, value = message.key(), message.value()
        if partition is None or key is None:
            continue
        if value is not None:
            states[partition][key] = value
        elif key in states[partition]:
            del states[partition][key]
