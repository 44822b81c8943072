"""Topics and the installation's record: what has to exist before a role can work.

`ensure_installation` runs at every start. The first one creates the topics and writes the record that all
processes share; later ones read it and refuse to go on when topics have other partition counts, because keys
would have moved. When two first starts meet, the record with the lowest offset holds for both.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.records import ClockRecord, InstallationRecord
from schemas.topics import INSTALLATION, Topic, named
from streams.clients import Kafka, Record, produce_all
from streams.errors import BrokerUnavailable, PartitionCountChanged, TopicsWrong

_KEY = b"installation"
_REQUEST = 30.0  # seconds that one administrative request may take


def create_topics(
    kafka: Kafka, topics: Iterable[Topic], partitions: int, prefix: str = "", replication: int = 1
) -> list[str]:
    """Create those of `topics` that are missing; returns their names. Returns when clients can use them all.

    A topic without a partition count of its own gets `partitions`. Raises TopicsWrong when the broker refuses
    one, BrokerUnavailable when it does not answer.
    """
    admin = kafka.admin()
    wanted = {named(prefix, t): t for t in topics}
    there = partition_counts(admin)
    missing = [
        NewTopic(name, num_partitions=_count(t, partitions), replication_factor=replication, config=t.config())
        for name, t in wanted.items()
        if name not in there
    ]
    created = list(_create(admin, missing)) if missing else []
    _wait_until_known(admin, wanted)
    return created


def _create(admin: AdminClient, topics: list[NewTopic]) -> Iterator[str]:
    for name, answer in admin.create_topics(topics, request_timeout=_REQUEST).items():
        try:
            answer.result()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else starts at the same time
                continue
            raise TopicsWrong(
                f"Kafka refuses to create the topic {name}: {reason.str()}. Correct kafka.partitions and "
                "kafka.replication in the settings, or create the topic yourself."
            ) from error
        yield name


def _wait_until_known(admin: AdminClient, names: Iterable[str]) -> None:
    """A topic is created some milliseconds before every broker answers for it."""
    deadline = time.monotonic() + _REQUEST
    while missing := set(names) - partition_counts(admin).keys():
        if time.monotonic() > deadline:
            raise TopicsWrong(f"Kafka created {', '.join(sorted(missing))} and does not show them. Try again.")
        time.sleep(0.05)


def partition_counts(admin: AdminClient) -> dict[str, int]:
    """How many partitions each topic on the broker has. Asks for all: asking for one by name creates it on the
    embedded broker.

    Raises BrokerUnavailable.
    """
    try:
        metadata = admin.list_topics(timeout=_REQUEST)
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka does not list its topics: {error.args[0].str()}. Try again.") from error
    return {name: len(t.partitions) for name, t in metadata.topics.items() if t.error is None and t.partitions}


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic of the registry as the broker has it; `actual` None: missing."""

    topic: Topic
    name: str
    expected: int
    actual: int | None


def describe_topics(kafka: Kafka, topics: Iterable[Topic], partitions: int, prefix: str = "") -> list[TopicState]:
    """What the broker has of `topics`, in their order. Raises BrokerUnavailable."""
    there = partition_counts(kafka.admin())
    return [TopicState(t, named(prefix, t), _count(t, partitions), there.get(named(prefix, t))) for t in topics]


def check_topics(kafka: Kafka, topics: Iterable[Topic], partitions: int, prefix: str = "") -> None:
    """Return when all topics are there with the partition counts that were recorded (`partitions`).

    Raises PartitionCountChanged, or TopicsWrong when some are missing.
    """
    states = describe_topics(kafka, topics, partitions, prefix)
    refuse_other_counts(states)
    if missing := [s.name for s in states if s.actual is None]:
        raise TopicsWrong(f"Missing topics: {', '.join(missing)}. Create them with `rampa topics create`.")


def refuse_other_counts(states: Sequence[TopicState]) -> None:
    """Raise PartitionCountChanged when a topic has another count than expected, naming each."""
    wrong = [s for s in states if s.actual not in {None, s.expected}]
    if not wrong:
        return
    listed = ", ".join(f"{s.name} has {s.actual} instead of {s.expected}" for s in wrong)
    raise PartitionCountChanged(
        f"Topics do not have the partitions that this installation recorded at its first start: {listed}. Keys "
        "would land on other partitions than the state that belongs to them. If partitions were added by "
        "mistake, restore the topics; for other counts start a new installation (another kafka.topic_prefix)."
    )


def _count(topic: Topic, default: int) -> int:
    return topic.partitions or default


def ensure_installation(
    kafka: Kafka,
    topics: Iterable[Topic],
    *,
    partitions: int,
    clock: ClockRecord,
    product_version: str,
    prefix: str = "",
    replication: int = 1,
) -> InstallationRecord:
    """Have all topics and the installation's record, and return the record that holds.

    `partitions` and `clock` count at the first start only. A topic that is missing later (a new release
    brings one) is created with the recorded number. Raises PartitionCountChanged, TopicsWrong,
    BrokerUnavailable.
    """
    every = tuple(topics)
    create_topics(kafka, [INSTALLATION], partitions, prefix, replication)
    record = _settled(kafka, prefix)
    if record is None:
        proposal = InstallationRecord(
            id=uuid.uuid4().hex,
            partitions=partitions,
            clock=clock,
            product_version=product_version,
            created_at=datetime.now(UTC),
        )
        refuse_other_counts(describe_topics(kafka, every, partitions, prefix))
        _write(kafka, proposal, prefix)
        record = _settled(kafka, prefix) or proposal
    refuse_other_counts(describe_topics(kafka, every, record.partitions, prefix))
    create_topics(kafka, every, record.partitions, prefix, replication)
    return record


def read_installation(kafka: Kafka, prefix: str = "") -> InstallationRecord | None:
    """The record that holds, None before the first start. Raises BrokerUnavailable."""
    if named(prefix, INSTALLATION) not in partition_counts(kafka.admin()):
        return None
    return next(_read(kafka, prefix), None)


def _settled(kafka: Kafka, prefix: str) -> InstallationRecord | None:
    """The record with the lowest offset, which holds whoever wrote it; None when there is none yet.

    Compaction keeps the newest record of a key. So where a start that lost the race left its own as the
    newest, the one that holds is written again behind it.
    """
    records = list(_read(kafka, prefix))
    if not records:
        return None
    if records[-1] != records[0]:
        _write(kafka, records[0], prefix)
    return records[0]


def _write(kafka: Kafka, record: InstallationRecord, prefix: str) -> None:
    name = named(prefix, INSTALLATION)
    produce_all(kafka.producer(linger_ms=0), [Record(name, record.encode(), _KEY, 0, record.headers())])


def _read(kafka: Kafka, prefix: str) -> Iterator[InstallationRecord]:
    """The records of the topic from its beginning to the end that it has now."""
    place = TopicPartition(named(prefix, INSTALLATION), 0)
    consumer = kafka.consumer("rampa-installation", auto_offset_reset="earliest")
    try:
        low, end = consumer.get_watermark_offsets(place, timeout=_REQUEST)
        consumer.assign([TopicPartition(place.topic, 0, low)])
        deadline = time.monotonic() + _REQUEST
        while low < end and consumer.position([place])[0].offset < end:
            message = consumer.poll(0.2)
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"Kafka does not deliver the records of {place.topic}. Try again.")
            if message is None or message.error() or message.key() != _KEY:
                continue
            value = message.value()
            if value is not None:
                yield InstallationRecord.decode(value)
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka does not answer for {place.topic}: {error.args[0].str()}.") from error
    finally:
        consumer.close()
