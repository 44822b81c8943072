"""State and outputs exactly once, while processes are killed, suspended, stopped and started at random.

Every run is checked against the input topic: each input has exactly one output, with the count that it must
have, and the state is the sum. The short form is part of `make test`; the long one, marked `chaos`, is as long
as `CHAOS_ROUNDS` says.
"""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from fenced_harness import Field, Worker, until

from streams.clients import Kafka

pytestmark = pytest.mark.apache

PARTITIONS = 8
KEYS = 97
ALLOWED_ENDS = {0, 3, -signal.SIGKILL, -signal.SIGTERM}
"""A worker that is told to stop before it has begun anything ends by the signal itself."""


class Chaos:
    """Workers in slots of their own; a slot whose worker has ended gets a new one, as by a supervisor."""

    def __init__(self, field: Field, workers: int, seed: int) -> None:
        self.field = field
        self.random = random.Random(seed)
        self.slots = {f"w{n}": self._start(f"w{n}") for n in range(workers)}
        self.asleep: dict[str, float] = {}
        self.ends: collections.Counter[int] = collections.Counter()
        self.done: collections.Counter[str] = collections.Counter()
        self.producer = field.kafka.producer(linger_ms=5)
        self.sent = 0

    def run(self, inputs: int, rounds: int, pause: tuple[float, float], asleep: tuple[float, float]) -> None:
        per_round = inputs // rounds
        while self.sent < inputs or sum(self.done.values()) < rounds:
            self._disturb(asleep)
            until_next = time.monotonic() + self.random.uniform(*pause)
            self.send(min(per_round, inputs - self.sent), until_next - time.monotonic())
            while time.monotonic() < until_next:
                self.tend()
                time.sleep(0.02)
        for slot in list(self.asleep):
            self._wake(slot)
        self.producer.flush(30)

    def settle(self) -> None:
        """Wait until every input has an output; the dead go on being replaced meanwhile."""

        def complete() -> bool:
            self.tend()
            ends = self.field.kafka.consumer(self.field.prefix, read_committed=False)  # waits for no transaction
            try:
                return sum(max(0, tp.offset) for tp in ends.committed(self.field.inputs(), timeout=10)) == self.sent
            finally:
                ends.close()

        until(complete, "all inputs are committed", 90)

    def end(self) -> None:
        """A planned stop of all; the last words of those that died before are known by then."""
        for worker in self.slots.values():
            worker.process.terminate()
        for worker in self.slots.values():
            self.ends[worker.exit_code()] += 1

    def _start(self, slot: str) -> Worker:
        return self.field.worker(slot)

    def send(self, count: int, seconds: float) -> None:
        """Produce so many inputs over about so long."""
        step = max(0.0, seconds) / (count // 50 + 2)
        for n in range(count):
            self.producer.produce(self.field.prefix + ".in", b"x" * 100, b"k%d" % (self.sent % KEYS))
            self.sent += 1
            if n % 50 == 0:
                self.producer.poll(0)
                self.tend()
                time.sleep(step)

    def tend(self) -> None:
        """Wake who has slept enough, replace who has ended."""
        for slot, until_then in list(self.asleep.items()):
            if time.monotonic() > until_then:
                self._wake(slot)
        for slot, worker in self.slots.items():
            if slot not in self.asleep and worker.ended:
                self.ends[worker.exit_code()] += 1
                self.slots[slot] = self._start(slot)

    def _wake(self, slot: str) -> None:
        del self.asleep[slot]
        self.slots[slot].wake()

    def _disturb(self, asleep: tuple[float, float]) -> None:
        slot = self.random.choice([s for s in self.slots if s not in self.asleep])
        choice = self.random.random()
        worker = self.slots[slot]
        if choice < 0.3 and len(self.asleep) < len(self.slots) - 1:
            self.done["suspended"] += 1
            worker.process.send_signal(signal.SIGSTOP)
            self.asleep[slot] = time.monotonic() + self.random.uniform(*asleep)
        elif choice < 0.85:
            self.done["killed"] += 1
            worker.process.kill()
        else:
            self.done["stopped"] += 1
            worker.process.terminate()


def check(f: Field) -> int:
    """Everything against the input topic; how many inputs that was."""
    counts: collections.Counter[tuple[int, bytes]] = collections.Counter()
    expected: dict[tuple[int, int], int] = {}
    for i in f.read(".in"):
        counts[i.partition, i.key or b""] += 1
        expected[i.partition, i.offset] = counts[i.partition, i.key or b""]
    outputs = [json.loads(i.value or b"") for i in f.read(".out")]
    seen = {(p, offset): n for p, offset, n in outputs}
    assert len(outputs) == len(seen), f"{len(outputs) - len(seen)} outputs came twice"
    assert seen == expected, f"{len(expected.keys() - seen.keys())} outputs are missing"
    assert f.state() == {(p, k.decode()): n for (p, k), n in counts.items()}
    return len(expected)


def disturbed(kafka: Kafka, directory: Path, inputs: int, rounds: int, seed: int) -> Chaos:
    with Field(kafka, directory, PARTITIONS) as f:
        chaos = Chaos(f, workers=3, seed=seed)
        until(lambda: any(w.owns() for w in chaos.slots.values()), "they have begun")
        chaos.run(inputs, rounds, pause=(0.2, 2.2), asleep=(2, 14))
        chaos.settle()
        chaos.end()
        print(f"seed {seed}: disturbances {dict(chaos.done)}, exit codes {dict(chaos.ends)}")
        assert check(f) == inputs
        return chaos


def test_killed_suspended_and_rebalanced_workers_do_everything_exactly_once(
    apache_kafka: Kafka, tmp_path: Path
) -> None:
    chaos = disturbed(apache_kafka, tmp_path, inputs=20_000, rounds=20, seed=20260202)
    assert chaos.ends.keys() <= ALLOWED_ENDS
    assert chaos.done["killed"] >= 5
    assert chaos.done["suspended"] >= 3


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_the_same_for_long(apache_kafka: Kafka, tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 10**9))
    rounds = int(os.environ.get("CHAOS_ROUNDS", "150"))
    chaos = disturbed(apache_kafka, tmp_path, inputs=2_000 * rounds, rounds=rounds, seed=seed)
    assert chaos.ends.keys() <= ALLOWED_ENDS
