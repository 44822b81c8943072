"""Whole campaigns through the pure core, by plain values."""

from __future__ import annotations

from datetime import timedelta

from gate_world import MONDAY, OFFICE, World, batch_strategy, gate_campaign, plan, ramp_up_batches, settings


def test_4200_recipients_take_46_batches_on_23_sending_days() -> None:
    world = World(settings(), speed=3600)
    sizes = ramp_up_batches(4200)
    assert len(sizes) == 46
    world.give(*plan(gate_campaign(size=4200, window=OFFICE, weekends=True), sizes))
    world.run()
    days = world.by_day()
    assert list(days.values()) == [50, 100, 150, 150, 150, *[200] * 18]
    assert all(day.weekday() < 5 for day in days)
    assert world.progress["c"].state == "completed"
    assert world.progress["c"].accepted == 4200
    assert world.twice() == 0
    assert not world.dead


def test_4200_recipients_by_batch_go_out_within_four_hours() -> None:
    world = World(settings(warm=True), speed=60)
    world.give(*plan(gate_campaign(size=4200, strategy=batch_strategy()), [500] * 8 + [200]))
    world.run()
    assert len({c.batch_number for _, c in world.chunks}) == 9
    times = sorted({c.issued_at for _, c in world.chunks})
    assert timedelta(hours=4) <= times[-1] - times[0] < timedelta(hours=4, minutes=15)
    assert times[0] - MONDAY < timedelta(minutes=1)


def test_without_evidence_a_domain_stays_on_its_first_day() -> None:
    world = World(settings(assume="none"), speed=3600)
    world.give(*plan(gate_campaign(size=150), [25, 25, 50, 50]))
    world.run()
    assert list(world.by_day().values()) == [50, 50, 50]
