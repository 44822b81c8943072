"""A sender that dies for good: what it had on its wires is in doubt, and the others on its machine do all the rest."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from simulator.process import SimulatorProcess
from simulator.rules import Slow
from streams.clients import Kafka

N = 450
CONNECTIONS = 4


@pytest.mark.apache
def test_another_sender_of_the_machine_reads_what_the_dead_one_had_put_on_its_wires(
    apache_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    """A quick relay for a slow server: hundreds are intended ahead, and only a few of them are on a wire."""
    with SimulatorProcess(tmp_path / "provider", rules=[Slow(at="message", milliseconds=50)]) as provider, Pipeline(
        apache_kafka, prefix, tmp_path, provider, relay={"connections": CONNECTIONS}, partitions=1
    ) as p:  # fmt: skip
        p.start("planner-1", "gate-1", "sender-1")
        p.submit(request("c", N))
        eventually(lambda: len(p.mails()) > 50, 60, lambda: p.say("c", {"mail goes out"}))
        p.start("sender-2")
        p.signal("sender-1", signal.SIGKILL)
        assert len(p.mails()) < N
        done = p.wait("c", "completed", timeout=60)
        mailed = [r for m in p.mails() for r in m.recipients]
    assert len(mailed) == len(set(mailed))
    assert done.accepted + done.in_doubt == N
    assert done.in_doubt <= CONNECTIONS
