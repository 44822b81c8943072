"""One plan without the process around it: what is on the topics when its owner is told how it ended."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from planner_world import REQUEST, World, context

from planner.job import Work, work_on
from planner.resolve import content_hash
from planner.state import CampaignRow
from planner.writer import Cancelled, Producers
from schemas.command import Origin, PlannerInput
from schemas.progress import Problem
from schemas.request import CampaignRequest
from schemas.topics import BATCH_RECIPIENTS, GATE_INPUTS, INVALID_ROWS
from streams.clients import Kafka
from streams.context import Context

LINGER_MS = 1_000
"""Longer than the source takes to be read: nothing has left the process when it turns out to be damaged."""


@pytest.fixture
def world(any_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[World]:
    world = World(any_kafka, prefix, tmp_path)
    yield world
    world.close()


@pytest.fixture
def request_of_damaged_source(tmp_path: Path) -> CampaignRequest:
    """Its file gives one row that is nobody's address and several batches, and then breaks off."""
    path = tmp_path / "cut-off.csv.gz"
    rows = b"".join(b"r%d@example.com,R\n" % i for i in range(50_000))
    whole = gzip.compress(b"email,first_name\nnobody,N\n" + rows)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    return CampaignRequest.model_validate({**REQUEST, "recipients": {"uri": path.as_uri()}})


def lingering(ctx: Context) -> Producers:
    """Producers that keep everything for a while before they send it."""
    producers = Producers(ctx)
    producers.give_back(ctx.kafka.producer(**{"linger.ms": LINGER_MS, "message.timeout.ms": 0}))
    return producers


def work_for(ctx: Context, request: CampaignRequest) -> Work:
    """A campaign that is resolved and to be planned."""
    row = CampaignRow(
        state="planning",
        origin=Origin(topic="campaign.requests", partition=0, offset=0),
        created_at=ctx.clock.now(),
        content_hash=content_hash(request),
        request=request.model_dump(mode="json", by_alias=True, exclude_unset=True),
        domain="bore.example",
    )
    work = Work(ctx, "c1", row, lambda _: None, lambda: False, lingering(ctx))
    campaign = work_on(work).campaign
    assert campaign is not None
    return replace(work, row=row.model_copy(update={"campaign": campaign}))


def test_a_plan_is_taken_back_when_all_that_was_written_of_it_is_there(
    world: World, any_kafka: Kafka, request_of_damaged_source: CampaignRequest, tmp_path: Path
) -> None:
    work = work_for(context(any_kafka, world.prefix, tmp_path / "data"), request_of_damaged_source)
    told = work_on(work)
    assert (told.kind, told.state) == ("refused", "failed")
    assert "damaged" in told.problems[0].problem
    parts = {r.key for r in world.read(BATCH_RECIPIENTS)}
    assert parts == set(work.leftovers)
    planned = [v["batch_number"] for v in world.values(GATE_INPUTS)]
    assert planned == list(range(1, len(parts) + 1))  # so few that each has one part
    assert len(planned) > 1
    assert [v["row"] for v in world.values(INVALID_ROWS)] == [1]


class TakenAway(Work):
    """Work that is somebody else's from the moment at which its refusal is worded."""

    def refusal(self, problems: tuple[Problem, ...], state: Literal["rejected", "failed"]) -> PlannerInput:
        self.leftovers.append(b"taken")
        return super().refusal(problems, state)


def test_a_plan_that_is_taken_away_while_it_is_taken_back_leaves_that_to_the_next_owner(
    world: World, any_kafka: Kafka, request_of_damaged_source: CampaignRequest, tmp_path: Path
) -> None:
    work = work_for(context(any_kafka, world.prefix, tmp_path / "data"), request_of_damaged_source)
    marks: list[bytes] = []
    taken = TakenAway(work.ctx, work.campaign_id, work.row, work.reputation, lambda: bool(marks), work.producers, marks)
    with pytest.raises(Cancelled):
        work_on(taken)
    assert marks == [b"taken"]
