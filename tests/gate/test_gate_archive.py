"""A campaign that ended long ago: what goes, what stays, and what nobody can do with it any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.batch import PlanFailed
from schemas.chunk import Evidence
from sender.gate.archive import AT_ONCE
from sender.gate.settings import FORGET_AFTER, gate_settings
from streams.settings import Settings

AFTER = timedelta(days=30)


def world_of(**more: Any) -> World:
    keep = {"forget_after": 7 * 86_400.0} | {k: more.pop(k) for k in ("forget_after",) if k in more}
    return World(settings(warm=True, archive_after=AFTER, **keep), **{"thorough": 1.0, **more})


def send(world: World, size: int = 40, batches: int = 4) -> None:
    campaign = gate_campaign(size=size, strategy=batch_strategy(size, interval=0, most=batches, at_once=10))
    world.give(*plan(campaign, [size // batches] * batches))


def rows(world: World) -> int:
    return sum(table == "batch" for table, _ in world.store)


def forgotten(world: World) -> list[int]:
    return [control.batch_number for control in world.controls if control.action == "forget"]


def test_the_settings_say_when_and_the_topic_how_long_after() -> None:
    assert gate_settings(Settings.model_validate({"archive_after": "3d"})).archive_after == timedelta(days=3)
    assert FORGET_AFTER == 7 * 86_400.0


def test_it_is_archived_once_its_time_has_come_and_its_figures_stay() -> None:
    world = world_of(outcomes={"accepted": 8.0, "failed": 2.0})
    send(world)
    world.run()
    before, ended = world.progress["c"], world.progress["c"].completed_at
    assert ended is not None
    world.run(until=ended + AFTER - timedelta(seconds=1))
    assert (world.archived, world.progress["c"].archived_at) == ([], None)
    world.run(until=ended + AFTER + timedelta(seconds=1))
    assert world.archived == ["c"]
    after = world.progress["c"]
    assert after.archived_at is not None
    same = {"archived_at": None, "updated_at": before.updated_at, "last_errors": before.last_errors}
    assert after.model_copy(update=same) == before
    assert after.last_errors == ()  # they name recipients


def test_its_batches_are_forgotten_when_the_topic_has_forgotten_its_permits() -> None:
    world = world_of()
    send(world)
    world.run()
    world.run(until=MONDAY + AFTER + timedelta(days=6, hours=23))
    assert (world.archived, rows(world), forgotten(world)) == (["c"], 4, [])
    world.run(until=MONDAY + AFTER + timedelta(days=7, hours=2))
    assert (rows(world), forgotten(world)) == (0, [1, 2, 3, 4])
    world.restart_now()
    progress = world.core.progress("c", world.now, world.real)
    assert (progress.accepted, progress.batches.total, progress.batches.completed) == (40, 4, 4)
    assert progress.conserved() == progress.recipients == 40


def test_whom_an_order_gave_up_is_counted_still_when_the_batches_are_forgotten() -> None:
    world = world_of(outcomes={"accepted": 1.0, "failed": 1.0, "in_doubt": 2.0})
    send(world)
    world.run()
    doubtful = world.progress["c"].in_doubt
    world.command("resolve", resolution="drop")
    world.run(until=MONDAY + timedelta(days=1))
    assert 0 < world.progress["c"].given_up == doubtful < world.progress["c"].failed
    for days in (31, 38):
        world.run(until=MONDAY + timedelta(days=days))
        world.restart_now()
        assert world.core.progress("c", world.now, world.real).given_up == doubtful
    assert rows(world) == 0


def test_many_batches_are_forgotten_in_slices() -> None:
    world = world_of(forget_after=0.0, thorough=0.001)
    send(world, size=AT_ONCE + 10, batches=AT_ONCE + 10)
    world.run()
    most = 0
    while rows(world) and world.next_wake is not None:
        world.real = max(world.real, world.next_wake)
        decision = world.core.tick(world.now, world.real)
        most = max(most, len(decision.controls))
        world.take(decision)
    assert (most, sorted(forgotten(world))) == (AT_ONCE, list(range(1, AT_ONCE + 11)))


@pytest.mark.parametrize("action", ["retry", "resolve", "cancel", "pause", "resume"])
def test_no_order_opens_it_again_and_each_says_why(action: str) -> None:
    world = world_of(outcomes={"accepted": 1.0, "failed": 1.0, "in_doubt": 1.0})
    send(world)
    world.run()
    world.run(until=world.now + AFTER + timedelta(hours=1))
    store = dict(world.store)
    world.command(action, **({"resolution": "resend"} if action == "resolve" else {}))
    assert "campaign c was archived at 2026-03-0" in world.dead[0].error
    assert world.store == store


def test_what_comes_late_changes_nothing() -> None:
    world = world_of(outcomes={"in_doubt": 1.0})
    send(world, size=10, batches=1)
    world.run()
    world.run(until=world.now + AFTER + timedelta(hours=1))
    assert world.archived == ["c"]
    store = dict(world.store)
    result = next(iter(world.owned["c", 1].finals.values()))
    seen = Evidence(relay="main", campaign_id="c", batch_number=1, recipient_index=0, event_id="e", at=world.now)
    campaign = gate_campaign(size=10, strategy=batch_strategy(10, interval=0, most=1, at_once=10))
    world.give(result.model_copy(update={"version": 99, "in_doubt": (), "accepted": 10}), seen)
    world.give(*plan(campaign, [10]))
    assert (world.store, world.dead) == (store, [])


def test_a_campaign_that_is_opened_again_is_archived_after_its_new_end() -> None:
    world = world_of(outcomes={"failed": 1.0})
    send(world)
    world.run()
    world.run(until=MONDAY + AFTER - timedelta(days=1))
    world.outcomes = {"accepted": 1.0}
    world.command("retry")
    world.run(until=MONDAY + AFTER + timedelta(days=20))
    assert (world.archived, world.progress["c"].accepted) == ([], 40)
    world.run(until=MONDAY + 2 * AFTER)
    assert world.archived == ["c"]


def test_a_plan_that_was_given_up_is_archived_at_once() -> None:
    world = world_of()
    campaign = gate_campaign(size=75)
    world.give(*plan(campaign, [25, 25, 25])[:2])
    world.give(PlanFailed(relay="main", campaign_id="c", content_hash="hash", problems=("the file is gone",)))
    assert world.archived == ["c"]
    world.restart_now()
    world.run(until=MONDAY + 3 * AFTER)
    assert world.archived == ["c"]


def test_a_cancelled_campaign_waits_for_what_is_on_the_wire() -> None:
    world = world_of(speed=86_400.0)
    world.sender_up = False
    send(world)
    world.command("cancel")
    world.run(until=MONDAY + AFTER + timedelta(days=1))
    assert world.archived == []
    world.sender_up = True
    world.run(until=world.now + timedelta(days=20))
    assert world.archived == ["c"]


@hypothesis_settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from([600.0, 86_400.0]), st.sampled_from([0.0, 5.0]))
def test_whatever_dies_when_each_campaign_is_archived_once_and_each_batch_forgotten_once(
    seed: int, speed: float, forget_after: float
) -> None:
    world = world_of(
        speed=speed, seed=seed, restart=0.3, repeat=0.2, forget_after=forget_after,
        outcomes={"accepted": 5.0, "failed": 1.0, "in_doubt": 1.0},
    )  # fmt: skip
    send(world)
    for _ in range(12):
        world.run(until=world.now + timedelta(days=4))
        world.restart_now()
    assert (world.archived, rows(world), sorted(forgotten(world))) == (["c"], 0, [1, 2, 3, 4])
    assert world.twice() == 0
