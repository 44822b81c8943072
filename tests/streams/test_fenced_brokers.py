"""Fenced processing on a broker that goes away in the middle, and what the embedded broker does not do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from fenced_harness import Field, until
from fenced_recorder import Recorder, Running
from test_fenced_chaos import ALLOWED_ENDS, Chaos, check

from streams.brokers.local import QUICK, LocalBroker
from streams.clients import Kafka
from streams.fenced import Effects, Fenced
from streams.fenced.times import seconds_since_boot


@pytest.mark.apache
@pytest.mark.parametrize("away", [12.0, pytest.param(60.0, marks=pytest.mark.chaos)])
def test_a_broker_that_was_killed_and_comes_back_costs_nothing(kafka_home: Path, tmp_path: Path, away: float) -> None:
    with (
        LocalBroker(tmp_path / "broker", home=kafka_home, jvm_options=QUICK) as broker,
        Field(broker.kafka, tmp_path, 4) as f,
    ):
        chaos = Chaos(f, workers=2, seed=1)
        until(lambda: all(w.owns() for w in chaos.slots.values()), "they share the partitions")
        chaos.send(2_000, 2.0)
        broker.kill()
        gone = time.monotonic()
        chaos.send(500, 1.0)  # these wait in the producer
        while time.monotonic() - gone < away:
            chaos.tend()
            time.sleep(0.02)
        broker.start()
        chaos.send(2_000, 2.0)
        chaos.producer.flush(60)
        chaos.settle()
        chaos.end()
        assert chaos.ends.keys() <= ALLOWED_ENDS
        assert check(f) == 4_500


def test_the_embedded_broker_loses_nothing_and_may_show_what_a_killed_process_left(
    embedded_kafka: Kafka, tmp_path: Path
) -> None:
    """It knows neither generations nor, once their producer has started again, aborted transactions. So after
    a kill a record may be there twice (with the same meaning: rule 7 makes that harmless), never be missing."""
    with Field(embedded_kafka, tmp_path, 4) as f:
        chaos = Chaos(f, workers=2, seed=1)
        until(lambda: any(w.owns() for w in chaos.slots.values()), "they have begun")
        chaos.send(1_000, 1.0)
        chaos.slots["w0"].process.kill()
        chaos.send(1_000, 3.0)
        chaos.producer.flush(30)
        chaos.settle()
        chaos.end()
        inputs = {(i.partition, i.offset) for i in f.read(".in")}
        outputs = [(p, offset) for p, offset, _ in f.outputs()]
        assert len(inputs) == 2_000
        assert set(outputs) == inputs


def test_what_a_transaction_tells_is_on_the_embedded_broker_before_its_rows(
    embedded_kafka: Kafka, tmp_path: Path
) -> None:
    """It shows both although the process is killed in between; the other way round nobody would ever tell it."""
    with Field(embedded_kafka, tmp_path, 1) as f:
        told = {"told": [f.prefix + ".out"]}
        f.put((0, "k"))
        killed = f.worker("a", settings=told, stop_at="told")
        until(killed.suspended, "what is told is on the broker")
        killed.kill()
        again = f.worker("a", settings=told)
        again.wait_said("committed 1")
        assert again.has_said("assigned 0 with 0")
        assert f.outputs() == [[0, 0, 1], [0, 0, 1]]
        assert f.state() == {(0, "k"): 1}


def test_a_transaction_that_the_embedded_broker_left_unfinished_does_not_hold_up_the_next_owner(
    embedded_kafka: Kafka, tmp_path: Path
) -> None:
    """Three transactions overlap, the first with the second and that one with the third, and all are committed.

    The broker finishes the first only once another comes in one of its partitions; and its process has died.
    """
    with Field(embedded_kafka, tmp_path, 4) as f:
        f.put((0, "k"), (0, "k"))
        state, out, shared = ".state0", ".out0", ".out1"
        written = {"a": (state, out), "b": (out, shared), "c": (shared,)}
        producers = {slot: f.kafka.transactional(f"{f.prefix}-{slot}") for slot in written}
        for slot, places in written.items():
            _open(producers[slot], f, places)
        member = f.kafka.consumer(f.prefix)
        position = [TopicPartition(f.prefix + ".in", 0, 1)]
        producers["a"].send_offsets_to_transaction(position, member.consumer_group_metadata(), 10)
        member.close()
        for producer in producers.values():
            producer.commit_transaction(10)
        assert f.state() == {}, "the broker has no such defect any more: the nudge can go"
        successor = f.worker("a")
        successor.wait_said("assigned 0 with 1")
        successor.wait_said("committed 1")
        assert f.state()[0, "k"] == 2


def _open(producer: Producer, f: Field, places: tuple[str, ...]) -> None:
    """A transaction that has written a record to each of these, and goes on."""
    producer.init_transactions(10)
    producer.begin_transaction()
    for place in places:
        producer.produce(f.prefix + place[:-1], b"1", b"k", partition=int(place[-1]))
    assert producer.flush(10) == 0


def test_who_did_nothing_for_longer_than_its_session_commits_nothing_more_to_the_embedded_broker(
    embedded_kafka: Kafka, tmp_path: Path
) -> None:
    """It does not look whose the partitions are; so a process that was suspended would go on beside its successor."""
    slept = 0.0
    with Field(embedded_kafka, tmp_path, 1) as f:
        role = Recorder()
        worker = Running(f, role, clock=lambda: seconds_since_boot() + slept)
        worker.thread.start()
        try:
            until(lambda: bool(role.owned), "it owns the partition")
            f.put((0, "a"))
            until(lambda: role.committed_at, "it works")
            slept = embedded_kafka.session_timeout_ms / 1000 + 1
            role.next = [Effects([(0, b"k", b"1")])]
            until(lambda: not worker.thread.is_alive(), "it leaves")
        finally:
            worker.stop()
        assert isinstance(worker.error, Fenced)
        assert f.state() == {}


def test_a_process_may_be_given_work_after_it_had_none_for_longer_than_its_session(
    embedded_kafka: Kafka, tmp_path: Path
) -> None:
    waited = 0.0
    with Field(embedded_kafka, tmp_path, 1) as f:
        role = Recorder()
        worker = Running(f, role, clock=lambda: seconds_since_boot() + waited)
        owner = f.worker("a")
        owner.wait_said("assigned 0")
        worker.thread.start()
        try:
            until(lambda: role.steps > 2, "it runs, and has nothing")
            assert not role.owned
            waited = 60.0
            owner.kill()
            until(lambda: bool(role.owned), "it is given the partition")
            f.put((0, "a"))
            until(lambda: bool(role.committed_at), "it works")
        finally:
            worker.stop()
        assert worker.error is None
