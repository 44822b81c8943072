"""What was accepted is planned, once, whatever becomes of the planner's processes and of the broker."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from planner_world import REQUEST, World
from waiting import eventually

from schemas.batch import BatchRecipients
from schemas.topics import BATCH_RECIPIENTS, CAMPAIGN_REQUESTS, CAMPAIGNS, GATE_INPUTS
from streams.brokers.local import QUICK, LocalBroker

pytestmark = pytest.mark.apache

AWAY = float(os.environ.get("TEST_AWAY", "8"))
"""Real seconds without a broker."""


def csv(path: Path, rows: int) -> str:
    with path.open("w") as out:
        out.write("email,first_name\n")
        out.writelines(f"r{i}@example.com,R{i}\n" for i in range(rows))
    return path.as_uri()


def batches(world: World, campaign_id: str) -> dict[int, list[dict[str, Any]]]:
    """What the gate was told of each batch."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for told in world.values(GATE_INPUTS):
        if told["kind"] == "batch_planned" and told["campaign_id"] == campaign_id:
            found[told["batch_number"]].append(told)
    return found


def complete(world: World, campaign_id: str) -> list[dict[str, Any]]:
    return [
        told
        for told in world.values(GATE_INPUTS)
        if told["kind"] == "plan_complete" and told["campaign"]["campaign_id"] == campaign_id
    ]


def test_a_planner_killed_in_the_middle_goes_on_to_the_same_batches(own_world: World) -> None:
    world = own_world
    uri = csv(world.data / "many.csv", 50_000)
    victim = world.process(stall=21)
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "many", "recipients": {"uri": uri}})
    eventually(lambda: len(batches(world, "many")) > 20, 30, "planning has begun")
    victim.kill()
    victim.wait(10)
    assert not complete(world, "many")
    world.process()
    done = eventually(lambda: complete(world, "many"), 60, "the plan is complete", 0.1)[0]
    found = batches(world, "many")
    assert sorted(found) == list(range(1, done["batches"] + 1)) == list(range(1, 101))
    assert [number for number in sorted(found) if len(found[number]) == 2] == list(range(1, 22))
    for told in found.values():
        assert len({(b["checksum"], b["size"], b["scheduled_for"], b["content_hash"]) for b in told}) == 1
    assert sum(told[0]["size"] for told in found.values()) == done["campaign"]["recipients"] == 50_000
    records = {(r.partition, r.offset): r.value for r in world.read(BATCH_RECIPIENTS)}
    for number, told in found.items():
        for batch in told:
            parts = [BatchRecipients.decode(records[p["partition"], p["offset"]] or b"") for p in batch["pointers"]]
            emails = [row[0] for part in parts for row in part.rows]
            assert emails == [f"r{i}@example.com" for i in range((number - 1) * 500, number * 500)]


def test_a_source_that_changed_while_the_planner_was_dead_fails_the_campaign(own_world: World) -> None:
    world = own_world
    uri = csv(world.data / "changes.csv", 10_000)
    victim = world.process(stall=6)
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "changes", "recipients": {"uri": uri}})
    eventually(lambda: len(batches(world, "changes")) > 5, 30, "planning has begun")
    victim.kill()
    victim.wait(10)
    csv(world.data / "changes.csv", 9_999)
    world.process()
    eventually(lambda: world.progress("changes").get("state") == "failed", 30, "it has failed")
    assert "has changed" in world.progress("changes")["problems"][0]["problem"]
    assert not complete(world, "changes")


def test_no_request_is_lost_or_planned_twice_while_planners_come_die_and_sleep(own_world: World) -> None:
    world = own_world
    ids = [f"c{i:03d}" for i in range(300)]
    world.put_all(CAMPAIGN_REQUESTS, [{**REQUEST, "campaign_id": i} for i in ids])
    first = world.process("a")
    eventually(lambda: world.has_planners("a"), 30, "the first works")
    second = world.process("b")
    eventually(lambda: world.has_planners("b"), 30, "the second works", 0.05)
    first.kill()
    first.wait(10)
    known = len(_planned(world))
    first = world.process("a")
    eventually(lambda: len(_planned(world)) > known + 20, 40, "they go on without the dead one")
    second.send_signal(signal.SIGSTOP)
    known = len(_planned(world))
    eventually(lambda: len(_planned(world)) > min(known + 60, 290), 60, "one goes on alone")
    second.send_signal(signal.SIGCONT)
    eventually(lambda: _planned(world) == set(ids), 60, lambda: f"{len(_planned(world))} of 300 are planned", 0.2)
    by_id: dict[str, set[str]] = defaultdict(set)
    for campaign in world.values(CAMPAIGNS):
        by_id[campaign["campaign_id"]].add(json.dumps(campaign, sort_keys=True))
    assert {len(contents) for contents in by_id.values()} == {1}, "a campaign never changes"
    for campaign_id in ids:
        assert len({b["checksum"] for told in batches(world, campaign_id).values() for b in told}) == 1
    assert not world.values("campaign.requests.dlq")
    assert not world.values("planner.inputs.dlq")


def _planned(world: World) -> set[str]:
    return {t["campaign"]["campaign_id"] for t in world.values(GATE_INPUTS) if t["kind"] == "plan_complete"}


def test_a_broker_that_goes_away_in_the_middle_is_waited_for(kafka_home: Path, tmp_path: Path, prefix: str) -> None:
    broker = LocalBroker(tmp_path / "broker", home=kafka_home, jvm_options=QUICK)
    with broker:
        world = World(broker.kafka, prefix, tmp_path / "planner")
        try:
            planner = world.process(stall=5)
            world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "before"})
            eventually(lambda: complete(world, "before"), 30, "the planner works")
            uri = csv(world.data / "outage.csv", 50_000)
            world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "during", "recipients": {"uri": uri}})
            eventually(lambda: len(batches(world, "during")) == 5, 30, "planning has begun")
            broker.kill()
            world.go_on()
            gone = time.monotonic()
            eventually(lambda: time.monotonic() - gone > AWAY, AWAY + 5, "longer than the planner's session")
            assert planner.poll() is None
            assert not complete(world, "during")
            broker.start()
            eventually(lambda: complete(world, "during"), 60, "the plan is complete", 0.2)
            world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "after"})
            eventually(lambda: complete(world, "after"), 60, "the planner goes on")
            found = batches(world, "during")
            assert sorted(found) == list(range(1, 101))
            assert all(len({b["checksum"] for b in told}) == 1 for told in found.values())
            assert planner.poll() is None, "the process itself went on"
        finally:
            world.close()


def test_a_planner_that_cannot_follow_the_progress_any_more_ends_to_be_started_again(own_world: World) -> None:
    world = own_world
    victim = world.process()
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "one"})
    eventually(lambda: complete(world, "one"), 40, "it works")
    victim.send_signal(signal.SIGUSR1)
    assert victim.wait(30) == 1
    assert "is no longer followed (the test took it away)" in world.log()
