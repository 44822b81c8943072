"""Faust apps on Apache Kafka: nothing lost, nothing done twice, a poison record stops nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.cimpl import NewTopic
from waiting import eventually

from streams.clients import Kafka, Record, produce_all
from streams.faust_group import ensure_changelog, is_genesis, prepare_group
from streams.fenced.model import Input
from streams.table import read_topic

SCRIPT = Path(__file__).with_name("faust_worker.py")
PARTITIONS = 4


class Field:
    """Topics `in`, `out` and `in.dlq` under a prefix, and worker processes."""

    def __init__(self, kafka: Kafka, prefix: str, data: Path) -> None:
        self.kafka, self.prefix, self.data = kafka, prefix, data
        self.workers: list[subprocess.Popen[bytes]] = []
        admin = kafka.admin()
        for future in admin.create_topics(
            [NewTopic(prefix + t, PARTITIONS, 1) for t in ("in", "out", "in.dlq")]
        ).values():
            future.result(30)

    def worker(self, slot: str) -> subprocess.Popen[bytes]:
        options = {"bootstrap": self.kafka.bootstrap, "prefix": self.prefix, "slot": slot, "data": str(self.data)}
        env = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
        with (self.data / f"{slot}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, str(SCRIPT), json.dumps(options)], stderr=log, env=env)
        self.workers.append(process)
        return process

    def log(self, slot: str) -> str:
        return (self.data / f"{slot}.log").read_text()

    def put(self, first: int, last: int, value: bytes = b"x") -> None:
        records = [Record(f"{self.prefix}in", value, f"k{i}".encode()) for i in range(first, last)]
        produce_all(self.kafka.producer(), records)

    def outs(self) -> Counter[str]:
        """How often each key came out."""
        return Counter((r.key or b"").decode() for r in read_topic(self.kafka, f"{self.prefix}out"))

    def rows(self) -> dict[str, list[bytes]]:
        """What was written for each key to the table's changelog."""
        found: dict[str, list[bytes]] = {}
        for r in read_topic(self.kafka, f"{self.prefix}rampa-faust-seen-changelog"):
            found.setdefault((r.key or b"").decode(), []).append(r.value or b"")
        return found

    def dead(self) -> list[Input]:
        return list(read_topic(self.kafka, f"{self.prefix}in.dlq"))

    def close(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)


@pytest.fixture
def field(apache_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[Field]:
    field = Field(apache_kafka, prefix, tmp_path)
    yield field
    field.close()


def keys(n: int) -> set[str]:
    return {f"k{i}" for i in range(n)}


@pytest.mark.apache
def test_two_workers_started_a_second_apart_on_a_backlog_lose_nothing_and_do_nothing_twice(field: Field) -> None:
    field.put(0, 6000)
    field.worker("a")
    eventually(lambda: "Joined group" in field.log("a"), 30, "the first has joined")
    started = time.monotonic()
    eventually(lambda: time.monotonic() - started > 1, 2, "a second has gone by")
    field.worker("b")
    eventually(lambda: field.outs().keys() == keys(6000), 60, lambda: f"{len(field.outs())} of 6000 came out", 0.5)
    assert set(field.outs().values()) == {1}
    assert all(len(written) == 1 for written in field.rows().values())


@pytest.mark.apache
def test_workers_that_are_killed_and_suspended_lose_nothing_and_decide_each_key_once(field: Field) -> None:
    field.put(0, 4000)
    first, second = field.worker("a"), field.worker("b")
    eventually(lambda: len(field.outs()) > 500, 40, "they work")
    first.kill()
    first.wait(10)
    field.put(4000, 6000)
    field.worker("a")
    eventually(lambda: len(field.outs()) > 2500, 40, "they go on")
    second.send_signal(signal.SIGSTOP)
    field.put(6000, 8000)
    eventually(lambda: len(field.outs()) > 7000, 60, "the other takes over", 0.3)
    second.send_signal(signal.SIGCONT)
    field.put(8000, 9000)
    eventually(lambda: field.outs().keys() == keys(9000), 60, lambda: f"{len(field.outs())} of 9000 came out", 0.5)
    twice = {key for key, n in field.outs().items() if n > 1}
    assert len(twice) <= 3, "at most what was under way when a process was stopped comes out again"
    for key, written in field.rows().items():
        places = {value.split()[1:3][1] for value in written}
        assert len(places) == 1, f"{key} was decided on two records: {written}"


@pytest.mark.apache
def test_poison_and_refused_records_are_dead_letters_and_the_partition_goes_on(field: Field) -> None:
    field.worker("a")
    field.put(0, 1, b"poison")
    field.put(1, 2, b"refuse")
    field.put(2, 40)
    eventually(lambda: field.outs().keys() == keys(40) - {"k0", "k1"}, 30, "all others came out", 0.2)
    letters = {(r.value or b"").decode(): dict(r.headers) for r in field.dead()}
    assert letters["poison"]["attempts"] == b"3"
    assert b"this one always fails" in letters["poison"]["error"]
    assert letters["refuse"] | {"attempts": b"1", "why": b"a test"} == letters["refuse"]
    assert letters["refuse"]["topic"].decode() == f"{field.prefix}in"


@pytest.mark.apache
def test_records_that_stand_at_offset_0_before_the_first_start_are_taken(field: Field) -> None:
    for partition in range(PARTITIONS):
        record = Record(f"{field.prefix}in", b"x", f"k{partition}".encode(), partition)
        assert produce_all(field.kafka.producer(), [record])[0].offset == 0
    field.worker("a")
    eventually(lambda: field.outs().keys() == keys(PARTITIONS), 30, "all came out", 0.2)


@pytest.mark.apache
def test_records_of_an_aborted_transaction_are_not_read(field: Field) -> None:
    field.worker("a")
    producer = field.kafka.transactional(f"{field.prefix}tx")
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(f"{field.prefix}in", value=b"x", key=b"aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    field.put(0, 10)
    eventually(lambda: field.outs().keys() >= keys(10), 30, "what was committed came out", 0.2)
    assert field.outs().keys() == keys(10)


@pytest.mark.apache
def test_a_worker_ends_within_three_seconds_of_sigterm_and_goes_on_where_it_was(field: Field) -> None:
    worker = field.worker("a")
    field.put(0, 3000)
    eventually(lambda: len(field.outs()) > 300, 30, "it works")
    started = time.monotonic()
    worker.terminate()
    assert worker.wait(10) == 0
    assert time.monotonic() - started < 3
    field.worker("a")
    eventually(lambda: field.outs().keys() == keys(3000), 40, "the next goes on", 0.3)
    assert set(field.outs().values()) == {1}


def test_a_group_begins_behind_a_genesis_record_and_never_skips_anybodys(any_kafka: Kafka, prefix: str) -> None:
    admin = any_kafka.admin()
    for future in admin.create_topics([NewTopic(f"{prefix}in", 3, 1)]).values():
        future.result(30)
    produce_all(any_kafka.producer(), [Record(f"{prefix}in", b"first", partition=1)])
    prepare_group(any_kafka, f"{prefix}g", [f"{prefix}in"])
    assert _offsets(any_kafka, prefix) == [1, 0, 1]
    produce_all(any_kafka.producer(), [Record(f"{prefix}in", b"later", partition=p) for p in range(3)])
    prepare_group(any_kafka, f"{prefix}g", [f"{prefix}in"])
    assert _offsets(any_kafka, prefix) == [1, 0, 1], "doing it again changes nothing"
    records = list(read_topic(any_kafka, f"{prefix}in"))
    assert sum(is_genesis(r.value, r.headers) for r in records) == 2
    assert not any(is_genesis(r.value, r.headers) for r in records if r.partition == 1)


def _offsets(kafka: Kafka, prefix: str) -> list[int]:
    consumer = kafka.consumer(f"{prefix}g")
    found = consumer.committed([TopicPartition(f"{prefix}in", p) for p in range(3)], timeout=10)
    consumer.close()
    return [tp.offset for tp in found]


def test_a_changelog_is_compacted_and_created_once(any_kafka: Kafka, prefix: str) -> None:
    for _ in range(2):
        ensure_changelog(any_kafka, f"{prefix}rows", 3)
    assert len(any_kafka.admin().list_topics(timeout=10).topics[f"{prefix}rows"].partitions) == 3
