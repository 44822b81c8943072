"""How many inputs the pure gate decides in a second, on one core; and what a decision costs with many batches.

    python bench/gate.py            prints a table and writes bench/results/gate.json

Two measurements. *Throughput*: campaigns are planned (`BatchPlanned`) and sent (`ChunkResult`, one progress report
and one final result a permit) as fast as the core takes it. *Scaling*: the cost of one result, with the permit that
follows from it, while 20 or 2,000 batches wait: in one campaign, and in as many campaigns. Target: 20,000 inputs a
second, and at most 5 times the cost.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from schemas.batch import BatchPlanned, GateCampaign, PlanComplete, Pointer
from schemas.campaign import ResolvedPace, ResolvedSchedule
from schemas.chunk import Chunk, ChunkResult
from schemas.strategy import Step, Strategy
from sender.gate.core import GateCore
from sender.gate.settings import DomainPlace, GateSettings, RelayLimits

START = datetime(2026, 2, 2, 14, tzinfo=UTC)
RESULTS = Path(__file__).parent / "results" / "gate.json"


def campaign(name: str, size: int, batches: int, at: int = 0, at_once: int = 1000) -> list[Any]:
    """The plan of a campaign without daily limits, of equal batches."""
    strategy = Strategy(
        name="free", type="batch", intervals_minutes=(0.0,), concurrent_batches=at_once,
        steps=(Step(day=1, daily_limit=None, batch_size=500),),
    )  # fmt: skip
    resolved = GateCampaign(
        campaign_id=name, name=name, content_hash="h" * 64, created_at=START + timedelta(milliseconds=at), relay="main",
        sending_domain="bore.example", strategy=strategy, pace=ResolvedPace(),
        schedule=ResolvedSchedule(start_at=START, timezone="America/Bogota"), in_doubt="hold", max_retries=3,
        recipients=size * batches, invalid=0, duplicate=0,
    )  # fmt: skip
    planned = [
        BatchPlanned(
            relay="main", campaign_id=name, content_hash="h" * 64, batch_number=n, size=size,
            pointers=(Pointer(partition=0, offset=n, start=0, count=size),), checksum="c" * 64, scheduled_for=START,
            sending_day=1,
        )
        for n in range(1, batches + 1)
    ]  # fmt: skip
    return [*planned, PlanComplete(relay="main", campaign=resolved, batches=batches)]


def results_of(chunk: Chunk, *, final: bool = True) -> ChunkResult:
    """What a sender answers."""
    n = chunk.permitted() if final else chunk.permitted() // 2
    return ChunkResult(
        relay="main", campaign_id=chunk.campaign_id, batch_number=chunk.batch_number, permit_id=chunk.permit_id,
        round=0, version=2 if final else 1, final=final, begun=n, sent_on={date(2026, 2, 2): n}, accepted=n,
        stopped="done" if final else None, at=START,
    )  # fmt: skip


def new_core(connections: int = 10) -> GateCore:
    config = GateSettings(
        relays={"main": RelayLimits(connections)}, domains={"bore.example": DomainPlace("main", "America/Bogota", True)}
    )
    return GateCore(config)


class Driver:
    """Gives inputs at a steady pace of virtual and real time, and measures the core alone."""

    def __init__(self, core: GateCore) -> None:
        self.core, self.inputs, self.seconds, self.real = core, 0, 0.0, 1000.0
        self.chunks: list[Chunk] = []

    def give(self, *inputs: Any) -> None:
        now, real, apply = START + timedelta(seconds=self.real - 1000.0), self.real, self.core.apply
        begin = time.process_time()
        decisions = [apply(given, now, real) for given in inputs]
        self.seconds += time.process_time() - begin
        self.inputs += len(inputs)
        self.real += 0.00005 * len(inputs)
        for decision in decisions:
            self.chunks += decision.chunks

    def tick(self) -> None:
        begin = time.process_time()
        now = START + timedelta(seconds=self.real - 1000.0)
        self.chunks += self.core.tick(now, self.real).chunks
        self.seconds += time.process_time() - begin


def throughput(campaigns: int = 20, batches: int = 1000) -> dict[str, float]:
    """Inputs a second of a mix: a third plans, a third reports, a third final results."""
    driver = Driver(new_core())
    gc.freeze()
    for n in range(campaigns):
        driver.give(*campaign(f"c{n}", 500, batches, n))
        while driver.chunks:
            chunks, driver.chunks = driver.chunks, []
            results = [results_of(chunk, final=final) for chunk in chunks for final in (False, True)]
            driver.give(*results)
            driver.tick()
    assert all(c.state == "completed" for c in driver.core.tables.campaigns.values())
    return {"inputs": driver.inputs, "seconds": driver.seconds, "inputs_per_second": driver.inputs / driver.seconds}


def cost(waiting: int, *, one_campaign: bool, decisions: int = 2000) -> float:
    """Microseconds of a final result while about `waiting` batches wait."""
    driver = Driver(new_core())
    if one_campaign:
        plans = campaign("c", 1000 * 10, waiting)
    else:
        plans = [given for n in range(waiting) for given in campaign(f"c{n:05d}", 1000 * 10, 1, n)]
    driver.give(*plans)
    versions: dict[tuple[str, int], int] = {}
    driver.seconds, driver.inputs = 0.0, 0
    for _ in range(decisions):
        chunk = driver.chunks.pop(0)
        key = (chunk.campaign_id, chunk.batch_number)
        versions[key] = versions.get(key, 0) + 1
        done = versions[key]
        final = results_of(chunk).model_copy(update={"version": done, "begun": 0, "accepted": 0, "sent_on": {},
                                                     "unsent": chunk.ranges})  # fmt: skip
        driver.give(final)
        if not driver.chunks:
            driver.tick()
    return driver.seconds / driver.inputs * 1e6


def main() -> None:
    """Measures, prints, writes."""
    speed = throughput()
    table = {
        shape: {str(n): min(cost(n, one_campaign=shape == "one campaign") for _ in range(3)) for n in (20, 200, 2000)}
        for shape in ("one campaign", "many campaigns")
    }
    ratios = {shape: row["2000"] / row["20"] for shape, row in table.items()}
    print(f"{speed['inputs']:.0f} inputs in {speed['seconds']:.2f} s: {speed['inputs_per_second']:.0f} a second")
    for shape, row in table.items():
        shown = "  ".join(f"{n} waiting: {us:.1f} us" for n, us in row.items())
        print(f"{shape:15} {shown}  ratio {ratios[shape]:.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({
            "python": platform.python_version(), "throughput": speed, "microseconds_a_decision": table,
            "ratio_2000_to_20": ratios,
            "targets": {"inputs_per_second": 20000, "ratio_2000_to_20": 5},
        }, indent=2) + "\n",
        encoding="utf-8",
    )  # fmt: skip
    failed = speed["inputs_per_second"] < 20000 or max(ratios.values()) > 5
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
