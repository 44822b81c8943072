"""The gate's rules, one by one, by plain values."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from time import process_time
from typing import Any

import pytest
from gate_world import (
    MONDAY,
    OFFICE,
    Owned,
    World,
    batch_strategy,
    gate_campaign,
    plan,
    planned,
    ramp_up_batches,
    settings,
)  # fmt: skip

from schemas.batch import HoldReason, PlanComplete, PlanFailed
from schemas.chunk import BatchControl, Chunk, ChunkResult, Evidence
from schemas.records import ReputationChanged
from schemas.strategy import Step, Strategy
from sender.gate import quota


def result(chunk: Chunk, version: int = 1, **more: Any) -> ChunkResult:
    """The final result of a chunk of which everything was accepted, unless told otherwise."""
    n = chunk.permitted()
    return ChunkResult.model_validate({
        "relay": chunk.relay, "campaign_id": chunk.campaign_id, "batch_number": chunk.batch_number,
        "permit_id": chunk.permit_id, "round": chunk.round, "version": version, "final": True, "begun": n,
        "sent_on": {chunk.issued_at.date(): n}, "accepted": n, "stopped": "done", "at": chunk.issued_at, **more,
    })  # fmt: skip


def silent(config: Any = None, **more: Any) -> World:
    """A world in which nobody sends: the test answers by itself."""
    world = World(config or settings(), thorough=1.0, **more)
    world.sender_up = False
    return world


def hold(world: World, campaign: str = "c") -> HoldReason:
    """The first hold of the campaign as it stands."""
    return world.core.progress(campaign, world.now, world.real).holds[0]


def last(world: World) -> Chunk:
    """The newest permit."""
    return max((chunk for _, chunk in world.chunks), key=lambda chunk: chunk.permit_id)


# --- plans


def test_nothing_is_released_before_the_plan_is_complete() -> None:
    world = silent()
    inputs = plan(gate_campaign(size=50), [25, 25])
    world.give(*inputs[:2])
    world.run(until=MONDAY + timedelta(hours=2))
    assert (world.chunks, world.progress) == ([], {})
    world.give(inputs[2])
    assert last(world).permitted() == 25
    assert world.progress["c"].state == "running"


def test_a_plan_that_is_complete_before_its_batches_waits_for_them() -> None:
    world = silent()
    inputs = plan(gate_campaign(size=50), [25, 25])
    world.give(inputs[2], inputs[1])
    assert world.chunks == []
    world.give(inputs[0])
    assert last(world).batch_number == 1


@pytest.mark.parametrize(("size", "batches", "state"), [(50, [25, 25], "running"), (0, [], "completed")])
def test_what_the_planner_warns_of_stays_in_the_progress(size: int, batches: list[int], state: str) -> None:
    world = silent()
    campaign = gate_campaign(size=size).model_copy(update={"warnings": ("it starts now",)})
    world.give(*plan(campaign, batches))
    assert (world.progress["c"].state, world.progress["c"].warnings) == (state, ("it starts now",))


def test_a_plan_that_comes_again_changes_nothing_and_shows_the_progress_again() -> None:
    world = silent()
    inputs = plan(gate_campaign(size=25), [25])
    world.give(*inputs)
    store = dict(world.store)
    world.give(*inputs)
    assert world.store == store
    decision = world.core.apply(inputs[-1], world.now, world.real)
    assert [p.campaign_id for p in decision.progress] == ["c"]
    assert not decision.rows


def test_a_batch_with_other_recipients_fails_a_campaign_that_has_not_begun() -> None:
    world = silent()
    campaign = gate_campaign(size=25, start_at=MONDAY + timedelta(days=1))
    world.give(*plan(campaign, [25]), planned(campaign, 1, 25, "other"))
    progress = world.progress["c"]
    assert (progress.state, progress.cancelled) == ("failed", 25)
    assert "has the source changed?" in progress.problems[0].problem


def test_a_batch_with_other_recipients_does_not_touch_a_campaign_that_runs() -> None:
    world = silent()
    campaign = gate_campaign(size=25)
    world.give(*plan(campaign, [25]), planned(campaign, 1, 25, "other"))
    assert world.progress["c"].state == "running"
    assert "goes on as it was planned first" in world.dead[0].error


def test_a_plan_that_contradicts_itself_fails() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=30), [25]))
    assert world.progress["c"].problems[0].problem == "the batches have 25 recipients, the plan has 30"


def test_a_plan_that_is_given_up_leaves_one_small_row_and_what_comes_late_is_ignored() -> None:
    world = silent()
    campaign = gate_campaign(size=75)
    inputs = plan(campaign, [25, 25, 25])
    failed = PlanFailed(relay="main", campaign_id="c", content_hash="hash", problems=("the file is gone",))
    world.give(*inputs[:2])
    world.command("pause")
    world.give(failed)
    assert {key for key in world.store if key[0] in {"campaign", "batch"}} == {("campaign", "c")}
    assert len(world.store["campaign", "c"]) < 250
    assert {n: (b.state, b.cancelled, b.error) for (_, n), b in world.batches.items()} == {
        1: ("cancelled", 25, "the file is gone"), 2: ("cancelled", 25, "the file is gone"),
    }  # fmt: skip
    assert world.core.tables.campaigns["c"].batches == {}
    store = dict(world.store)
    world.give(inputs[2], failed)
    world.restart_now()
    world.give(inputs[1])
    assert (world.store, world.progress, world.dead) == (store, {}, [])
    world.command("resume")
    assert "campaign c is failed" in world.dead[0].error


def test_a_plan_that_is_given_up_before_any_of_it_came_is_ignored_when_it_comes() -> None:
    world = silent()
    world.give(PlanFailed(relay="main", campaign_id="c", content_hash="hash"), *plan(gate_campaign(size=25), [25])[:1])
    assert {key for key in world.store if key[0] in {"campaign", "batch"}} == {("campaign", "c")}


def test_a_plan_that_is_complete_cannot_be_given_up() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=25), [25]))
    world.give(PlanFailed(relay="main", campaign_id="c", content_hash="hash", problems=("late",)))
    assert world.progress["c"].state == "running"
    assert "its plan is complete" in world.dead[0].error


def test_a_campaign_without_valid_recipients_is_completed_at_once() -> None:
    world = silent()
    campaign = gate_campaign(size=0).model_copy(update={"recipients": 3, "invalid": 2, "duplicate": 1})
    world.give(PlanComplete(relay="main", campaign=campaign, batches=0))
    progress = world.progress["c"]
    assert (progress.state, progress.percent, progress.conserved()) == ("completed", 100.0, 3)


def test_a_batch_beyond_the_plan_fails_the_campaign() -> None:
    world = silent()
    campaign = gate_campaign(size=25, start_at=MONDAY + timedelta(days=1))
    world.give(*plan(campaign, [25]), planned(campaign, 2, 25))
    assert world.progress["c"].state == "failed"


# --- limits


def test_a_batch_planned_for_larger_steps_goes_at_the_pace_of_the_day() -> None:
    world = World(settings(), speed=3600)
    world.give(*plan(gate_campaign(size=200, window=OFFICE), [200]))
    world.run()
    assert list(world.by_day().values()) == [50, 100, 50]
    assert [c.permitted() for _, c in world.chunks] == [25, 25, 50, 50, 50]


def test_small_batches_go_out_several_in_one_release() -> None:
    world = World(settings(), speed=60)
    world.give(*plan(gate_campaign(size=50), [10] * 5))
    world.run()
    first = [c for _, c in world.chunks if c.issued_at < MONDAY + timedelta(minutes=30)]
    assert sum(c.permitted() for c in first) == 25
    assert [c.batch_number for c in first] == [1, 2, 3]


def test_the_older_campaign_takes_what_is_left_of_the_day() -> None:
    world = silent()
    at_once = Strategy(
        name="at once", type="ramp_up", intervals_minutes=(0.0,), steps=(Step(day=1, daily_limit=50, batch_size=40),)
    )
    for name, minutes in (("younger", 2), ("older", 1)):
        created = MONDAY + timedelta(minutes=minutes)
        campaign = gate_campaign(
            name, size=40, strategy=at_once, created_at=created, start_at=MONDAY + timedelta(hours=1)
        )
        world.give(*plan(campaign, [40]))
    world.run(until=MONDAY + timedelta(hours=1, seconds=1))
    assert [(c.campaign_id, c.permitted(), c.connections) for _, c in world.chunks] == [
        ("older", 40, 5),
        ("younger", 10, 5),
    ]


def test_a_daily_limit_that_is_used_up_is_a_hold_with_figures() -> None:
    world = World(settings(assume="none"), speed=600)
    world.give(*plan(gate_campaign(size=75, window=OFFICE), [25, 25, 25]))
    world.run(until=MONDAY + timedelta(hours=5))
    found = hold(world)
    assert found.reason == "daily_limit"
    assert {k: found.figures[k] for k in ("used", "limit", "sending_day")} == {
        "used": 50,
        "limit": 50,
        "sending_day": 1,
    }
    assert found.until == MONDAY + timedelta(days=1)
    assert world.batches["c", 3].state == "held"
    assert world.batches["c", 3].hold == found


def test_a_permit_that_is_open_over_midnight_counts_for_both_days() -> None:
    world = silent(settings(assume="none"))
    evening = datetime(2026, 2, 3, 4, 0, tzinfo=UTC)  # 23:00 in Bogota
    world.real += (evening - MONDAY).total_seconds()
    world.give(*plan(gate_campaign(size=25, created_at=evening, connections=1), [25]))
    chunk = last(world)
    tomorrow = evening + timedelta(hours=2)
    world.give(*plan(gate_campaign("d", size=100, created_at=evening, start_at=tomorrow, connections=1), [25] * 4))
    assert chunk.until == datetime(2026, 2, 3, 4, 58, 59, 750000, tzinfo=UTC)
    world.run(until=tomorrow + timedelta(minutes=1))
    assert world.core.tables.domains["bore.example"].day == date(2026, 2, 3)
    assert (last(world).campaign_id, last(world).permitted()) == ("d", 25)
    world.give(result(last(world), sent_on={date(2026, 2, 3): 25}))
    world.run(until=tomorrow + timedelta(hours=3))
    assert hold(world, "d").reason == "daily_limit"
    # 20 were begun yesterday: what it had reserved of today is free again, and older campaigns come first
    before = len(world.chunks)
    world.give(result(chunk, begun=20, accepted=20, sent_on={date(2026, 2, 2): 20}, unsent=[(20, 25)]))
    assert [(c.campaign_id, c.permitted()) for _, c in world.chunks[before:]] == [("c", 5), ("d", 20)]


def test_a_reply_after_midnight_counts_for_both_days() -> None:
    world = silent(settings(assume="none"))
    evening = datetime(2026, 2, 3, 4, 0, tzinfo=UTC)
    world.real += (evening - MONDAY).total_seconds()
    world.give(*plan(gate_campaign(size=25, created_at=evening), [25]))
    world.real += 3601
    world.core.tick(world.now, world.real)
    world.give(result(last(world), sent_on={date(2026, 2, 2): 20, date(2026, 2, 3): 5}))
    domain = world.core.tables.domains["bore.example"]
    world.real += 1
    world.give(*plan(gate_campaign("d", size=60, created_at=world.now), [60]))
    assert domain.days == {date(2026, 2, 3): 5}


def test_who_is_in_doubt_may_have_arrived_on_a_later_day() -> None:
    world = silent(settings(assume="healthy"))
    world.give(*plan(gate_campaign(size=100), [25] * 4))
    chunk = last(world)
    world.real += 86400  # its sender hung, and another one has taken over
    world.give(result(chunk, accepted=20, in_doubt=[(5, 10)], sent_on={date(2026, 2, 2): 25}))
    domain = world.core.tables.domains["bore.example"]
    assert (domain.day, domain.sending_day) == (date(2026, 2, 3), 2)
    assert domain.maybe == {date(2026, 2, 3): 5, date(2026, 2, 4): 5}
    assert (quota.used(domain), domain.reserved) == (55, 50)


def test_a_day_on_which_mail_may_only_have_arrived_is_no_sending_day() -> None:
    world = silent(settings(assume="healthy"))
    world.give(*plan(gate_campaign(size=25), [25]))
    world.give(result(last(world), accepted=20, in_doubt=[(5, 10)]))
    domain = world.core.tables.domains["bore.example"]
    assert domain.maybe == {date(2026, 2, 3): 5}
    for day in (1, 2, 3):
        quota.roll_domain(domain, MONDAY + timedelta(days=day), "America/Bogota", "healthy")
        assert quota.used(domain) == (5 if day == 1 else 0)
    assert domain.sending_day == 2


def test_nothing_is_released_in_the_margin_before_midnight() -> None:
    world = silent()
    late = datetime(2026, 2, 3, 4, 59, 30, tzinfo=UTC)
    world.real += (late - MONDAY).total_seconds()
    world.give(*plan(gate_campaign(size=25, created_at=late), [25]))
    assert world.chunks == []
    assert hold(world).reason == "window"
    world.run(until=late + timedelta(minutes=2))
    assert last(world).issued_at.date() == date(2026, 2, 3)


def test_a_short_window_still_opens_on_a_fast_clock() -> None:
    world = World(settings(), speed=20000)
    world.give(*plan(gate_campaign(size=25, window=(time(9), time(10))), [25]))
    world.run(until=MONDAY + timedelta(days=9))
    assert world.progress["c"].state == "completed"


def test_the_relays_daily_quota_holds_for_all_domains() -> None:
    world = silent(settings(quota=30, warm=True))
    world.give(*plan(gate_campaign(size=50, strategy=batch_strategy(50)), [50]))
    assert last(world).permitted() == 30
    world.give(result(last(world)))
    assert hold(world).reason == "daily_quota"
    assert hold(world).until == datetime(2026, 2, 3, tzinfo=UTC)
    world.run(until=datetime(2026, 2, 3, 0, 1, tzinfo=UTC))
    assert last(world).ranges == ((30, 50),)


def test_a_suppressed_recipient_gives_its_quota_back() -> None:
    world = silent(settings(assume="none"))
    at_once = Strategy(
        name="at once", type="ramp_up", intervals_minutes=(0.0,), steps=(Step(day=1, daily_limit=50, batch_size=50),)
    )
    world.give(*plan(gate_campaign(size=60, strategy=at_once), [50, 10]))
    world.give(result(last(world), begun=45, accepted=45, suppressed=5, sent_on={date(2026, 2, 2): 45}))
    assert last(world).permitted() == 5
    assert world.core.progress("c", world.now, world.real).suppressed == 5


def test_at_most_so_many_releases_a_day_and_batches_at_once() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=100, strategy=batch_strategy(10, 3, 1.0, 2)), [5] * 20))
    for release in range(1, 4):
        world.run(until=world.now + timedelta(minutes=10))
        permits = {c.permit_id: c for _, c in world.chunks}
        assert len(permits) == 2 * release
        assert [h.reason for h in world.progress["c"].holds] == ["no_sender", "concurrent_batches"]
        for chunk in list(permits.values())[-2:]:
            world.give(result(chunk))
    world.run(until=MONDAY + timedelta(hours=2))
    assert hold(world).reason == "daily_limit"
    assert len({c.permit_id for _, c in world.chunks}) == 6


def test_intervals_are_a_list_whose_last_one_repeats() -> None:
    world = World(settings(warm=True), speed=60)
    strategy = batch_strategy(10).model_copy(update={"intervals_minutes": (5.0, 20.0, 60.0)})
    world.give(*plan(gate_campaign(size=50, strategy=strategy), [10] * 5))
    world.run()
    minutes = [round((c.issued_at - MONDAY).total_seconds() / 60) for _, c in world.chunks]
    assert minutes == [5, 25, 85, 145, 205]


def test_a_domain_that_is_warm_is_at_the_last_step() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=300), [100, 100, 100]))
    assert last(world).permitted() == 100


def test_evidence_moves_a_domain_and_replaces_the_assumption() -> None:
    world = silent(speed=60)
    world.give(*plan(gate_campaign(size=300, start_at=MONDAY + timedelta(hours=1)), [100, 100, 100]))
    said = ReputationChanged(relay="main", sending_domain="bore.example", sending_day=2, as_of=MONDAY)
    world.give(said, said.model_copy(update={"sending_day": 9, "as_of": MONDAY - timedelta(days=1)}))
    world.run(until=MONDAY + timedelta(hours=1))
    assert last(world).permitted() == 50
    world.give(result(last(world)))
    world.run(until=MONDAY + timedelta(days=2))
    assert world.core.tables.domains["bore.example"].sending_day == 2


# --- connections and rate


def test_free_connections_are_divided_among_batches_and_a_single_one_gets_all() -> None:
    world = silent(settings(connections=10, warm=True))
    world.give(*plan(gate_campaign(size=100, strategy=batch_strategy(100)), [100]))
    assert last(world).connections == 10
    world = silent(settings(connections=10, warm=True))
    world.give(*plan(gate_campaign(size=400, strategy=batch_strategy(400)), [100] * 4))
    assert [c.connections for _, c in world.chunks] == [3, 3, 2, 2]


def test_a_permit_lasts_about_half_a_minute_and_a_release_goes_on_without_waiting() -> None:
    world = World(settings(connections=2, rate=2.0, warm=True))
    world.give(*plan(gate_campaign(size=100, strategy=batch_strategy(100)), [100]))
    assert last(world).permitted() == 60
    world.run()
    assert world.real - 1000 < 60
    first = sorted(at for at, *_ in world.received)
    assert (first[-1] - first[0]).total_seconds() >= 49  # 100 at 2 a second


def test_a_campaigns_pace_caps_connections_and_rate() -> None:
    world = silent(settings(connections=10, rate=20.0, warm=True))
    world.give(*plan(gate_campaign(size=400, strategy=batch_strategy(400), rate=3.0, connections=2), [100] * 4))
    assert [(c.connections, c.rate) for _, c in world.chunks] == [(2, 3.0)]
    assert hold(world).reason == "connections"


def test_throttling_lowers_the_next_permit() -> None:
    world = silent(settings(connections=1, rate=10.0, warm=True))
    world.give(*plan(gate_campaign(size=900, strategy=batch_strategy(900)), [900]))
    assert last(world).rate == 10.0
    world.real += 31
    world.give(result(last(world), throttled=3))
    assert last(world).rate == 5.0


def test_a_younger_campaign_says_that_older_ones_use_the_connections() -> None:
    world = silent(settings(connections=1, warm=True))
    world.give(*plan(gate_campaign("a", size=10, strategy=batch_strategy(10)), [10]))
    world.give(*plan(gate_campaign("b", size=10, strategy=batch_strategy(10)), [10]))
    assert hold(world, "b").reason == "older_campaigns"
    assert "used by a" in hold(world, "b").detail
    world.give(result(last(world)))
    assert last(world).campaign_id == "b"


# --- calendar


@pytest.mark.parametrize(
    ("at", "reason", "until"),
    [
        (datetime(2026, 2, 2, 12, tzinfo=UTC), "window", datetime(2026, 2, 2, 14, tzinfo=UTC)),
        (datetime(2026, 2, 7, 15, tzinfo=UTC), "weekend", datetime(2026, 2, 9, 14, tzinfo=UTC)),
    ],
)
def test_outside_of_its_hours_a_campaign_is_held_until_they_begin(at: datetime, reason: str, until: datetime) -> None:
    world = silent(start=at)
    world.give(*plan(gate_campaign(size=25, created_at=at, window=OFFICE, weekends=True), [25]))
    assert (hold(world).reason, hold(world).until) == (reason, until)
    world.run(until=until)
    assert last(world).issued_at >= until


def test_a_campaign_that_starts_later_is_scheduled_until_then() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=25, start_at=MONDAY + timedelta(days=1)), [25]))
    assert world.progress["c"].state == "scheduled"
    assert (hold(world).reason, hold(world).until) == ("start_at", MONDAY + timedelta(days=1))
    assert world.progress["c"].batches.held == 1


# --- senders that fail, or do not answer


def test_a_permit_without_a_result_is_repeated_unchanged() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=25), [25]))
    world.run(until=MONDAY + timedelta(seconds=35))
    assert [round(at - 1000) for at, _ in world.chunks] == [0, 10, 20, 30]
    assert len({c.encode() for _, c in world.chunks}) == 1
    world.restart_now()
    world.run(until=MONDAY + timedelta(seconds=55))
    assert [round(at - 1000) for at, _ in world.chunks[4:]] == [40, 50]
    assert len({c.encode() for _, c in world.chunks}) == 1


def test_a_permit_without_any_answer_says_that_nobody_sends() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=25), [25]))
    world.run(until=MONDAY + timedelta(seconds=14))
    assert not world.progress["c"].holds
    world.run(until=MONDAY + timedelta(seconds=16))
    assert [h.reason for h in world.progress["c"].holds] == ["no_sender"]
    world.give(result(last(world), final=False, accepted=3, begun=3, stopped=None))
    world.run(until=MONDAY + timedelta(seconds=18))
    assert not world.progress["c"].holds
    assert world.batches["c", 1].state == "processing"


def begun_and_left(**more: Any) -> World:
    """A permit of 25 was begun and ten were accepted; 12 s after it was given out nothing is heard any more."""
    world = silent(**more)
    world.give(*plan(gate_campaign(size=25), [25]))
    world.run(until=MONDAY + timedelta(seconds=12))
    world.give(result(last(world), final=False, accepted=10, begun=15, stopped=None))
    return world


@pytest.mark.parametrize("restarts", [False, True])
def test_a_permit_that_was_begun_and_of_which_nothing_more_is_heard_says_that_nobody_sends(restarts: bool) -> None:
    world = begun_and_left()
    if restarts:
        world.restart_now()
    world.run(until=MONDAY + timedelta(seconds=41))
    going = world.progress["c"]
    assert (going.holds, going.per_minute > 0, going.eta is not None) == ((), True, True)
    world.run(until=MONDAY + timedelta(seconds=43))
    lost = world.progress["c"]
    assert [h.reason for h in lost.holds] == ["no_sender"]
    assert lost.holds[0].detail == "1 permit for 15 messages has had no answer for 30 s; is a sender running?"
    assert (lost.per_minute, lost.eta, lost.state) == (0.0, None, "running")
    world.run(until=MONDAY + timedelta(seconds=83))
    assert "for 70 s" in world.progress["c"].holds[0].detail
    world.give(result(last(world), 2, final=False, accepted=10, begun=15, stopped=None))
    world.run(until=MONDAY + timedelta(seconds=84))
    again = world.progress["c"]
    assert (again.holds, again.eta is not None) == ((), True)


def test_a_sender_that_reports_is_never_missed_however_slow_it_is() -> None:
    world = silent(settings(connections=1))
    world.give(*plan(gate_campaign(size=25), [25]))
    for version in range(1, 400):  # nothing comes of it for 13 minutes
        world.give(result(last(world), version, final=False, accepted=0, begun=1, stopped=None))
        world.run(until=world.now + timedelta(seconds=2))
        assert not any(h.reason == "no_sender" for h in world.progress["c"].holds)


def test_only_what_no_sender_answers_for_is_missed() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=40, strategy=batch_strategy(40)), [10] * 4))
    first, *others = [c for _, c in world.chunks]
    for version in range(1, 20):
        for chunk in (*others, *([first] if version == 1 else [])):
            world.give(result(chunk, version, final=False, accepted=2, begun=2, stopped=None))
        world.run(until=world.now + timedelta(seconds=2))
    (hold_,) = (h for h in world.progress["c"].holds if h.reason == "no_sender")
    assert (hold_.figures["permits"], hold_.figures["messages"]) == (1, 8)
    assert world.progress["c"].in_flight == 32


@pytest.mark.parametrize("planned_yet", [False, True])
def test_why_a_campaign_was_cancelled_is_kept(planned_yet: bool) -> None:
    world = silent()
    first, *others = plan(gate_campaign(size=50), [25, 25])
    world.give(first, *(others if planned_yet else []))
    world.command("cancel", reason="wrong list")
    world.give(*(others if not planned_yet else []))
    world.command("cancel", reason="once more")
    world.restart_now()
    stands = world.core.progress("c", world.now, world.real)
    assert (stands.state, stands.cancel_reason) == ("cancelled", "wrong list")


def test_what_was_on_the_way_in_a_cancelled_campaign_waits_for_a_sender() -> None:
    world = begun_and_left()
    world.command("cancel")
    assert not world.progress["c"].holds
    world.run(until=MONDAY + timedelta(seconds=60))
    stands = world.progress["c"]
    assert (stands.state, stands.in_flight, stands.accepted) == ("cancelled", 15, 10)
    assert "15 messages has had no answer" in stands.holds[0].detail
    world.give(result(last(world), 2, accepted=12, begun=12, unsent=((12, 25),), stopped="cancelled"))
    assert not world.core.progress("c", world.now, world.real).holds


def test_a_relay_that_is_down_is_tried_by_one_message_with_longer_and_longer_breaks() -> None:
    world = silent(settings(connections=4, warm=True))
    world.give(*plan(gate_campaign(size=40, strategy=batch_strategy(40)), [10] * 4))
    tried = []
    for chunk in [c for _, c in world.chunks]:
        world.give(result(chunk, begun=0, accepted=0, sent_on={}, unsent=chunk.ranges, stopped="relay_down",
                          detail="connection refused"))  # fmt: skip
    assert hold(world).reason == "relay_down"
    assert "connection refused" in hold(world).detail
    version = 1
    for _ in range(8):
        count = len(world.chunks)
        while len(world.chunks) == count:
            world.real = world.next_wake or 0.0
            world.take(world.core.tick(world.now, world.real))
        assert last(world).permitted() == 1
        tried.append(round(world.real - 1000))
        version += 1
        world.give(result(last(world), version, begun=0, accepted=0, sent_on={}, unsent=last(world).ranges,
                          stopped="relay_down", detail="still refused"))  # fmt: skip
    assert tried == [1, 3, 7, 15, 31, 63, 123, 183]
    assert hold(world).figures["attempts"] == 9
    world.relay_up = world.sender_up = True
    for number in world.core.tables.campaigns["c"].batches:
        world.owned["c", number] = Owned(version=99)
    world.run()
    assert world.progress["c"].accepted == 40


def down_for_long(said: str = "auth: 535 no such user") -> World:
    """A relay that refused everything so often that its next probe is minutes away."""
    world = silent(settings(connections=1, warm=True))
    world.give(*plan(gate_campaign(size=40, strategy=batch_strategy(40)), [10] * 4))
    for version in range(1, 10):
        world.give(result(last(world), version, begun=0, accepted=0, sent_on={}, unsent=last(world).ranges,
                          stopped="relay_down", detail=said))  # fmt: skip
        down = world.core.tables.relays["main"].down
        assert down is not None
        if version < 9:
            world.real = down.next_real
            world.take(world.core.tick(world.now, world.real))
    assert hold(world).figures["next_try_seconds"] == 256.0
    return world


def test_a_relay_whose_every_try_leaves_somebody_in_doubt_is_tried_seldom() -> None:
    assert "tried again by itself" in hold(down_for_long("network: does not reply to any message")).detail


@pytest.mark.parametrize(
    ("orders", "more"),
    [
        (["resume"], {}),
        (["retry"], {}),
        (["pause", "resume"], {}),
        (["resume"], {"domain": "bore.example"}),
        (["pause", "resume"], {"domain": "bore.example"}),
    ],
)
def test_a_relay_that_is_down_is_tried_at_once_by_an_order(orders: list[str], more: dict[str, Any]) -> None:
    world = down_for_long()
    count = len(world.chunks)
    for order in orders:
        world.command(order, **more)
    assert len(world.chunks) == count + 1
    assert (last(world).probe, last(world).permitted()) == (True, 1)
    assert "it is being tried now" in hold(world).detail
    world.command("resume")  # once more changes nothing
    assert len(world.chunks) == count + 1
    assert not world.dead


def test_a_relay_that_still_refuses_after_an_order_is_left_for_as_long_as_before() -> None:
    world = down_for_long()
    world.command("resume", domain="bore.example")
    world.give(result(last(world), 99, begun=0, accepted=0, sent_on={}, unsent=last(world).ranges,
                      stopped="relay_down", detail="auth: 535 still no such user"))  # fmt: skip
    assert (hold(world).figures["attempts"], hold(world).figures["next_try_seconds"]) == (10, 512.0)


def test_no_end_is_expected_while_the_relay_is_down() -> None:
    world = down_for_long()
    assert world.core.progress("c", world.now, world.real).eta is None
    world.command("resume")
    assert world.core.progress("c", world.now, world.real).eta is None
    world.give(result(last(world), 99, begun=1, accepted=1))
    assert world.core.progress("c", world.now, world.real).eta is not None


def test_a_relay_that_refuses_its_probe_is_down_also_while_that_is_only_reported_in_part() -> None:
    world = silent(settings(connections=4, warm=True))
    world.give(*plan(gate_campaign(size=40, strategy=batch_strategy(40)), [40]))
    world.give(result(last(world), begun=0, accepted=0, sent_on={}, unsent=((0, 40),), stopped="relay_down",
                      detail="refused: 554 5.7.1 blocked"))  # fmt: skip
    version, refused, waits = 1, [], []
    for attempt in range(1, 5):
        count = len(world.chunks)
        while len(world.chunks) == count:
            world.real = world.next_wake or 0.0
            world.take(world.core.tick(world.now, world.real))
        probe, (start, _) = last(world), last(world).ranges[0]
        refused.append((start, start + 1, 1))
        said = {"begun": 1, "accepted": 0, "sent_on": {world.now.date(): 1}, "deferred": tuple(refused),
                "at": world.now}  # fmt: skip
        world.give(result(probe, version := version + 1, final=False, stopped=None, **said))
        world.run(until=world.now + timedelta(seconds=0.5))
        down = world.core.tables.relay("main").down
        assert down is not None
        assert (down.probe, down.attempts) == (probe.permit_id, attempt)
        assert last(world).permit_id == probe.permit_id
        assert world.core.tables.campaigns["c"].allowed_since is None
        world.give(result(probe, version := version + 1, stopped="relay_down", detail="refused: 554 5.7.1 blocked",
                          **said))  # fmt: skip
        assert down.attempts == attempt + 1
        waits.append(down.next_real - world.real)
    assert waits == [2, 4, 8, 16]
    assert [(a.kind, a.resolved) for a in world.alerts] == [("relay_down", False)]


@pytest.mark.parametrize("campaign", ["c", "d"])
def test_whether_a_relay_works_again_is_found_out_by_one_who_was_not_deferred(campaign: str) -> None:
    """The deferred one may be the only one whom it refuses: he is of an older campaign, or of the same."""
    world = silent(settings(warm=True, connections=2), speed=60.0)
    strategy = batch_strategy(10, interval=0, at_once=1)
    sizes = [10, 20] if campaign == "c" else [10]
    world.give(*plan(gate_campaign(size=sum(sizes), strategy=strategy), sizes))
    old = last(world)
    if campaign == "d":
        world.give(*plan(gate_campaign("d", size=20, strategy=strategy), [20]))
    world.give(result(old, accepted=9).model_copy(update={"deferred": ((3, 4, 1),)}))
    new, tried, version = last(world), [], 0
    assert (new.campaign_id, new.batch_number) != (old.campaign_id, old.batch_number)
    for _ in range(6):
        refused = {"begun": 0, "accepted": 0, "sent_on": {}, "unsent": last(world).ranges, "stopped": "relay_down"}
        world.give(result(last(world), version := version + 1, **refused, detail="refused: 550 5.4.5 no"))
        before = last(world)
        while last(world) is before:
            world.real = world.next_wake or 0.0
            world.take(world.core.tick(world.now, world.real))
        tried.append((last(world).campaign_id, last(world).batch_number, last(world).deferrals, last(world).probe))
    assert world.now > MONDAY + timedelta(minutes=10)  # he is due
    assert set(tried) == {(new.campaign_id, new.batch_number, 0, True)}
    world.give(result(last(world), version + 1, accepted=1, unsent=(), at=world.now))
    assert any(c.deferrals == 1 and not c.probe for _, c in world.chunks)


@pytest.mark.parametrize(("stopped", "works"), [("done", True), ("expired", False), ("paused", False)])
def test_a_probe_that_was_cut_off_proves_nothing(stopped: str, works: bool) -> None:
    world = silent(settings(connections=4, warm=True))
    world.give(*plan(gate_campaign(size=40, strategy=batch_strategy(40)), [40]))
    world.give(result(last(world), begun=0, accepted=0, sent_on={}, unsent=((0, 40),), stopped="relay_down",
                      detail="refused: 554 5.7.1 blocked"))  # fmt: skip
    world.run(until=world.now + timedelta(seconds=2))
    world.give(result(last(world), 2, begun=1, accepted=0, deferred=((0, 1, 1),), stopped=stopped))
    assert (world.core.tables.relay("main").down is None) == works


def test_a_chunk_that_fails_three_times_is_a_dead_letter_and_the_others_go_on() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=20, strategy=batch_strategy(20)), [10, 10]))
    bad, good = (c for _, c in world.chunks)
    world.give(result(good))
    for version in (1, 2, 3):
        world.give(result(bad, version, begun=0, accepted=0, sent_on={}, unsent=bad.ranges, stopped="error",
                          detail="the recipients are gone"))  # fmt: skip
        world.run(until=world.now + timedelta(seconds=5))
        bad = last(world)
    dead = world.dead[0]
    assert dead.chunk is not None
    assert (dead.chunk.batch_number, dead.attempts) == (1, 3)
    progress = world.progress["c"]
    assert (progress.state, progress.accepted, progress.failed) == ("completed", 10, 10)
    assert "the recipients are gone" in (world.batches["c", 1].error or "")
    world.command("retry")
    assert hold(world).reason == "interval"
    world.run(until=MONDAY + timedelta(hours=1))
    assert (last(world).round, last(world).ranges) == (1, ((0, 10),))
    world.give(result(last(world), 4))
    assert world.progress["c"].accepted == 20


def test_results_that_are_not_newer_change_nothing() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    chunk = last(world)
    world.give(result(chunk, 5, final=False, begun=4, accepted=4, stopped=None))
    store = dict(world.store)
    world.give(result(chunk, 5), result(chunk, 4))
    assert world.store == store
    world.give(result(chunk, 6))
    assert world.progress["c"].state == "completed"


def test_a_result_for_an_unknown_batch_is_a_dead_letter() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=25), [25]))
    world.give(result(last(world).model_copy(update={"campaign_id": "stranger"})))
    assert "never planned" in world.dead[0].error


# --- orders of people


def controls(world: World, action: str, **more: Any) -> list[BatchControl]:
    """The controls that follow from an order."""
    before = len(world.controls)
    world.command(action, **more)
    return world.controls[before:]


def test_pause_ends_what_is_being_sent_and_resume_goes_on() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=50), [25, 25]))
    chunk = last(world)
    told = controls(world, "pause", reason="the figures look odd")
    assert [(c.action, c.batch_number) for c in told] == [("pause", 1)]
    assert world.progress["c"].state == "paused"
    assert "the figures look odd" in hold(world).detail
    world.give(result(chunk, begun=5, accepted=5, sent_on={date(2026, 2, 2): 5}, unsent=[(5, 25)], stopped="paused"))
    world.run(until=MONDAY + timedelta(hours=3))
    assert last(world) is chunk
    told = controls(world, "resume")
    assert [(c.action, c.batch_number) for c in told] == [("resume", 1)]
    assert last(world).ranges == ((5, 25),)


def test_a_command_that_comes_again_changes_nothing() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=50), [25, 25]))
    world.command("pause")
    world.command("resume")
    world.offset -= 2
    store = dict(world.store)
    world.command("pause")
    assert world.store == store
    assert world.progress["c"].state == "running"


def test_a_command_while_the_campaign_is_being_planned_is_kept() -> None:
    world = silent()
    inputs = plan(gate_campaign(size=50), [25, 25])
    world.give(inputs[0])
    world.command("pause", reason="wait")
    world.restart_now()
    world.give(*inputs[1:])
    assert (world.chunks, world.progress["c"].state) == ([], "paused")
    world.command("resume")
    assert last(world).permitted() == 25


def test_a_command_for_an_unknown_campaign_is_a_dead_letter() -> None:
    world = silent()
    world.command("pause", "nobody")
    assert "the gate has no campaign nobody" in world.dead[0].error


def test_cancel_counts_who_waits_at_once_and_the_rest_when_it_is_known() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=75), [25, 25, 25]))
    chunk = last(world)
    assert [c.action for c in controls(world, "cancel")] == ["cancel"]
    progress = world.progress["c"]
    assert (progress.state, progress.cancelled, progress.in_flight) == ("cancelled", 50, 25)
    world.give(result(chunk, begun=5, accepted=5, sent_on={date(2026, 2, 2): 5}, unsent=[(5, 25)], stopped="cancelled"))
    world.run(until=MONDAY + timedelta(minutes=1))
    progress = world.progress["c"]
    assert (progress.cancelled, progress.in_flight, progress.accepted) == (70, 0, 5)
    assert progress.batches.cancelled == 3
    world.command("retry")
    assert "is cancelled" in world.dead[0].error


def test_retry_sends_to_those_who_failed_in_a_round_of_their_own() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    world.give(result(last(world), accepted=7, failed=[(2, 4), (9, 10)]))
    assert (world.progress["c"].state, world.progress["c"].failed) == ("completed", 3)
    world.run(until=MONDAY + timedelta(hours=1))
    world.command("retry")
    assert (last(world).round, last(world).ranges) == (1, ((2, 4), (9, 10)))
    assert (world.progress["c"].state, world.progress["c"].failed) == ("running", 0)
    world.give(result(last(world), 2, accepted=9, failed=[(9, 10)]))
    assert (world.progress["c"].state, world.progress["c"].failed) == ("completed", 1)


@pytest.mark.parametrize("resolution", ["accepted", "drop"])
def test_who_is_in_doubt_is_settled_by_the_owner(resolution: str) -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    world.give(result(last(world), accepted=8, in_doubt=[(3, 5)]))
    assert (world.progress["c"].state, world.progress["c"].in_doubt) == ("completed", 2)
    told = controls(world, "resolve", resolution=resolution)
    assert [(c.action, c.resolution, c.indices) for c in told] == [("resolve", resolution, ((3, 5),))]


def test_whom_an_order_has_given_up_is_not_tried_again_with_those_who_failed() -> None:
    """He may have his message."""
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    chunk = last(world)
    world.give(result(chunk, accepted=7, in_doubt=[(3, 5)], failed=[(9, 10)]))
    order = controls(world, "resolve", resolution="drop")[0].version
    world.give(
        result(chunk, 2, accepted=7, failed=[(3, 5), (9, 10)]).model_copy(update={"order": order, "resolved": 2})
    )
    world.restart_now()
    world.run(until=MONDAY + timedelta(hours=1))
    world.command("retry")
    assert (last(world).round, last(world).ranges) == (1, ((9, 10),))
    world.give(result(last(world), 3, accepted=8, failed=[(3, 5)]))
    assert (world.progress["c"].state, world.progress["c"].failed, world.progress["c"].given_up) == ("completed", 2, 2)
    world.command("retry")
    assert "they may have their message" in world.dead[0].error
    assert last(world).round == 1


def test_who_is_in_doubt_in_a_batch_that_is_put_aside_stays_so_when_the_campaign_is_cancelled() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    chunk = last(world)
    world.give(result(chunk, 1, final=False, begun=8, accepted=6, in_doubt=[(3, 5)], stopped=None))
    aside = {"aside": True, "stopped": "unready", "accepted": 0, "sent_on": {}, "detail": "broken"}
    world.give(result(chunk, 0, begun=10, unsent=chunk.ranges, **aside))
    world.command("cancel")
    world.give(result(chunk, 2, begun=8, accepted=6, in_doubt=[(3, 5)], unsent=((8, 10),), stopped="cancelled",
                      open=((8, 10),)))  # fmt: skip
    progress = world.core.progress("c", world.now, world.real)
    told = controls(world, "resolve", resolution="accepted")
    assert (progress.in_doubt, [c.indices for c in told]) == (2, [((3, 5),)])


def test_who_is_in_doubt_can_be_sent_again() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    world.give(result(last(world), accepted=8, in_doubt=[(3, 5)]))
    world.run(until=MONDAY + timedelta(hours=1))
    world.command("resolve", resolution="resend")
    assert (last(world).round, last(world).ranges) == (1, ((3, 5),))


def test_for_an_address_the_owners_are_asked_and_who_is_open_again_is_released() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=20, strategy=batch_strategy(10, interval=0)), [10, 10]))
    (_, first), (_, second) = world.chunks
    world.give(result(first, accepted=8, in_doubt=[(3, 5)]))
    world.give(result(second, accepted=9, in_doubt=[(1, 2)]))
    assert (world.progress["c"].state, world.progress["c"].in_doubt) == ("completed", 3)
    told = controls(world, "resolve", resolution="resend", address="a@b.example")
    assert [(c.batch_number, c.indices) for c in told] == [(1, ((3, 5),)), (2, ((1, 2),))]
    chunks = [c for _, c in world.chunks]
    nobody = result(chunks[1], 2, accepted=9, in_doubt=[(1, 2)]).model_copy(update={"order": told[1].version})
    world.give(nobody, nobody)
    more = {"order": told[0].version, "resolved": 1, "open": ((4, 5),)}
    world.give(result(chunks[0], 2, accepted=8, in_doubt=[(3, 4)]).model_copy(update=more))
    assert (last(world).batch_number, last(world).round, last(world).ranges) == (1, 0, ((4, 5),))
    progress = world.core.progress("c", world.now, world.real)
    assert (progress.state, progress.in_doubt, progress.in_flight, world.dead) == ("running", 2, 1, [])


def test_an_address_that_nobody_in_doubt_has_is_a_dead_letter_once_all_owners_have_said_so() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    world.give(result(last(world), accepted=8, in_doubt=[(3, 5)]))
    told = controls(world, "resolve", resolution="drop", address="who@b.example")
    assert world.dead == []
    said = result(last(world), 2, accepted=8, in_doubt=[(3, 5)]).model_copy(update={"order": told[0].version})
    world.give(said)
    assert "nobody in doubt in campaign c has the address who@b.example" in world.dead[0].error
    assert world.dead[0].command is not None
    assert (world.dead[0].command.address, world.core.tables.campaigns["c"].asked) == ("who@b.example", [])


def test_an_owner_who_has_put_the_batch_aside_answers_an_order_about_an_address_too() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10)), [10]))
    world.give(result(last(world), accepted=8, in_doubt=[(3, 5)]))
    told = controls(world, "resolve", resolution="drop", address="who@b.example")
    aside = {"permit_id": "", "version": 0, "order": told[0].version, "aside": True, "detail": "row c/1#0 is broken"}
    world.give(result(last(world), 2).model_copy(update=aside))
    assert "not every batch could be asked. Say it again when this is mended: batch 1: row c/1#0" in world.dead[0].error
    assert world.core.tables.campaigns["c"].asked == []
    assert world.core.tables.campaigns["c"].batches[1].in_doubt == [(3, 5)]


@pytest.mark.parametrize("resolution", ["accepted", "drop"])
def test_an_order_about_all_in_doubt_says_which_batch_could_not_carry_it_out(resolution: str) -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=20, strategy=batch_strategy(10, interval=0)), [10, 10]))
    (_, first), (_, second) = world.chunks
    world.give(result(first, accepted=8, in_doubt=[(3, 5)]))
    world.give(result(second, accepted=8, in_doubt=[(1, 3)]))
    one, other = controls(world, "resolve", resolution=resolution)
    settled = {"order": one.version, "resolved": 2, "settled": ((3, 5),)}
    ends = {"accepted": 10} if resolution == "accepted" else {"accepted": 8, "failed": ((3, 5),)}
    world.give(result(first, 2, **ends).model_copy(update=settled))
    assert world.dead == []
    aside = {"permit_id": "", "version": 0, "order": other.version, "aside": True, "detail": "row c/2#0 is broken"}
    world.give(result(second, 2).model_copy(update=aside))
    assert "2 recipients were settled, but a batch is put aside" in world.dead[0].error
    assert "batch 2: row c/2#0 is broken" in world.dead[0].error
    assert world.dead[0].command is not None
    assert (world.core.tables.campaigns["c"].asked, len(world.dead)) == ([], 1)
    done = controls(world, "resolve", resolution=resolution)
    assert [c.batch_number for c in done] == [2]
    world.give(result(second, 2, accepted=10).model_copy(update={"order": done[0].version, "resolved": 2}))
    assert (world.core.tables.campaigns["c"].asked, len(world.dead)) == ([], 1)


def test_who_is_open_again_in_a_campaign_that_was_cancelled_is_cancelled() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=20, strategy=batch_strategy(10)), [10, 10]))
    chunk = last(world)
    world.give(result(chunk, accepted=8, in_doubt=[(3, 5)]))
    world.command("cancel")
    world.give(result(chunk, 2, accepted=8).model_copy(update={"open": ((3, 5),)}))
    progress = world.core.progress("c", world.now, world.real)
    assert (progress.cancelled, progress.in_doubt, progress.accepted) == (12, 0, 8)


def test_evidence_goes_to_the_owner_of_who_is_in_doubt_or_in_flight_and_of_nobody_else() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=20, strategy=batch_strategy(10)), [10, 10]))

    def seen(number: int, index: int) -> Evidence:
        return Evidence(
            relay="main", campaign_id="c", batch_number=number, recipient_index=index, event_id="e", at=world.now
        )

    world.give(seen(1, 4))
    world.give(result(last(world), accepted=8, in_doubt=[(3, 5)]))
    world.give(seen(1, 3), seen(1, 8), seen(2, 0), seen(9, 0), seen(1, 99))
    assert [(c.action, c.batch_number, c.indices) for c in world.controls] == [
        ("evidence", 1, ((4, 5),)), ("evidence", 1, ((3, 4),)),
    ]  # fmt: skip
    assert world.dead == []


def waiting_again(how: str) -> World:
    """A campaign of ten in which the third is to be sent to again, and cannot be now."""
    world = silent(settings(warm=True))
    policy: Any = "resend" if how == "policy" else "hold"
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10, interval=0), in_doubt=policy), [10]))
    if how == "policy":
        world.command("pause")
        world.give(result(last(world), accepted=9, unsent=[(3, 4)]))
    elif how == "deferred":
        world.give(result(last(world), accepted=9).model_copy(update={"deferred": ((3, 4, 1),)}))
    else:
        world.give(result(last(world), accepted=9, in_doubt=[(3, 4)]))
        world.command("pause", domain="bore.example")
        world.command("resolve", resolution="resend")
    return world


@pytest.mark.parametrize("how", ["policy", "order", "deferred", "cancelled"])
def test_evidence_settles_who_is_to_be_sent_to_again_and_the_figures_say_so(how: str) -> None:
    world = waiting_again(how)
    if how == "cancelled":
        world.command("cancel")
    given = Evidence(relay="main", campaign_id="c", batch_number=1, recipient_index=3, event_id="e", at=world.now)
    world.give(given)
    told = world.controls[-1]
    assert (told.action, told.indices) == ("evidence", ((3, 4),))
    world.give(result(last(world), 2, accepted=9, in_doubt=[(3, 4)]))  # its owner looks for his address
    before = world.core.progress("c", world.now, world.real)
    assert (before.waiting, before.cancelled, before.in_doubt) == ((0, 1, 0) if how == "cancelled" else (1, 0, 0))
    settled = {"order": told.version, "resolved": 1, "settled": ((3, 4),)}
    world.give(result(last(world), 3, accepted=10).model_copy(update=settled))
    after = world.core.progress("c", world.now, world.real)
    assert (after.accepted, after.waiting, after.in_flight, after.cancelled, after.in_doubt) == (10, 0, 0, 0, 0)
    assert after.state == ("cancelled" if how == "cancelled" else "completed")
    assert len(world.chunks) == 1


def test_a_campaign_that_resends_releases_what_its_owner_gives_back_and_no_round_of_its_own() -> None:
    world = silent(settings(warm=True))
    campaign = gate_campaign(size=10, strategy=batch_strategy(10, interval=0), in_doubt="resend")
    world.give(*plan(campaign, [10]))
    world.give(result(last(world), accepted=8, unsent=[(3, 5)]))
    assert (last(world).round, last(world).ranges) == (0, ((3, 5),))
    world.give(result(last(world), 2, accepted=8, in_doubt=[(3, 5)]))
    progress = world.core.progress("c", world.now, world.real)
    assert (progress.state, progress.in_doubt, len(world.chunks)) == ("completed", 2, 2)


def test_the_largest_batch_shattered_into_single_failures_stays_small_and_quick() -> None:
    size = 10_000
    world = silent(settings(warm=True, max_permit=size))
    world.give(*plan(gate_campaign(size=size, strategy=batch_strategy(size, interval=0)), [size]))
    failed, doubtful = [(i, i + 1) for i in range(0, size, 2)], [(i, i + 1) for i in range(1, size, 2)]
    began = process_time()
    world.give(result(last(world), failed=failed, in_doubt=doubtful, accepted=0))
    world.command("retry")
    world.command("resolve", resolution="accepted")
    chunk, order = last(world), world.controls[-1]
    assert (chunk.permitted(), chunk.round, len(order.indices)) == (5000, 1, 5000)
    world.give(result(chunk, 2, failed=failed, in_doubt=doubtful, accepted=0, unsent=failed))
    world.command("resolve", resolution="resend")
    assert process_time() - began < 3  # seconds; comparing each range with each other took a minute
    written = [*world.store.values(), chunk.encode(), last(world).encode(), order.encode()]
    assert max(map(len, written)) < 500_000


def failing(world: World, version: int, stopped: str, words: str) -> None:
    """The newest permit ends with nothing done."""
    chunk = last(world)
    more = {"begun": 0, "accepted": 0, "sent_on": {}, "unsent": chunk.ranges, "stopped": stopped, "detail": words}
    world.give(result(chunk, version, **more))


def test_what_goes_wrong_with_a_whole_batch_is_among_the_campaigns_last_errors_and_holds() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10, interval=0)), [10]))
    for version in (1, 2):
        failing(world, version, "error", "the template has no end")
        assert (hold(world).reason, hold(world).figures["batch"]) == ("error", 1)
        assert "the template has no end" in hold(world).detail
        world.restart_now()
        assert hold(world).reason == "error"
        world.run(until=world.now + timedelta(seconds=5))
    failing(world, 3, "error", "the template has no end")
    found = world.core.progress("c", world.now, world.real)
    assert (found.state, found.failed, found.holds) == ("completed", 10, ())
    assert [(e.email, e.attempts) for e in found.last_errors] == [("", 3)]
    assert "the template has no end" in found.last_errors[0].error
    assert world.progress["c"].last_errors == found.last_errors


def test_what_a_sender_does_not_have_yet_is_waited_for_and_nobody_fails_by_it() -> None:
    world = silent(settings(warm=True))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10, interval=0)), [10]))
    for version in range(1, 11):
        failing(world, version, "unready", "campaign c is not on the topic campaigns")
        assert "is not on the topic campaigns" in hold(world).detail
        world.run(until=world.now + timedelta(seconds=10))
    world.give(result(last(world), 11))
    progress = world.progress["c"]
    assert (progress.state, progress.accepted, progress.failed, progress.last_errors) == ("completed", 10, 0, ())
    assert (world.dead, len({c.permit_id for _, c in world.chunks})) == ([], 11)


def two_campaigns(config: Any, **pace: Any) -> World:
    """An older campaign with a pace of its own, and one without; five batches each."""
    world = silent(config)
    strategy = batch_strategy(500, interval=0)
    world.give(*plan(gate_campaign("slow", size=500, strategy=strategy, **pace), [100] * 5))
    later = MONDAY + timedelta(seconds=1)
    quick = gate_campaign("quick", size=500, strategy=strategy, created_at=later, start_at=MONDAY)
    world.give(*plan(quick, [100] * 5))
    return world


def connections(world: World, campaign: str) -> int:
    return sum(c.connections for _, c in world.chunks if c.campaign_id == campaign)


@pytest.mark.parametrize(("rate", "needed"), [(0.2, 1), (1.0, 1), (2.5, 3), (4.0, 4)])
@pytest.mark.parametrize("relay_rate", [None, 50.0])
def test_a_slowly_paced_campaign_leaves_the_connections_that_it_does_not_need(
    rate: float, needed: int, relay_rate: float | None
) -> None:
    world = two_campaigns(settings(warm=True, connections=5, rate=relay_rate), rate=rate)
    assert connections(world, "slow") == needed
    assert connections(world, "quick") == 5 - needed
    assert sum(c.rate or 0 for _, c in world.chunks if c.campaign_id == "slow") == pytest.approx(rate)
    assert hold(world, "slow").reason == "rate"


def test_a_paced_campaign_leaves_room_also_for_those_who_begin_in_the_same_turn() -> None:
    world = silent(settings(warm=True, connections=5))
    strategy = batch_strategy(500, interval=0)
    at = MONDAY + timedelta(minutes=10)
    for name, rate, created in (("slow", 1.0, MONDAY), ("quick", None, MONDAY + timedelta(seconds=1))):
        campaign = gate_campaign(name, size=500, strategy=strategy, created_at=created, start_at=at, rate=rate)
        world.give(*plan(campaign, [100] * 5))
    world.run(until=at + timedelta(seconds=1))
    assert (connections(world, "slow"), connections(world, "quick")) == (1, 4)


def test_a_pace_that_is_quicker_than_the_relay_costs_a_campaign_nothing_of_its_share() -> None:
    world = silent(settings(warm=True, connections=10, rate=1.0))
    world.give(*plan(gate_campaign(size=100, strategy=batch_strategy(100), rate=5.0), [100]))
    assert last(world).rate == pytest.approx(1.0)


def test_another_strategy_re_times_what_is_not_yet_released() -> None:
    world = World(settings(), speed=3600)
    world.give(*plan(gate_campaign(size=300), ramp_up_batches(300)))
    world.run(until=MONDAY + timedelta(minutes=30))
    assert len(world.received) == 25
    world.command("strategy", strategy=batch_strategy(100, interval=15))
    world.run()
    assert list(world.by_day().values()) == [300]
    assert {c.batch_number for _, c in world.chunks} == set(range(1, 7))
    assert world.progress["c"].strategy == "batch"


def test_a_paused_domain_holds_all_of_its_campaigns() -> None:
    world = silent()
    world.give(*plan(gate_campaign("a", size=25), [25]), *plan(gate_campaign("b", size=50), [50]))
    world.command("pause", domain="bore.example", reason="blocklisted")
    assert hold(world, "b").reason == "domain_paused"
    assert "blocklisted" in hold(world, "b").detail
    world.give(result(last(world)))
    world.command("pause", "b")
    world.command("resume", domain="bore.example")
    assert hold(world, "b").reason == "paused"
    world.command("resume", "b")
    assert last(world).campaign_id == "b"
    world.command("pause", domain="else.example")
    assert "else.example" in world.dead[0].error


def test_a_domain_that_the_settings_do_not_have_is_held_and_says_so() -> None:
    world = silent()
    world.give(*plan(gate_campaign(size=25, domain="gone.example"), [25]))
    assert hold(world).reason == "unknown_domain"


# --- what is shown


def test_progress_is_written_at_changes_of_state_and_else_twice_a_second() -> None:
    world = World(settings(connections=1, rate=50.0, warm=True), delay=0.001, latency=0.001)
    world.give(*plan(gate_campaign(size=500, strategy=batch_strategy(500)), [5] * 100))
    world.run()
    assert world.shown <= (world.real - 1000) / 0.5 + 4
    assert world.progress["c"].percent == 100.0
    assert world.progress["c"].per_minute == 0.0
    assert world.progress["c"].last_errors == ()


def test_the_last_ten_errors_are_kept() -> None:
    world = World(settings(warm=True), outcomes={"failed": 1.0})
    world.give(*plan(gate_campaign(size=50, strategy=batch_strategy(50)), [5] * 10))
    world.run()
    errors = world.progress["c"].last_errors
    assert len(errors) == 10
    assert errors[0].error == "550 no"


def test_speed_counts_the_last_minutes_of_the_installations_clock() -> None:
    world = World(settings(connections=1, rate=2.0, warm=True))
    world.give(*plan(gate_campaign(size=1000, strategy=batch_strategy(1000)), [1000]))
    world.run(until=MONDAY + timedelta(minutes=4))
    assert 90 <= world.progress["c"].per_minute <= 130
    assert world.progress["c"].eta is not None


def test_a_strategy_may_have_no_limit_at_all() -> None:
    world = silent(settings())
    free = Strategy(
        name="free", type="ramp_up", intervals_minutes=(0.0,), steps=(Step(day=1, daily_limit=None, batch_size=9),)
    )
    world.give(*plan(gate_campaign(size=9, strategy=free), [9]))
    assert last(world).permitted() == 9


def test_a_batch_that_its_owner_has_put_aside_is_held_gives_its_connections_back_and_is_asked_for_again() -> None:
    world = silent(settings(warm=True, connections=2))
    world.give(*plan(gate_campaign(size=10, strategy=batch_strategy(10, interval=0)), [10]))
    aside = {"aside": True, "stopped": "unready", "accepted": 0, "sent_on": {}, "detail": "row c/1#0 cannot be read"}
    world.give(result(last(world), 1, final=False, begun=3, accepted=3, sent_on={}, stopped=None))
    for turn in range(5):  # it never fails by it, however often
        chunk = last(world)
        said = result(chunk, 0, begun=10 if turn == 0 else 0, unsent=chunk.ranges, **aside)
        world.give(said, said)
        progress = world.core.progress("c", world.now, world.real)
        assert "row c/1#0 cannot be read" in next(h.detail for h in progress.holds if h.reason == "error")
        assert (progress.accepted, progress.failed, progress.in_flight, progress.conserved()) == (3, 0, 0, 10)
        assert (world.core.tables.relays["main"].permits, len(world.dead)) == ({}, 0)
        world.run(until=world.now + timedelta(seconds=61))
        assert last(world).permit_id > chunk.permit_id
    world.give(result(last(world), 9, begun=7, accepted=10))  # its owner can read it again
    assert (world.progress["c"].state, world.progress["c"].accepted) == ("completed", 10)


def test_batches_without_an_interval_share_the_connections_so_that_one_goes_on_while_another_ends() -> None:
    world = silent(settings(warm=True))
    sizes = [10] * 8
    world.give(*plan(gate_campaign(size=80, strategy=batch_strategy(10, interval=0)), sizes))
    limit = settings(warm=True).relays["main"].connections
    first, *_ = chunks = [chunk for _, chunk in world.chunks]
    assert [c.batch_number for c in chunks] == [1, 2, 3, 4, 5]
    assert [c.connections for c in chunks] == [limit // 5] * 5
    world.give(result(first, accepted=10))
    assert (last(world).batch_number, last(world).connections) == (6, first.connections)
