"""Fenced processing in the ordinary course: hand-over, rebalances, back-pressure, wake-ups, wrong topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.cimpl import NewPartitions, NewTopic
from fenced_harness import Field, until
from fenced_recorder import Recorder, running

from streams.clients import Kafka
from streams.fenced import (
    Effects,
    EffectsError,
    OperatorNeeded,
    Output,
    Outputs,
)

pytestmark = pytest.mark.apache


@pytest.fixture
def field(apache_kafka: Kafka, tmp_path: Path) -> Iterator[Field]:
    with Field(apache_kafka, tmp_path) as made:
        yield made


def test_a_planned_stop_hands_over_within_two_seconds(field: Field) -> None:
    first = field.worker("a")
    until(lambda: len(first.owns()) == 2, "the first worker owns all")
    field.put((0, "k"), (1, "k"))
    until(lambda: len(field.outputs()) == 2, "both inputs came out")
    second = field.worker("b")
    until(lambda: len(first.owns()) == len(second.owns()) == 1, "they share")
    field.put((0, "k"), (1, "k"))
    first.process.terminate()
    asked = time.time()
    assert first.exit_code() == 0
    until(lambda: len(second.owns()) == 2, "the second worker owns all")
    gained = max(second.time_of("assigned 0"), second.time_of("assigned 1"))
    assert gained - asked < 2
    until(lambda: len(field.outputs()) == 4, "all inputs came out")
    assert sorted(field.outputs()) == [[0, 0, 1], [0, 1, 2], [1, 0, 1], [1, 1, 2]]
    assert field.state() == {(0, "k"): 2, (1, "k"): 2}


@pytest.mark.parametrize("bulk", [False, True])
def test_a_rebalance_in_the_middle_of_a_transaction_costs_a_live_member_nothing(field: Field, bulk: bool) -> None:
    field.put((0, "k"))
    first = field.worker("a", await_rebalance=True, bulk=bulk)
    first.wait_said("reading")
    second = field.worker("b", bulk=bulk)
    first.wait_said("committed 1")
    assert "generation changed" in first.log.read_text()
    until(second.owns, "the second worker has its share")
    field.put((0, "k"), (1, "k"))
    until(lambda: len(field.outputs()) == 3, "all inputs came out")
    assert (first.stop(), second.stop()) == (0, 0)
    assert sorted(field.outputs()) == [[0, 0, 1], [0, 1, 2], [1, 0, 1]]


def test_work_that_is_busy_is_finished_before_a_partition_is_handed_over(field: Field) -> None:
    role = Recorder()
    role.busy_for = 5
    with running(field, role) as r:
        until(lambda: len(role.owned) == 2, "it owns both")
    assert r.error is None
    assert role.busy_for <= 0
    assert role.calls[-4:] == ["revoking 0", "revoking 1", "lost 0", "lost 1"]


def test_a_hand_over_waits_no_longer_than_the_drain_deadline(field: Field) -> None:
    role = Recorder()
    role.busy_for = 10**9
    with running(field, role, drain=0.5):
        until(lambda: len(role.owned) == 2, "it owns both")
        began = time.monotonic()
    assert 0.5 <= time.monotonic() - began < 3


def test_a_full_role_is_given_nothing_and_still_asked_and_then_loses_nothing(field: Field) -> None:
    role = Recorder()
    with running(field, role):
        until(lambda: len(role.owned) == 2, "it owns both")
        field.put(*[(n % 2, "before") for n in range(10)])
        until(lambda: len(role.seen) == 10, "it sees all")
        role.full = True
        steps = role.steps
        until(lambda: role.steps > steps + 3, "it is asked on")
        field.put(*[(n % 2, "while full") for n in range(10)])
        steps = role.steps
        until(lambda: role.steps > steps + 10, "it is asked on")
        assert len(role.seen) == 10
        role.full = False
        until(lambda: len(role.seen) == 20, "it sees the rest")
    assert sorted((i.partition, i.offset) for i in role.seen) == [(p, o) for p in (0, 1) for o in range(10)]


def test_a_wake_up_is_followed_by_a_commit_within_a_few_tens_of_milliseconds(field: Field) -> None:
    role, waits = Recorder(), []
    with running(field, role, poll=5.0) as r:
        until(lambda: len(role.owned) == 2, "it owns both")
        for n in range(20):
            time.sleep(0.05)  # idle, so that the group commit's interval does not count
            role.next = [Effects(state=[(0, b"k", b"%d" % n)])]
            asked = time.monotonic()
            r.processor.wake()
            until(lambda n=n: len(role.committed_at) == n + 1, "committed")  # type: ignore[misc]
            waits.append(role.committed_at[-1] - asked)
    assert sorted(waits)[len(waits) // 2] < 0.06, waits


def test_an_idle_process_keeps_knowing_that_it_is_a_member(field: Field) -> None:
    with running(field, Recorder()) as r:
        assert r.processor.last_commit_age() == float("inf")
        until(lambda: r.processor.last_commit_age() < 1, "its genesis commit")
        first = time.monotonic() - r.processor.last_commit_age()
        until(lambda: time.monotonic() - r.processor.last_commit_age() > first + 1.5, "it is confirmed again", 5)
        assert r.processor.last_commit_age() < r.processor.session_timeout / 2


def test_a_process_whose_steps_have_nothing_to_commit_keeps_knowing_that_it_is_a_member(field: Field) -> None:
    role = Recorder()
    role.next = [Effects(token=n) for n in range(10_000)]
    with running(field, role, poll=0.05) as r:
        until(lambda: r.processor.last_commit_age() < 1, "its genesis commit")
        first = time.monotonic() - r.processor.last_commit_age()
        until(lambda: time.monotonic() - r.processor.last_commit_age() > first + 1.5, "it is confirmed again", 30)
        assert role.next


def test_what_has_no_haste_gathers_and_what_has_takes_it_along(field: Field) -> None:
    role = Recorder()
    with running(field, role, commit_interval=0.001, gather=60, poll=60, drain=5) as r:
        until(lambda: role.steps > 0 and r.processor.last_commit_age() < 60, "its first step and its genesis commit")
        before = role.steps
        r.processor.wake(soon=False)
        threading.Event().wait(0.5)
        assert role.steps == before
        r.processor.wake()
        until(lambda: role.steps > before, "the step that both asked for")


def test_offsets_that_the_role_holds_back_are_read_again_after_a_restart(field: Field) -> None:
    field.put((0, "a"), (0, "b"), (0, "c"))
    role = Recorder()
    role.needs_inputs = True
    role.next = [Effects(state=[(0, b"k", b"1")], consumed={0: 1})]
    with running(field, role, commit_interval=0.5):
        until(lambda: "committed None" in role.calls, "it has committed")
    again = Recorder()
    with running(field, again):
        until(lambda: len(again.seen) == 2, "the rest is read again")
        assert again.owned[0] == {b"k": b"1"}
    assert [i.key for i in again.seen] == [b"b", b"c"]


def test_state_rows_that_were_deleted_are_not_loaded(field: Field) -> None:
    role = Recorder()
    role.next = [
        Effects(state=[(0, b"gone", b"1"), (0, b"kept", b"1"), (1, b"elsewhere", b"1")]),
        Effects(state=[(0, b"gone", None), (0, b"kept", b"2")]),
    ]
    field.put((0, "a"))
    with running(field, role):
        until(lambda: role.calls.count("committed None") >= 2, "both transactions")
    again = Recorder()
    with running(field, again):
        until(lambda: len(again.owned) == 2, "it owns both")
        assert again.owned == {0: {b"kept": b"2"}, 1: {b"elsewhere": b"1"}}


def test_effects_for_a_partition_that_is_not_ours_stop_the_process(field: Field) -> None:
    role = Recorder()
    role.next = [Effects(outputs=[(7, Output("anywhere", b"k", b"v"))])]
    with running(field, role) as r:
        field.put((0, "a"))
        until(lambda: r.error is not None, "it stops")
    assert isinstance(r.error, EffectsError)


def test_an_output_that_cannot_be_written_stops_the_process_and_commits_nothing(field: Field) -> None:
    role = Recorder()
    role.next = [Effects(state=[(0, b"k", b"v")], outputs=[(0, Output(field.prefix + ".out", b"k", b"x" * 1_500_000))])]
    field.put((0, "a"))
    with running(field, role) as r:
        until(lambda: r.error is not None, "it stops", 60)
    assert field.state() == {}
    again = Recorder()
    with running(field, again):
        until(lambda: len(again.seen) == 1, "the input is read again")


def test_of_records_that_are_alike_all_are_committed_or_none(field: Field) -> None:
    alike = Outputs(field.prefix + ".out", b"21", [b"%d" % n for n in range(500)], (("h", b"v"),))
    too_large = alike._replace(values=[b"1001", b"x" * 1_500_000, b"1002"])
    role = Recorder()
    role.next = [Effects(bulk=[(0, alike), (1, alike._replace(key=None, partition=1, values=[b"1000"]))])]
    role.needs_inputs = True
    field.put((0, "a"))
    with running(field, role) as r:
        until(lambda: "committed None" in role.calls, "it has committed")
        role.next = [Effects(state=[(0, b"k", b"v")], bulk=[(0, too_large)])]
        field.put((0, "b"))
        until(lambda: r.error is not None, "it stops", 60)
    found = list(field.read(".out"))
    place = (-973932308 & 0x7FFFFFFF) % 2  # of "21": as in the test of outputs without partition
    first = [i for i in found if i.value != b"1000"]
    assert [i.value for i in first] == list(alike.values)
    assert {(i.key, i.partition, i.headers) for i in first} == {(b"21", place, (("h", b"v"),))}
    assert [(i.key, i.partition) for i in found if i.value == b"1000"] == [(None, 1)]
    assert field.state() == {}


def test_inputs_deleted_before_they_were_processed_stop_the_process(field: Field) -> None:
    field.put((0, "a"))
    role = Recorder()
    with running(field, role):
        until(lambda: "committed None" in role.calls, "it has committed")
    field.put((0, "b"), (0, "c"))
    place = TopicPartition(field.prefix + ".in", 0, 2)
    for future in field.admin.delete_records([place]).values():
        future.result(20)
    with running(field, Recorder()) as r:
        until(lambda: r.error is not None, "it stops")
    assert isinstance(r.error, OperatorNeeded)
    assert "offsets 1 to 1 were deleted" in str(r.error)


def test_state_that_has_vanished_stops_the_process(field: Field) -> None:
    role = Recorder()
    role.next = [Effects(state=[(0, b"k", b"v")])]
    with running(field, role):
        until(lambda: "committed None" in role.calls, "it has committed")
    unknowing = Recorder()  # commits offsets alone; what is known of the state stays with them
    with running(field, unknowing):
        until(lambda: len(unknowing.owned) == 2, "it owns both")
        field.put((0, "a"))
        until(lambda: "committed None" in unknowing.calls, "it has committed")
    state = field.prefix + ".state"
    for future in field.admin.delete_topics([state]).values():
        future.result(20)
    until(lambda: state not in field.admin.list_topics(timeout=5).topics, "the state topic has gone")
    for future in field.admin.create_topics([NewTopic(state, 2, 1)]).values():
        future.result(20)
    with running(field, Recorder()) as r:
        until(lambda: r.error is not None, "it stops")
    assert isinstance(r.error, OperatorNeeded)
    assert "had state" in str(r.error)


def test_topics_with_different_partition_counts_are_refused(field: Field) -> None:
    for future in field.admin.create_partitions([NewPartitions(field.prefix + ".state", 3)]).values():
        future.result(20)
    with running(field, Recorder()) as r:
        until(lambda: r.error is not None, "it stops")
    assert isinstance(r.error, OperatorNeeded)
    assert "2 partitions and" in str(r.error)


def test_it_waits_for_topics_and_can_be_stopped_meanwhile(apache_kafka: Kafka, tmp_path: Path) -> None:
    with Field(apache_kafka, tmp_path) as f:
        f.prefix += "-nowhere"
        with running(f, Recorder()) as r:
            r.thread.join(1.5)
            assert r.thread.is_alive()
        assert r.error is None


def test_outputs_without_partition_go_where_java_clients_put_their_key(field: Field) -> None:
    role = Recorder()
    role.next = [
        Effects(outputs=[(0, Output(field.prefix + ".out", k, b"0", (("h", b"v"),))) for k in (b"21", b"foobar")])
    ]
    with running(field, role):
        until(lambda: "committed None" in role.calls, "it has committed")
    # murmur2 of org.apache.kafka.common.utils.Utils: "21" -> -973932308, "foobar" -> -790332482
    found = {i.key: (i.partition, i.headers) for i in field.read(".out")}
    wanted = {b"21": (-973932308 & 0x7FFFFFFF) % 2, b"foobar": (-790332482 & 0x7FFFFFFF) % 2}
    assert found == {k: (p, (("h", b"v"),)) for k, p in wanted.items()}
