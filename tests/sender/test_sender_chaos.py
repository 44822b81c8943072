"""Three senders, killed, suspended and stopped at random while permits are given out and repeated."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sending import Gate, people
from test_sender_crash import Senders

from schemas.batch import Range
from schemas.chunk import Chunk, ChunkResult
from simulator.process import SimulatorProcess
from simulator.rules import Slow
from streams.clients import Kafka

pytestmark = [pytest.mark.apache, pytest.mark.chaos]

BATCHES = 24
SIZE = 300
SECONDS = 120.0
REPEAT = 5.0


class PlayedGate:
    """One permit a batch at a time, repeated while it has no final result; what is unsent is given out again."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.open: dict[int, Chunk] = {}
        self.asked: dict[str, float] = {}
        self.done: dict[int, ChunkResult] = {}
        for number in range(1, BATCHES + 1):
            gate.plan(people(SIZE, f"b{number}.example"), number)

    def issue(self, number: int, ranges: tuple[Range, ...]) -> None:
        chunk = self.gate.permit(ranges, number, rate=8.0, connections=2)
        self.open[number], self.asked[chunk.permit_id] = chunk, time.monotonic()

    def turn(self) -> None:
        self.gate.hear()
        finals = {r.permit_id: r for r in self.gate.results if r.final}
        for number, chunk in list(self.open.items()):
            result = finals.get(chunk.permit_id)
            if result is None:
                if time.monotonic() - self.asked[chunk.permit_id] > REPEAT:
                    self.asked[chunk.permit_id] = time.monotonic()
                    self.gate.send(chunk)
                continue
            del self.open[number]
            if result.unsent:
                self.issue(number, result.unsent)
            else:
                self.done[number] = result


def disturb(senders: Senders, suspended: dict[str, float], chance: random.Random) -> None:
    now = time.monotonic()
    for slot, until in list(suspended.items()):
        if now > until:
            senders.signal(slot, signal.SIGCONT)
            del suspended[slot]
    for slot, running in list(senders.running.items()):
        if running.poll() is not None:
            assert running.returncode in {0, 3, -signal.SIGKILL, -signal.SIGTERM}, senders.log(slot)[-3000:]
            senders.start(slot)
    slot = chance.choice(sorted(senders.running))
    if slot in suspended:
        return
    kind = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
    senders.signal(slot, kind)
    if kind == signal.SIGSTOP:
        suspended[slot] = now + chance.uniform(2, 14)


def test_under_random_deaths_nobody_is_mailed_twice_and_nobody_is_forgotten(
    apache_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    chance = random.Random(20260202)
    rules = [Slow(at="message", milliseconds=20)]
    with SimulatorProcess(tmp_path / "mailbox", rules=rules) as mailbox, Gate(apache_kafka, prefix, 8) as gate:
        senders, played = Senders(apache_kafka, prefix, tmp_path, mailbox, gate), PlayedGate(gate)
        suspended: dict[str, float] = {}
        try:
            for slot in ("s1", "s2", "s3"):
                senders.start(slot)
            for number in range(1, BATCHES + 1):
                played.issue(number, ((0, SIZE),))
            end, next_ = time.monotonic() + SECONDS, time.monotonic() + 8
            while time.monotonic() < end or suspended:
                played.turn()
                if time.monotonic() > next_:
                    next_ = time.monotonic() + chance.uniform(0.5, 6)
                    disturb(senders, suspended, chance)
            deadline = time.monotonic() + 240
            while played.open and time.monotonic() < deadline:
                played.turn()
                for slot, running in list(senders.running.items()):
                    if running.poll() is not None:
                        senders.start(slot)
            assert not played.open
        finally:
            for one in senders.running.values():
                if one.poll() is None:
                    one.send_signal(signal.SIGCONT)
                    one.kill()
                    one.wait()
        mailed = senders.mailed()
        assert {a: n for a, n in mailed.items() if n > 1} == {}
        doubted = 0
        for number, result in played.done.items():
            doubt = {i for start, stop in result.in_doubt for i in range(start, stop)}
            doubted += len(doubt)
            assert result.accepted + len(doubt) == SIZE
            assert {f"p{i}@b{number}.example" for i in range(SIZE) if i not in doubt} <= set(mailed)
        gate.until(BATCHES * SIZE)
        assert gate.kinds() == Counter({"accepted": BATCHES * SIZE - doubted, "in_doubt": doubted})
        print(f"{BATCHES * SIZE} mails, {doubted} in doubt, {len(gate.results)} reports")
