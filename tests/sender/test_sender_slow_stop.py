"""Real sender processes that are stopped, or give partitions up, while the server takes longer to reply than the group
waits for a silent member."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sender_processes import SenderProcesses
from sending import Gate, people
from waiting import eventually

from simulator.process import SimulatorProcess
from simulator.rules import Slow
from streams.clients import Kafka

SESSION = Kafka("").session_timeout_ms / 1000


@pytest.fixture
def home(any_kafka: Kafka, prefix: str, tmp_path: Path) -> tuple[Kafka, str, Path]:
    return any_kafka, prefix, tmp_path


@contextmanager
def slow_for(seconds: float, first: int, home: tuple[Kafka, str, Path]) -> Iterator[SenderProcesses]:
    """Senders, and a provider that takes the first messages at once and replies so much later."""
    kafka, prefix, directory = home
    rule = Slow(at="message", milliseconds=seconds * 1000, limit=first)
    with (
        SimulatorProcess(directory / "mailbox", rules=[rule]) as mailbox,
        Gate(kafka, prefix) as gate,
        SenderProcesses(kafka, prefix, directory, mailbox, gate) as these,
    ):
        yield these


def test_a_planned_stop_waits_for_replies_that_take_longer_than_a_session(home: tuple[Kafka, str, Path]) -> None:
    with slow_for(SESSION + 3, 3, home) as senders:
        senders.gate.plan(people(40))
        senders.start("s1")
        chunk = senders.gate.permit(connections=3)
        senders.until_mailed(3)
        senders.signal("s1", signal.SIGTERM)
        assert senders.running["s1"].wait(60) == 0, senders.log("s1")[-2000:]
        assert "messages are on the wire; waiting" in senders.log("s1")
        before = senders.mailed().total()
        assert before < 40
        senders.gate.hear()
        assert senders.gate.results[-1].accepted == before
        senders.start("s2")
        result = senders.gate.final(chunk, 90)
        assert (result.accepted, result.in_doubt, result.failed, result.unsent) == (40, (), (), ())
        assert set(senders.mailed().values()) == {1}
        assert senders.mailed().total() == 40


def test_a_rolling_restart_while_replies_are_slow_leaves_nobody_in_doubt(home: tuple[Kafka, str, Path]) -> None:
    """The new process comes first, so the old one gives partitions up while it works, and the others when it stops."""
    with slow_for(2 * SESSION, 6, home) as senders:
        permits = []
        for number in range(1, 7):  # on several partitions, so that some of them move
            senders.gate.plan(people(20, f"b{number}.example"), number)
            permits.append(senders.gate.permit(number=number, connections=1))
        senders.start("s1")
        senders.until_mailed(6)
        senders.start("s2")
        eventually(lambda: "owns [" in senders.log("s2"), 60, lambda: senders.log("s1")[-2000:])
        senders.signal("s1", signal.SIGTERM)
        assert senders.running["s1"].wait(60) == 0, senders.log("s1")[-2000:]
        for chunk in permits:
            result = senders.gate.final(chunk, 90)
            assert (result.accepted, result.in_doubt, result.failed, result.unsent) == (20, (), (), ())
        assert set(senders.mailed().values()) == {1}
        assert senders.mailed().total() == 6 * 20
