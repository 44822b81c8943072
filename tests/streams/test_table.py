"""Whole topics as a table and as a generator, on both brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.cimpl import NewTopic

from streams.clients import Kafka, Record, produce_all
from streams.errors import TableLost, TopicsWrong
from streams.fenced import Input
from streams.table import GlobalTable, TopicReader, read_topic


def number(value: bytes) -> int:
    return int(value)


@pytest.fixture
def topic(any_kafka: Kafka, prefix: str) -> str:
    name = prefix + "table"
    admin = any_kafka.admin()
    for future in admin.create_topics([NewTopic(name, 3, 1, config={"cleanup.policy": "compact"})]).values():
        future.result(20)
    return name


def put(kafka: Kafka, topic: str, **rows: int | str | None) -> None:
    records = [Record(topic, None if v is None else str(v).encode(), k.encode()) for k, v in rows.items()]
    produce_all(kafka.producer(linger_ms=0), records)


def test_a_table_holds_the_newest_value_of_each_key(any_kafka: Kafka, topic: str) -> None:
    put(any_kafka, topic, a=1, b=2, c=3)
    put(any_kafka, topic, a=4, b=None)
    with GlobalTable(any_kafka, topic, number).start() as table:
        assert table.ready()
        assert dict(table.items()) == {"a": 4, "c": 3}
        assert (table.get("a"), table.get("b"), len(table)) == (4, None, 2)


def test_a_table_follows_its_topic_and_tells_of_changes(any_kafka: Kafka, topic: str) -> None:
    seen: list[tuple[str, int | None]] = []
    with GlobalTable(any_kafka, topic, number, on_change=lambda k, v: seen.append((k, v))).start() as table:
        assert table.ready()
        put(any_kafka, topic, a=1)
        assert table.wait_for(lambda t: t.get("a") == 1, 10)
        put(any_kafka, topic, a=None)
        assert table.wait_for(lambda t: t.get("a") is None, 10)
    assert seen == [("a", 1), ("a", None)]


def test_a_table_can_be_read_without_a_thread(any_kafka: Kafka, topic: str) -> None:
    put(any_kafka, topic, a=1)
    with GlobalTable(any_kafka, topic, number) as table:
        assert table.ready()
        assert table.get("a") == 1
        assert not table.wait_for(lambda t: t.get("b") is not None, 0.2)
        put(any_kafka, topic, b=2)
        assert table.wait_for(lambda t: t.get("b") == 2, 10)


def test_an_empty_topic_is_ready_at_once(any_kafka: Kafka, topic: str) -> None:
    with GlobalTable(any_kafka, topic, number) as table:
        assert table.ready(10)
        assert table.items() == []


def test_a_filtered_table_forgets_rows_that_no_longer_fit(any_kafka: Kafka, topic: str) -> None:
    put(any_kafka, topic, a=1, b=20)
    with GlobalTable(any_kafka, topic, number, filter=lambda _, v: v < 10) as table:
        assert table.ready()
        assert table.items() == [("a", 1)]
        put(any_kafka, topic, a=30, b=2)
        assert table.wait_for(lambda t: t.items() == [("b", 2)], 10)


def test_a_broken_value_is_left_out_and_the_rest_goes_on(any_kafka: Kafka, topic: str) -> None:
    put(any_kafka, topic, a=1, b=2)
    put(any_kafka, topic, a="not a number")
    with GlobalTable(any_kafka, topic, number) as table:
        assert table.ready()
        assert dict(table.items()) == {"a": 1, "b": 2}
        assert table.broken == 1


def spiteful(value: bytes) -> int:
    return {b"1": 1, b"2": 2}[value]  # a KeyError for all others


def test_a_value_that_fails_in_any_way_costs_that_record_only(any_kafka: Kafka, topic: str) -> None:
    put(any_kafka, topic, a=1, evil="{}")
    with GlobalTable(any_kafka, topic, spiteful, filter=lambda k, _: 1 / len(k) > 0).start() as table:
        assert table.ready()
        assert (table.items(), table.broken) == ([("a", 1)], 1)
        put(any_kafka, topic, evil=None, a=2)
        assert table.wait_for(lambda t: t.get("a") == 2, 10)
        produce_all(any_kafka.producer(linger_ms=0), [Record(topic, b"1", b"")])
        assert table.wait_for(lambda t: t.broken == 2, 10), "the filter failed"


def test_a_table_that_is_no_longer_followed_says_so_to_everybody(any_kafka: Kafka, topic: str) -> None:
    def fail(key: str, value: int | None) -> None:
        raise OSError("nobody listens")

    put(any_kafka, topic, a=1)
    with GlobalTable(any_kafka, topic, number, on_change=fail).start() as table:
        with pytest.raises(TableLost, match="nobody listens"):
            table.wait_for(lambda _: False, 10)
        for ask in (table.ready, table.items, table.poll, table.check, lambda: table.get("a")):
            with pytest.raises(TableLost, match=f"{topic} is no longer followed"):
                ask()


def test_a_table_without_topic_says_so(any_kafka: Kafka, prefix: str) -> None:
    with pytest.raises(TopicsWrong, match="nowhere"):
        TopicReader(any_kafka, prefix + "nowhere", timeout=0.5)


def test_a_topic_is_read_to_its_end_or_followed(any_kafka: Kafka, topic: str) -> None:
    put(any_kafka, topic, **{f"k{n}": n for n in range(100)})
    assert sorted(int(i.value or b"") for i in read_topic(any_kafka, topic)) == list(range(100))
    if not any_kafka.embedded:  # which takes the last batch's first record for the last of all
        assert list(read_topic(any_kafka, topic, from_beginning=False)) == []
    stop, followed = threading.Event(), list[Input]()

    def follow() -> None:
        for record in read_topic(any_kafka, topic, until_end=False, stop=stop.is_set):
            followed.append(record)
            if record.key == b"last":
                stop.set()

    thread = threading.Thread(target=follow)
    thread.start()
    put(any_kafka, topic, last=0)
    thread.join(20)
    assert len(followed) == 101


@pytest.mark.apache
def test_what_a_transaction_aborted_is_not_in_the_table(
    apache_kafka: Kafka, prefix: str, wait_for: Callable[..., Any]
) -> None:
    topic, admin = prefix + "aborted", apache_kafka.admin()
    for future in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(20)
    producer = apache_kafka.transactional(prefix + "tx")
    producer.init_transactions(20)
    with GlobalTable(apache_kafka, topic, number).start() as table:
        for value, end in ((1, producer.commit_transaction), (2, producer.abort_transaction)):
            producer.begin_transaction()
            producer.produce(topic, b"%d" % value, b"k")
            producer.flush(10)
            end(10)
        put(apache_kafka, topic, after=3)
        assert table.wait_for(lambda t: t.get("after") == 3, 10)
        assert table.get("k") == 1
