"""The four rules of fenced processing, each beside a version without it, on Apache Kafka.

Every test runs the same scenario twice, side by side: with the real thing, which must be right, and with one
rule taken out, which must go wrong; so none of them can pass for want of a disturbance. Processes are
suspended at exact points.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka import TopicPartition
from fenced_harness import Field, until

from streams.clients import Kafka
from streams.fenced import Fenced, Output
from streams.fenced.transaction import Transactions

pytestmark = pytest.mark.apache

T = TypeVar("T")
Scenario = Callable[[Field, str], T]


def both(kafka: Kafka, directory: Path, scenario: Scenario[T], variant: str) -> tuple[T, T]:
    """What the scenario gives with the real thing and with the variant."""

    def run(which: str) -> T:
        with Field(kafka, directory) as made:
            return scenario(made, which)

    with ThreadPoolExecutor(2) as pool:
        real, broken = pool.map(run, ["real", variant])
    return real, broken


def test_a_zombie_cannot_commit_what_only_a_timer_caused(apache_kafka: Kafka, tmp_path: Path) -> None:
    def scenario(f: Field, variant: str) -> tuple[int, list[list[object]]]:
        zombie = f.worker("a", variant=variant, timer=0, stop_at="begun")
        until(zombie.suspended, "the first worker is suspended before its timer's records")
        successor = f.worker("b", variant=variant, timer=0)
        successor.wait_said("committed 1")
        zombie.wake()
        if variant == "real":
            zombie.exit_code()
        else:
            zombie.wait_said("committed 1")
        return zombie.process.poll() or 0, f.outputs()

    real, broken = both(apache_kafka, tmp_path, scenario, "timer without offsets")
    assert real == (3, [["timer", "b", 1]])
    assert sorted(broken[1], key=str) == [["timer", "a", 1], ["timer", "b", 1]]


def test_a_live_member_cannot_commit_for_a_partition_that_it_has_handed_over(
    apache_kafka: Kafka, tmp_path: Path
) -> None:
    def scenario(f: Field, variant: str) -> tuple[set[int], list[list[object]], dict[tuple[int, str], int]]:
        go = tmp_path / f"go-{f.prefix}"
        f.put((0, "k"), (1, "k"))
        first = f.worker("a", variant=variant, hold=str(go), settings={"commit_interval": 1.0})
        first.wait_said("held 2")
        second = f.worker("b", variant=variant)
        if variant == "real":
            until(lambda: f.members() == 2, "both are members")
        else:
            second.wait_said("committed 1")
        owned_meanwhile = second.owns()
        go.touch()
        first.wait_said("committed 2")
        until(second.owns, "the second worker has its share")
        assert (first.stop(), second.stop()) == (0, 0)
        return owned_meanwhile, sorted(f.outputs()), f.state()

    real, broken = both(apache_kafka, tmp_path, scenario, "polls before commit")
    assert real == (set(), [[0, 0, 1], [1, 0, 1]], {(0, "k"): 1, (1, "k"): 1})
    handed_over = broken[0]
    assert len(handed_over) == 1
    assert broken[1] == sorted([[0, 0, 1], [1, 0, 1], *([p, 0, 1] for p in handed_over)])


def test_a_process_without_a_member_id_does_not_commit_though_a_broker_would_let_it(
    apache_kafka: Kafka, tmp_path: Path
) -> None:
    with Field(apache_kafka, tmp_path) as f:
        owner = f.worker("a")
        until(lambda: len(owner.owns()) == 2, "another process owns all")
        stranger, producer = f.kafka.consumer(f.prefix), f.kafka.transactional(f.prefix + "-stranger")
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(f.prefix + ".out", b'"stranger"', partition=0)
        position = TopicPartition(f.prefix + ".in", 0, 0)
        producer.send_offsets_to_transaction([position], stranger.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
        assert f.outputs() == ["stranger"]
        guarded = Transactions(producer, stranger, f.prefix + ".in", 10, print)
        with pytest.raises(Fenced):
            guarded.commit([Output(f.prefix + ".out", None, b'"again"', partition=0)], {0: 0})
        stranger.close()
        assert f.outputs() == ["stranger"]


def test_all_records_are_on_the_broker_before_the_group_is_asked(apache_kafka: Kafka, tmp_path: Path) -> None:
    def scenario(f: Field, variant: str) -> int:
        f.put((0, "k"))
        worker = f.worker("a", variant=variant, stop_at="offsets sent", linger_ms=2000)
        until(worker.suspended, "the worker is suspended before its commit")
        reader = f.kafka.consumer("ends", read_committed=False)
        _, end = reader.get_watermark_offsets(TopicPartition(f.prefix + ".out", 0), timeout=10)
        reader.close()
        return end

    real, broken = both(apache_kafka, tmp_path, scenario, "offsets before flush")
    assert (real, broken) == (1, 0)


def test_a_new_owner_sees_the_transaction_that_was_open_when_it_came(apache_kafka: Kafka, tmp_path: Path) -> None:
    def scenario(f: Field, variant: str) -> dict[tuple[int, str], int]:
        f.put((0, "k"))
        first = f.worker("a", variant=variant, stop_at="offsets sent")
        until(first.suspended, "the first worker is suspended between offsets and commit")
        second = f.worker("b", variant=variant)
        until(lambda: " is given [0, 1]" in second.log.read_text(), "the second worker loads the state")
        if variant != "real":
            until(lambda: "state was read" in second.log.read_text(), "it has read the state already")
        f.put((0, "k"))  # for the second worker, as soon as it has loaded
        first.wake()
        first.wait_said("committed 1")
        until(lambda: len(f.outputs()) == 2, "both inputs came out")
        return f.state()

    real, broken = both(apache_kafka, tmp_path, scenario, "reads to committed end")
    assert real == {(0, "k"): 2}
    assert broken == {(0, "k"): 1}


def test_state_without_a_committed_offset_stops_the_process(apache_kafka: Kafka, tmp_path: Path) -> None:
    def scenario(f: Field, variant: str) -> list[list[object]]:
        f.put((0, "k"), (0, "k"))
        worker = f.worker("a", variant=variant)
        until(lambda: len(f.outputs()) == 2, "both inputs came out")
        assert worker.stop() == 0
        for future in f.admin.delete_consumer_groups([f.prefix]).values():
            future.result(20)
        again = f.worker("a", variant=variant)
        if variant == "real":
            assert again.exit_code() == 4
            assert "1 rows of state but no committed offset" in again.log.read_text()
        else:
            until(lambda: len(f.outputs()) == 4, "it starts over")
        return f.outputs()

    real, broken = both(apache_kafka, tmp_path, scenario, "starts over")
    assert real == [[0, 0, 1], [0, 1, 2]]
    assert broken == [[0, 0, 1], [0, 1, 2], [0, 0, 3], [0, 1, 4]]
