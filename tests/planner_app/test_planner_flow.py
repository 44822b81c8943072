"""From a request on a topic to batches on topics, on both brokers."""

from __future__ import annotations

from planner_world import REQUEST, World

from schemas.topics import CAMPAIGN_REQUESTS


def test_a_request_becomes_a_plan(world: World) -> None:
    rows = [{"email": f"r{i}@example.com", "first_name": f"R{i}"} for i in range(1200)]
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "recipients": {"inline": rows}}, key="anything")
    told = world.wait("gate.inputs", lambda v: any(i["kind"] == "plan_complete" for i in v))
    assert [i["kind"] for i in told] == ["batch_planned"] * 3 + ["plan_complete"]
