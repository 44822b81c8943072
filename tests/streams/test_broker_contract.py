"""What we rely on in a Kafka broker: the same tests on the embedded broker and on Apache Kafka.

Where the two differ, `DIFFERENCES` says so and a test asserts each side of it: when one of them changes, we
hear of it. The embedded broker's side is why nothing about crashes is promised there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin._config import ConfigResource
from waiting import eventually

from schemas.topics import Topic
from streams.admin import create_topics, partition_counts
from streams.clients import Kafka, Record, flush_or_raise, produce_all

DIFFERENCES = {
    # what a broker should do: (embedded, Apache Kafka)
    "hides the records of a transaction that its producer aborted": (False, True),
    "hides the records of a transaction that its producer's next start aborted": (False, True),
    "tells a fenced producer so (instead of dropping its connection until its commit times out)": (False, True),
    "refuses offsets from a member that has left the group (KIP-447)": (False, True),
    "refuses records to a topic that nobody created": (False, True),
}


def expected(kafka: Kafka, behaviour: str) -> bool:
    return DIFFERENCES[behaviour][0 if kafka.embedded else 1]


def make_topic(kafka: Kafka, prefix: str, partitions: int = 1, cleanup: Literal["delete", "compact"] = "delete") -> str:
    topic = Topic("contract", "any", (), (), (), "A topic of these tests.", cleanup=cleanup, partitions=partitions)
    create_topics(kafka, [topic], partitions, prefix)
    return f"{prefix}contract"


@contextmanager
def reading(kafka: Kafka, topic: str, group: str = "reader", *, committed: bool = True) -> Iterator[Consumer]:
    """A reader of partition 0 from its beginning, in no group."""
    consumer = kafka.consumer(group, read_committed=committed, auto_offset_reset="earliest", fetch_wait_max_ms=50)
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        yield consumer
    finally:
        consumer.close()


def values(kafka: Kafka, topic: str, last: bytes) -> list[bytes | None]:
    """The values that a read-committed reader sees in partition 0, up to `last`."""
    with reading(kafka, topic) as consumer:
        seen: list[bytes | None] = []

        def read() -> bool:
            seen.extend(m.value() for m in consumer.consume(100, 0.1) if not m.error())
            return last in seen

        eventually(read, what=f"{last!r} is read; so far {seen[-5:]}")
        return seen


def transactional(kafka: Kafka, name: str) -> Producer:
    producer = kafka.transactional(name)
    producer.init_transactions(15)
    return producer


def test_records_come_back_whole_and_in_order(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    records = [Record(topic, b"%d" % n, b"k", headers=[("schema", b"A/1")]) for n in range(2000)]
    places = produce_all(any_kafka.producer(), records)
    assert [p.offset for p in places] == list(range(2000))
    assert values(any_kafka, topic, b"1999") == [b"%d" % n for n in range(2000)]
    with reading(any_kafka, topic) as consumer:
        message = consumer.poll(15)
        assert message is not None
        assert (message.key(), message.headers()) == (b"k", [("schema", b"A/1")])


def test_a_tombstone_is_a_record_without_a_value(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    produce_all(any_kafka.producer(), [Record(topic, None, b"gone"), Record(topic, b"end")])
    assert values(any_kafka, topic, b"end") == [None, b"end"]


def test_a_key_lands_where_the_java_client_and_faust_put_it(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix, partitions=12)
    dice = random.Random(7)
    keys = [b"", b"bore.example", "peñalolén.example".encode(), *(dice.randbytes(n % 40 + 1) for n in range(2000))]
    places = produce_all(any_kafka.producer(), [Record(topic, b"x", key) for key in keys])
    partitioner = DefaultPartitioner()
    assert [p.partition for p in places] == [partitioner(key, list(range(12)), []) for key in keys]


def test_a_record_of_512_kb_is_taken_and_returned(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    large = random.Random(1).randbytes(512 * 1024)
    produce_all(any_kafka.producer(), [Record(topic, large), Record(topic, b"end")])
    assert values(any_kafka, topic, b"end") == [large, b"end"]


def test_clean_up_policies_are_recorded(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix, cleanup="compact")
    resource = ConfigResource("topic", topic)
    admin = any_kafka.admin()
    answer = admin.describe_configs([resource])[resource].result(15)
    assert answer["cleanup.policy"].value == "compact"


def test_a_consumer_goes_on_at_the_committed_offset(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    group = f"{prefix}group"
    produce_all(any_kafka.producer(), [Record(topic, b"%d" % n) for n in range(10)])
    with reading(any_kafka, topic, group) as first:
        first.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
    second = any_kafka.consumer(group)
    try:
        (place,) = second.committed([TopicPartition(topic, 0)], timeout=15)
        assert place.offset == 5
        second.assign([place])
        message = second.poll(15)
        assert message is not None
        assert (message.offset(), message.value()) == (5, b"5")
    finally:
        second.close()


def test_a_group_shares_partitions_and_takes_over_those_of_a_member_that_leaves(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix, partitions=4)
    first = any_kafka.consumer(f"{prefix}group", auto_offset_reset="earliest")
    second = any_kafka.consumer(f"{prefix}group", auto_offset_reset="earliest")

    def owned() -> list[int]:
        for consumer in (first, second):
            consumer.consume(10, 0.05)
        return sorted(len(consumer.assignment()) for consumer in (first, second))

    try:
        first.subscribe([topic])
        second.subscribe([topic])
        eventually(lambda: owned() == [2, 2], 30, "each has two partitions")
        second.close()
        eventually(lambda: first.consume(10, 0.05) is not None and len(first.assignment()) == 4, 30, "one has all")
    finally:
        first.close()


def test_a_committed_transaction_is_visible_with_its_offsets(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    group = f"{prefix}group"
    producer = transactional(any_kafka, f"{prefix}tx")
    member = any_kafka.consumer(group)
    try:
        producer.begin_transaction()
        producer.produce(topic, b"one")
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 7)], member.consumer_group_metadata(), 15)
        producer.commit_transaction(15)
        assert values(any_kafka, topic, b"one") == [b"one"]
        eventually(lambda: member.committed([TopicPartition(topic, 0)], timeout=15)[0].offset == 7)
    finally:
        member.close()


def test_a_newer_producer_with_the_same_id_fences_the_older(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    older = transactional(any_kafka, f"{prefix}tx")
    older.begin_transaction()
    older.produce(topic, b"old")
    newer = transactional(any_kafka, f"{prefix}tx")
    with pytest.raises(KafkaException) as caught:
        older.commit_transaction(3)
    told = caught.value.args[0].fatal()
    assert told is expected(
        any_kafka, "tells a fenced producer so (instead of dropping its connection until its commit times out)"
    )
    newer.begin_transaction()
    newer.produce(topic, b"new")
    newer.commit_transaction(15)
    assert b"new" in values(any_kafka, topic, b"new")


def test_an_idle_producer_that_was_fenced_learns_it_at_its_commit(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    older = transactional(any_kafka, f"{prefix}tx")
    transactional(any_kafka, f"{prefix}tx")
    older.begin_transaction()
    older.produce(topic, b"old")
    with pytest.raises(KafkaException) as caught:
        older.commit_transaction(15)
    assert caught.value.args[0].fatal()


def test_records_of_an_open_transaction_are_hidden_until_it_commits(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    producer = transactional(any_kafka, f"{prefix}tx")
    producer.begin_transaction()
    producer.produce(topic, b"open")
    flush_or_raise(producer, 15)
    with reading(any_kafka, topic) as committed, reading(any_kafka, topic, committed=False) as uncommitted:
        assert uncommitted.poll(15) is not None
        assert committed.poll(0.5) is None
        producer.commit_transaction(15)
        assert committed.poll(15) is not None


def test_difference_records_of_an_aborted_transaction(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    producer = transactional(any_kafka, f"{prefix}tx")
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    flush_or_raise(producer, 15)
    producer.abort_transaction(15)
    produce_all(any_kafka.producer(), [Record(topic, b"end")])
    hidden = b"aborted" not in values(any_kafka, topic, b"end")
    assert hidden is expected(any_kafka, "hides the records of a transaction that its producer aborted")


def test_difference_records_of_a_transaction_that_a_crash_left_open(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    crashed = transactional(any_kafka, f"{prefix}tx")
    crashed.begin_transaction()
    crashed.produce(topic, b"aborted")
    flush_or_raise(crashed, 15)
    transactional(any_kafka, f"{prefix}tx")
    produce_all(any_kafka.producer(), [Record(topic, b"end")])
    hidden = b"aborted" not in values(any_kafka, topic, b"end")
    assert hidden is expected(any_kafka, "hides the records of a transaction that its producer's next start aborted")


def test_difference_offsets_from_a_member_that_has_left(any_kafka: Kafka, prefix: str) -> None:
    topic = make_topic(any_kafka, prefix)
    member = any_kafka.consumer(f"{prefix}group", auto_offset_reset="earliest")
    member.subscribe([topic])
    eventually(lambda: member.poll(0.05) is None and member.assignment(), 30, "the member has its partition")
    metadata = member.consumer_group_metadata()
    member.close()
    producer = transactional(any_kafka, f"{prefix}tx")
    producer.begin_transaction()
    producer.produce(topic, b"zombie")
    try:
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], metadata, 15)
        producer.commit_transaction(15)
    except KafkaException:
        refused = True
        producer.abort_transaction(15)
    else:
        refused = False
    assert refused is expected(any_kafka, "refuses offsets from a member that has left the group (KIP-447)")


def test_difference_records_to_an_unknown_topic(any_kafka: Kafka, prefix: str) -> None:
    producer = any_kafka.producer(message_timeout_ms=3000, topic_metadata_propagation_max_ms=500)
    producer.produce(f"{prefix}unknown", b"x")
    assert producer.flush(10) == 0
    refused = f"{prefix}unknown" not in partition_counts(any_kafka.admin())
    assert refused is expected(any_kafka, "refuses records to a topic that nobody created")
