"""Fenced processing on a broker that goes away in the middle, and what the embedded broker does not do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fenced_harness import Field, until
from test_fenced_chaos import ALLOWED_ENDS, Chaos, check

from streams.brokers.local import QUICK, LocalBroker
from streams.clients import Kafka


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
