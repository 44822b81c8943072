"""The expected end agrees with what waits, what is on the way and what holds the campaign."""

from __future__ import annotations

from datetime import datetime, timedelta

from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings

from sender.gate.settings import GateSettings


def silent(config: GateSettings) -> World:
    """A world in which nobody answers a permit."""
    world = World(config, thorough=1.0)
    world.sender_up = False
    return world


def expected_end(world: World) -> datetime:
    end = world.core.progress("c", world.now, world.real).eta
    assert end is not None
    return end


def test_who_is_on_the_way_waits_for_no_interval() -> None:
    world = silent(settings(warm=True, rate=10.0))
    world.give(*plan(gate_campaign(size=200, strategy=batch_strategy(200)), [200]))
    progress = world.core.progress("c", world.now, world.real)
    assert (progress.waiting, progress.in_flight) == (0, 200)
    assert expected_end(world) == MONDAY + timedelta(seconds=20)


def test_each_release_that_waits_takes_one_interval() -> None:
    world = silent(settings(warm=True))
    strategy = batch_strategy(100, interval=15)
    world.give(*plan(gate_campaign(size=300, strategy=strategy), [100, 100, 100]))
    assert world.core.progress("c", world.now, world.real).in_flight == 100
    assert expected_end(world) == MONDAY + timedelta(minutes=30)


def test_the_end_never_lies_before_the_time_to_which_the_campaign_is_held() -> None:
    world = silent(settings(warm=True, quota=100))
    world.give(*plan(gate_campaign(size=300, strategy=batch_strategy(100, interval=0)), [100, 100, 100]))
    progress = world.core.progress("c", world.now, world.real)
    (hold,) = progress.holds
    assert hold.reason == "daily_quota"
    assert hold.until is not None
    assert expected_end(world) >= hold.until > MONDAY + timedelta(hours=1)
