"""Where a consumer group of a Faust app begins: every partition has an offset before the first worker joins.

aiokafka passes over partitions that have no committed offset, or 0, when it seeks after a rebalance, and what
was prefetched from them is lost. So before the first start:

- An empty partition gets a *genesis record* (no key, no value, header `genesis`) at offset 0, and the group
  begins behind it, at 1.
- A partition that somebody has already written to is never skipped: the group begins at its first record. When
  that is offset 0 the group's offset is the dangerous 0, which `faust_guard.ConsumerThread` seeks to itself.
- Partitions that have an offset are left alone, so doing this again changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import NewTopic

from streams.clients import Kafka, Record, produce_all
from streams.errors import TopicsWrong

log = logging.getLogger(__name__)

GENESIS_HEADER = "genesis"

_AGAIN = frozenset({
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
})  # fmt: skip


def is_genesis(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> bool:
    """Whether a record is one that `prepare_group` wrote."""
    return value is None and any(name == GENESIS_HEADER for name, _ in headers)


def ensure_changelog(kafka: Kafka, topic: str, partitions: int, replication: int = 1, timeout: float = 30.0) -> None:
    """Create the changelog topic of a table, compacted, when there is none.

    Raises TopicsWrong when it has another number of partitions, KafkaException when the broker refuses.
    """
    admin = kafka.admin()
    new = NewTopic(topic, partitions, replication, config={"cleanup.policy": "compact"})
    try:
        admin.create_topics([new])[topic].result(timeout)
    except KafkaException as e:
        if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    deadline = time.monotonic() + timeout
    while True:
        found = admin.list_topics(topic, timeout=timeout).topics[topic]
        if found.error is None and len(found.partitions) == partitions:
            return
        if found.error is None or time.monotonic() > deadline:
            raise TopicsWrong(
                f"topic {topic} has {len(found.partitions)} partitions and {partitions} were recorded at the first "
                "start; keys would move. Restore the topic as it was."
            )
        time.sleep(0.1)


def prepare_group(kafka: Kafka, group: str, topics: Sequence[str], timeout: float = 60.0) -> None:
    """Give `group` an offset in every partition of `topics` that has none. May be done again, by anyone.

    Retries while coordinators load, and when another worker of the group was faster. Raises TopicsWrong when a
    topic is missing, KafkaException when the broker goes on refusing for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        consumer = kafka.consumer(group, auto_offset_reset="earliest")
        try:
            _prepare(kafka, consumer, topics)
        except KafkaException as e:
            error: KafkaError = e.args[0]
            if time.monotonic() > deadline or not (error.code() in _AGAIN or error.retriable()):
                raise
            log.info("group %s is not prepared yet: %s; trying again", group, error.str())
            time.sleep(0.3)
        else:
            return
        finally:
            consumer.close()


def _prepare(kafka: Kafka, consumer: Consumer, topics: Sequence[str]) -> None:
    missing = _without_offset(consumer, topics)
    while missing:
        starts: list[TopicPartition] = []
        empty: list[TopicPartition] = []
        for tp in missing:
            low, high = consumer.get_watermark_offsets(tp, timeout=10)
            if high == 0:
                empty.append(tp)
            else:
                starts.append(TopicPartition(tp.topic, tp.partition, low))
        starts += _write_genesis(kafka, empty)
        for answer in consumer.commit(offsets=starts, asynchronous=False) or ():
            if answer.error is not None:
                raise KafkaException(answer.error)
        missing = _without_offset(consumer, topics)


def _without_offset(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    wanted = [TopicPartition(topic, p) for topic in topics for p in _partitions(consumer, topic)]
    found = consumer.committed(wanted, timeout=10)
    for tp in found:
        if tp.error is not None:
            raise KafkaException(tp.error)
    return [TopicPartition(tp.topic, tp.partition) for tp in found if tp.offset < 0]


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    found = consumer.list_topics(topic, timeout=10).topics[topic]
    if found.error is not None:
        raise TopicsWrong(f"topic {topic} cannot be read ({found.error.str()}); create it (rampa topics create)")
    return sorted(found.partitions)


def _write_genesis(kafka: Kafka, empty: Sequence[TopicPartition]) -> list[TopicPartition]:
    """A record in each; where the group begins in those that were still empty.

    Where somebody's record came in between, the genesis record stands after it, and the partition begins at 0.
    """
    if not empty:
        return []
    records = [Record(tp.topic, None, partition=tp.partition, headers=[(GENESIS_HEADER, b"1")]) for tp in empty]
    places = produce_all(kafka.producer(linger_ms=0), records)
    return [TopicPartition(p.topic, p.partition, 1 if p.offset == 0 else 0) for p in places]
