"""Recipients of archived campaigns are taken off their topic, whoever wrote them and however often planners die."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from planner_world import REQUEST, World, context
from waiting import eventually

from planner.archive import remove_recipients
from planner.writer import Producers, remove_parts
from schemas.batch import BatchRecipients
from schemas.command import Origin, PlannerInput
from schemas.identity import recipients_key
from schemas.topics import BATCH_RECIPIENTS, CAMPAIGN_REQUESTS, GATE_INPUTS, PLANNER_INPUTS
from streams.clients import Kafka, Record, produce_all

NOW = datetime.now(UTC)


@pytest.fixture
def world(any_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[World]:
    world = World(any_kafka, prefix, tmp_path)
    yield world
    world.close()


def orphans(world: World, campaign_id: str, batches: int, write_id: str = "dead0planner") -> None:
    """Parts that a planner has written before it died: no pointer names them."""
    topic = world.prefix + BATCH_RECIPIENTS.name
    records = []
    for number in range(1, batches + 1):
        part = BatchRecipients(
            campaign_id=campaign_id, batch_number=number, part=0, start=0, columns=["email"], rows=[["a@example.com"]]
        )
        records.append(Record(topic, part.encode(), recipients_key(campaign_id, number, write_id, 0).encode()))
    produce_all(world.kafka.producer(linger_ms=0), records)


def standing(world: World) -> dict[str, int]:
    """How many parts there are, by campaign."""
    newest = {record.key or b"": record.value for record in world.read(BATCH_RECIPIENTS)}
    found: dict[str, int] = {}
    for key, value in newest.items():
        if value is not None:
            name = key.decode().partition("/")[0]
            found[name] = found.get(name, 0) + 1
    return found


def keys(world: World, campaign_id: str) -> list[bytes]:
    """Of its parts."""
    return [r.key or b"" for r in world.read(BATCH_RECIPIENTS) if (r.key or b"").startswith(f"{campaign_id}/".encode())]


def archive(world: World, campaign_id: str) -> None:
    """What the gate writes."""
    told = PlannerInput(
        campaign_id=campaign_id, kind="archive", origin=Origin(topic="", partition=0, offset=0), received_at=NOW
    )
    world.put(PLANNER_INPUTS, told.encode(), key=campaign_id)


def test_every_part_of_the_campaigns_goes_and_no_other(world: World, any_kafka: Kafka, tmp_path: Path) -> None:
    for name, n in (("a", 7), ("a.b", 5), ("c", 3)):
        orphans(world, name, n)
    eventually(lambda: sum(standing(world).values()) == 15, 30)
    ctx = context(any_kafka, world.prefix, tmp_path / "data")
    producers = Producers(ctx)
    assert remove_recipients(ctx, producers, {"a": NOW, "c": NOW}) == 10
    eventually(lambda: standing(world) == {"a.b": 5}, 30)
    assert remove_recipients(ctx, producers, {"a": NOW, "c": NOW}) == 0


@pytest.mark.apache
def test_a_planner_clears_what_the_gate_archives_and_one_that_is_killed_in_the_middle_does_it_again(
    own_world: World, apache_kafka: Kafka, tmp_path: Path
) -> None:
    world = own_world
    orphans(world, "old", 300)
    orphans(world, "other", 3)
    planner = world.process()
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "old"})
    world.wait(GATE_INPUTS, lambda v: any(i["kind"] == "plan_complete" for i in v), 60)
    eventually(lambda: standing(world).get("old") == 301, 30)
    planner.send_signal(signal.SIGKILL)
    planner.wait(10)
    archive(world, "old")
    ctx = context(apache_kafka, world.prefix, tmp_path / "data")
    remove_parts(ctx, Producers(ctx), keys(world, "old")[:100])  # as far as a dead planner came
    world.process()
    eventually(lambda: standing(world) == {"other": 3}, 60, lambda: str(standing(world)), 0.2)
    cleared = '"kind":"cleared"'
    eventually(lambda: any(cleared in (r.value or b"").decode() for r in world.read(PLANNER_INPUTS)), 30)
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "old"})
    dead = eventually(lambda: world.read(CAMPAIGN_REQUESTS.dlq), 30)
    assert "was archived at" in dict(dead[0].headers)["error"].decode()
