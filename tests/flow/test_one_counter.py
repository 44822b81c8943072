"""Ten campaigns of one domain share one counter a local day, whatever happens to the processes."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from planner.resolve import resolve_strategy
from schemas.strategy import StrategySpec
from simulator.process import SimulatorProcess
from streams.clients import Kafka
from streams.clock import REAL

SPEED = 8640.0
"""A day in ten seconds."""
SMALL = """
[strategies.small]
type = "batch"
batch_size = 20
max_batches_per_day = 4
interval_minutes = 20
"""
EACH = 55


def campaigns() -> Iterator[dict[str, Any]]:
    for i in range(10):
        yield request(f"c{i}", EACH, strategy={"type": "ramp_up" if i % 2 else "small"}, in_doubt="hold")


def limit_of(sending_day: int) -> int:
    """What the most generous of the strategies in play allows on that day."""
    ramp_up = resolve_strategy(StrategySpec(type="ramp_up"), {}, warm=False).step(sending_day).daily_limit
    assert ramp_up is not None
    return max(ramp_up, 20 * 4)


@pytest.mark.apache
@pytest.mark.timeout(240)
def test_no_local_day_gets_more_than_its_limit_although_processes_die_and_hang(
    apache_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    with (
        SimulatorProcess(tmp_path / "provider") as provider,
        Pipeline(apache_kafka, prefix, tmp_path, provider, speed=SPEED, more=SMALL, start="2026-03-02T00:10:00Z") as p,
    ):
        p.start("planner-1", "gate-1", "gate-2", "sender-1", "sender-2", "sender-3")
        for each in campaigns():
            p.submit(each)
        eventually(lambda: len(p.mails()) > 30, 60, lambda: p.say("c0", {"running"}))
        disturb(p)
        done = [p.wait(f"c{i}", "completed", timeout=120) for i in range(10)]
        mails = p.mails()
        recipients = [r for m in mails for r in m.recipients]
        in_doubt = sum(d.in_doubt for d in done)
        assert len(recipients) == len(set(recipients))
        assert sum(d.accepted for d in done) + in_doubt == 10 * EACH
        assert sum(d.accepted for d in done) <= len(recipients) <= 10 * EACH
        assert all(d.conserved() == d.recipients == EACH for d in done)
        days = Counter(p.clock.at(m.time).date() for m in mails)
        assert over_the_limit(days) == {}, (days, in_doubt)
        assert len(days) >= 5


def disturb(p: Pipeline) -> None:
    """One gate and one sender die, one of each hangs past its session and wakes."""
    p.signal("gate-1", signal.SIGKILL)
    p.signal("sender-1", signal.SIGKILL)
    p.restart("gate-1")
    p.restart("sender-1")
    before = len(p.mails())
    eventually(lambda: len(p.mails()) > before, 60, lambda: p.say("c0", {"more mail"}))
    p.signal("gate-2", signal.SIGSTOP)
    p.signal("sender-2", signal.SIGSTOP)
    woken = REAL.now().timestamp() + 9
    eventually(lambda: REAL.now().timestamp() > woken, 12)
    p.signal("gate-2", signal.SIGCONT)
    p.signal("sender-2", signal.SIGCONT)
    for name in ("gate-2", "sender-2"):
        if p.workers[name].poll() is not None:
            p.restart(name)


def over_the_limit(days: Counter[date]) -> dict[date, int]:
    numbers = count(1)
    return {day: n for day, n in sorted(days.items()) if n > limit_of(next(numbers))}
