"""Topics and the installation's record, on both brokers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.records import ClockRecord, InstallationRecord
from schemas.topics import BATCHES, CHUNKS, INSTALLATION, Topic, all_topics, named
from streams.admin import (
    check_topics,
    create_topics,
    describe_topics,
    ensure_installation,
    partition_counts,
    read_installation,
)
from streams.clients import Kafka, Record, produce_all
from streams.errors import PartitionCountChanged, TopicsWrong

FEW = (BATCHES, CHUNKS, INSTALLATION)


def first_start(
    kafka: Kafka, prefix: str, partitions: int = 3, topics: tuple[Topic, ...] = FEW, speed: float = 1.0
) -> InstallationRecord:
    clock = ClockRecord(epoch_real=1.0, epoch_virtual=2.0, speed=speed)
    return ensure_installation(kafka, topics, partitions=partitions, clock=clock, product_version="1", prefix=prefix)


def test_topics_are_created_once_with_their_partitions(any_kafka: Kafka, prefix: str) -> None:
    created = create_topics(any_kafka, FEW, 3, prefix)
    assert sorted(created) == sorted(named(prefix, t) for t in FEW)
    assert create_topics(any_kafka, FEW, 3, prefix) == []
    states = describe_topics(any_kafka, FEW, 3, prefix)
    assert [(s.topic, s.actual) for s in states] == [(BATCHES, 3), (CHUNKS, 3), (INSTALLATION, 1)]


def test_every_topic_of_the_registry_can_be_created(any_kafka: Kafka, prefix: str) -> None:
    first_start(any_kafka, prefix, 2, all_topics())
    check_topics(any_kafka, all_topics(), 2, prefix)


def test_the_first_start_decides_and_later_starts_follow(any_kafka: Kafka, prefix: str) -> None:
    first = first_start(any_kafka, prefix, 3, speed=60.0)
    later = first_start(any_kafka, prefix, 5, speed=1.0)
    assert later == first
    assert (later.partitions, later.clock.speed) == (3, 60.0)
    assert read_installation(any_kafka, prefix) == first


def test_before_the_first_start_there_is_no_record_and_asking_creates_nothing(any_kafka: Kafka, prefix: str) -> None:
    assert read_installation(any_kafka, prefix) is None
    assert named(prefix, INSTALLATION) not in partition_counts(any_kafka.admin())


def test_first_starts_that_meet_agree(any_kafka: Kafka, prefix: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda n: first_start(any_kafka, prefix, 3, speed=float(n)), range(1, 5)))
    assert len({r.id for r in records}) == 1
    assert read_installation(any_kafka, prefix) == records[0]


def test_compaction_keeps_the_record_that_holds(any_kafka: Kafka, prefix: str) -> None:
    first = first_start(any_kafka, prefix)
    loser = first.model_copy(update={"id": "loser"})
    name = named(prefix, INSTALLATION)
    produce_all(any_kafka.producer(), [Record(name, loser.encode(), b"installation", 0)])
    assert first_start(any_kafka, prefix) == first
    # What compaction keeps is the newest record of the key.
    newest = produce_all(any_kafka.producer(), [Record(name, b"{}", b"other", 0)])[0].offset - 1
    consumer = any_kafka.consumer("newest", auto_offset_reset="earliest")
    try:
        from confluent_kafka import TopicPartition

        consumer.assign([TopicPartition(name, 0, newest)])
        message = consumer.poll(15)
        assert message is not None
        assert InstallationRecord.decode(message.value() or b"") == first
    finally:
        consumer.close()


def test_other_partition_counts_than_recorded_stop_the_start(any_kafka: Kafka, prefix: str) -> None:
    first_start(any_kafka, prefix, 3, (BATCHES, INSTALLATION))
    create_topics(any_kafka, [CHUNKS], 4, prefix)
    expected = rf"{prefix}chunks has 4 instead of 3\..*start a new installation"
    with pytest.raises(PartitionCountChanged, match=expected):
        first_start(any_kafka, prefix)
    with pytest.raises(PartitionCountChanged, match=expected):
        check_topics(any_kafka, FEW, 3, prefix)


def test_a_first_start_on_topics_with_other_counts_records_nothing(any_kafka: Kafka, prefix: str) -> None:
    create_topics(any_kafka, [CHUNKS], 4, prefix)
    with pytest.raises(PartitionCountChanged, match="has 4 instead of 3"):
        first_start(any_kafka, prefix)
    assert read_installation(any_kafka, prefix) is None


def test_missing_topics_are_named(any_kafka: Kafka, prefix: str) -> None:
    create_topics(any_kafka, [BATCHES], 2, prefix)
    with pytest.raises(TopicsWrong, match=rf"{prefix}chunks, {prefix}installation.*rampa topics create"):
        check_topics(any_kafka, FEW, 2, prefix)


def test_a_topic_that_a_release_adds_gets_the_recorded_partitions(any_kafka: Kafka, prefix: str) -> None:
    first_start(any_kafka, prefix, 3, (BATCHES, INSTALLATION))
    first_start(any_kafka, prefix, 7)
    check_topics(any_kafka, FEW, 3, prefix)


@pytest.mark.apache
def test_a_topic_that_the_broker_refuses_is_named_with_the_reason(apache_kafka: Kafka, prefix: str) -> None:
    with pytest.raises(TopicsWrong, match=rf"refuses to create the topic {prefix}batches.*replication"):
        create_topics(apache_kafka, [BATCHES], 1, prefix, replication=3)


@pytest.mark.apache
def test_clean_up_is_as_the_registry_says(apache_kafka: Kafka, prefix: str) -> None:
    from confluent_kafka.admin._config import ConfigResource

    create_topics(apache_kafka, FEW, 1, prefix)
    admin = apache_kafka.admin()
    resources = {t: ConfigResource("topic", named(prefix, t)) for t in FEW}
    answers = admin.describe_configs(list(resources.values()))
    for topic, resource in resources.items():
        config = answers[resource].result()
        assert {k: config[k].value for k in topic.config()} == topic.config()
