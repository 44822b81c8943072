"""Who was refused for now is released again by the schedule, charged to that day, and given up after some time in which
sending was allowed."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from gate_world import DOMAINS, MONDAY, OFFICE, Answer, World, as_drawn, batch_strategy, gate_campaign, plan, settings
from hypothesis import given
from hypothesis import strategies as st
from test_gate_random import QUICK, campaigns, check_days, come_to_rest, disturb, limits, start

from console.explain import explain
from schemas.chunk import Chunk
from sender.gate.settings import Deferrals

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def world_of(sizes: list[int], *, speed: float = 60.0, world: dict[str, Any] | None = None, **more: Any) -> World:
    """A campaign of these batches, by `batch` with an interval of 30 minutes, at a server that is told what to say."""
    made = World(settings(**(world or {})), speed=speed, restart=0.1, repeat=0.1)
    made.give(*plan(gate_campaign(size=sum(sizes), **{"strategy": batch_strategy(at_once=2), **more}), sizes))
    return made


def always(at: datetime, chunk: Chunk, i: int) -> str | None:
    return "deferred"


def once(at: datetime, chunk: Chunk, i: int) -> str | None:
    return None if chunk.deferrals else "deferred"


def but_five(at: datetime, chunk: Chunk, i: int) -> str | None:
    return None if i < 5 else "deferred"


def first_batch(at: datetime, chunk: Chunk, i: int) -> str | None:
    return "deferred" if chunk.batch_number == 1 else None


def saying(kinds: dict[int, str]) -> Answer:
    """By index; whoever is not there is accepted."""

    def answer(at: datetime, chunk: Chunk, i: int) -> str | None:
        return kinds.get(i)

    return answer


def minutes(world: World) -> list[int]:
    """When something went out, in minutes since the start, to the nearest."""
    every = [*world.refused, *world.received]
    return sorted({round((at - MONDAY) / MINUTE) for at, *_ in every})


def test_a_greylisting_server_takes_everybody_five_minutes_later() -> None:
    world = world_of([400], speed=1.0)
    world.answer = once
    world.run(until=MONDAY + 4 * MINUTE)
    progress = world.standing()[0]
    assert (progress.state, progress.accepted, progress.waiting, progress.deferred) == ("running", 0, 400, 400)
    world.run()
    assert len(world.refused) == len(world.received) == 400
    assert world.twice() == 0
    assert all(5 * MINUTE <= at - MONDAY <= 6 * MINUTE for at, *_ in world.received)
    assert {c.round for _, c in world.chunks} == {0}  # the same message, with the same Message-ID
    assert world.standing()[0].state == "completed"


def test_the_schedule_is_5_min_15_min_1_h_then_every_4_h_and_ends_after_24_h() -> None:
    world = world_of([3])
    world.answer = always
    world.run()
    waited = [0, 5, 20, 80, 320, 560, 800, 1040, 1280, 1440]
    gone = minutes(world)
    assert len(gone) == len(waited)
    assert all(w <= m <= w * 1.06 + 2 for m, w in zip(gone, waited, strict=True)), gone
    assert [c.deferrals for c in {c.permit_id: c for _, c in world.chunks}.values()] == list(range(10))
    assert [c.defer for c in {c.permit_id: c for _, c in world.chunks}.values()] == [True] * 9 + [False]
    progress = world.standing()[0]
    assert (progress.state, progress.failed, progress.deferred) == ("completed", 3, 0)


def test_the_schedule_is_settable() -> None:
    quick = Deferrals((2 * MINUTE, 10 * MINUTE), 30 * MINUTE)
    world = world_of([1], world={"deferrals": quick})
    world.answer = always
    world.run()
    assert all(0 <= m - w <= 4 for m, w in zip(minutes(world), [0, 2, 12, 22, 30], strict=True)), minutes(world)


def test_without_a_time_to_give_up_after_nobody_is_deferred() -> None:
    world = world_of([5], world={"deferrals": Deferrals(give_up_after=timedelta(0))})
    world.answer = always
    world.run()
    assert {c.defer for _, c in world.chunks} == {False}
    assert world.standing()[0].failed == 5


def test_only_time_in_which_sending_is_allowed_counts() -> None:
    world = world_of([1], speed=600.0, window=OFFICE, weekends=True)  # eight hours a day, five days a week
    world.answer = always
    world.run()
    last = max(at for at, *_ in world.refused)
    assert timedelta(days=2) < last - MONDAY < timedelta(days=4)  # three working days


def test_a_pause_does_not_count() -> None:
    times: list[timedelta] = []
    for paused in (False, True):
        world = world_of([1])
        world.answer = always
        world.run(until=MONDAY + 2 * HOUR)
        if paused:
            world.command("pause")
            world.run(until=MONDAY + timedelta(days=3))
            assert len(world.refused) == 4
            world.command("resume")
        world.run()
        times.append(max(at for at, *_ in world.refused) - MONDAY)
    apart = times[1] - times[0]
    assert abs(apart - timedelta(days=3) + 2 * HOUR) < 2 * HOUR, times


def test_a_relay_that_is_down_does_not_count_and_burns_nobody() -> None:
    world = world_of([2], speed=600.0)
    world.answer = always
    world.run(until=MONDAY + 2 * HOUR)
    world.relay_up = False
    world.run(until=MONDAY + timedelta(days=4))
    assert world.standing()[0].failed == 0
    world.relay_up = True
    world.run()
    assert max(at for at, *_ in world.refused) - MONDAY > timedelta(days=4, hours=12)
    assert world.standing()[0].failed == 2


def test_who_is_deferred_holds_up_neither_intervals_nor_other_batches() -> None:
    world = world_of([10, 10, 10, 10], strategy=batch_strategy(size=10, at_once=1))
    world.answer = first_batch
    world.run(until=MONDAY + 2 * HOUR)
    at = {c.batch_number: c.issued_at - MONDAY for _, c in reversed(world.chunks) if not c.deferrals}
    assert {n: round(t / MINUTE) for n, t in at.items()} == {1: 0, 2: 30, 3: 60, 4: 90}
    assert world.standing()[0].accepted == 30
    assert world.core.tables.campaigns["c"].releases == 4


def test_who_goes_out_again_is_charged_to_that_day_and_gets_at_most_half_of_it() -> None:
    strategy = batch_strategy(size=20, most=1, interval=0.0)  # twenty messages a day
    world = world_of([20, 20, 20], speed=600.0, strategy=strategy)
    world.answer = first_batch
    world.run(until=MONDAY + timedelta(days=1, hours=10))
    counted = Counter((at - timedelta(hours=5)).date() for at, *_ in (*world.refused, *world.received))
    assert list(counted.values()) == [20, 20]
    assert world.standing()[0].accepted == 10  # the other half went to those who were deferred
    hold = next(h for h in world.standing()[0].holds if h.reason == "daily_limit")
    assert hold.figures["limit"] == 20
    world.answer = as_drawn
    world.run()
    check_days(world)
    assert world.twice() == 0
    assert world.standing()[0].accepted == 60


def test_a_hold_names_how_many_and_when() -> None:
    world = world_of([8])
    world.answer = but_five
    world.run(until=MONDAY + 3 * MINUTE)
    progress = world.standing()[0]
    (hold,) = progress.holds
    assert (hold.reason, hold.figures["recipients"], hold.figures["deferrals"]) == ("deferred", 3, 1)
    assert hold.until is not None
    assert 5 * MINUTE <= hold.until - MONDAY < 6 * MINUTE
    assert progress.eta == hold.until
    assert any("3 recipients were refused for now" in line for line in explain(progress, world.now))
    batch = world.batches["c", 1]
    assert (batch.state, batch.waiting, batch.deferred) == ("held", 3, 3)
    assert batch.hold is not None
    assert batch.hold.reason == "deferred"


def test_cancel_ends_the_waiting() -> None:
    world = world_of([8])
    world.answer = but_five
    world.run(until=MONDAY + 3 * MINUTE)
    world.command("cancel")
    world.run()
    progress = world.standing()[0]
    assert (progress.state, progress.accepted, progress.cancelled, progress.deferred) == ("cancelled", 5, 3, 0)
    assert len(world.refused) == 3
    row = json.loads(world.store["batch", "c/1"])
    assert not {"deferred", "open", "pointers"} & row.keys()


def test_a_permit_that_is_open_when_the_campaign_is_cancelled_cancels_whom_it_defers() -> None:
    world = World(settings(rate=1.0), latency=0.05)
    world.give(*plan(gate_campaign(size=20, strategy=batch_strategy()), [20]))
    world.answer = always
    world.run(until=MONDAY + timedelta(seconds=5))
    world.command("cancel")
    world.run()
    progress = world.standing()[0]
    assert (progress.state, progress.cancelled, progress.failed) == ("cancelled", 20, 0)
    assert 0 < len(world.refused) < 20


def test_pause_lets_nobody_out_and_resume_those_who_are_due() -> None:
    world = world_of([8])
    world.answer = once
    world.run(until=MONDAY + 3 * MINUTE)
    world.command("pause")
    world.run(until=MONDAY + 60 * MINUTE)
    assert world.received == []
    assert {h.reason for h in world.standing()[0].holds} == {"paused", "deferred"}
    world.command("resume")
    world.run()
    assert len(world.received) == 8
    assert world.twice() == 0


def test_retry_tries_who_failed_in_a_new_round_and_who_is_deferred_at_once() -> None:
    world = world_of([8])
    kinds = {0: "failed", 1: "deferred"}
    world.answer = saying(kinds)
    world.run(until=MONDAY + 3 * MINUTE)
    kinds.clear()
    world.command("retry")
    world.run()
    late = sorted((i, c.round, c.deferrals) for _, c in world.chunks for i in range(c.ranges[0][0], c.ranges[0][1]))
    assert [x for x in late if x[1:] != (0, 0)] == [(0, 1, 0), (1, 0, 1)]
    assert all(at - MONDAY < 4 * MINUTE for at, *_ in world.received)
    assert world.standing()[0].accepted == 8


def test_who_has_expired_is_tried_again_from_the_beginning() -> None:
    world = world_of([1])
    world.answer = always
    world.run()
    world.answer = once
    world.command("retry")
    world.run()
    new = [(c.round, c.deferrals, c.defer) for _, c in world.chunks if c.round]
    assert new == [(1, 0, True), (1, 1, True)]
    assert world.standing()[0].accepted == 1


def test_who_is_in_doubt_is_resolved_while_others_are_deferred() -> None:
    world = world_of([8])
    kinds = {0: "in_doubt", 1: "deferred"}
    world.answer = saying(kinds)
    world.run(until=MONDAY + 3 * MINUTE)
    world.command("resolve", resolution="resend")
    kinds.clear()
    world.run()
    assert world.standing()[0].accepted == 8
    assert Counter(i for *_, i in world.received)[1] == 1


def test_another_strategy_leaves_the_schedule_as_it_is() -> None:
    world = world_of([10, 10])
    world.answer = once
    world.run(until=MONDAY + 3 * MINUTE)
    world.command("strategy", strategy=batch_strategy(size=5, interval=5.0, at_once=1))
    world.run()
    again = sorted({(at - MONDAY) // MINUTE for at, *_ in world.received if _[1] == 1})
    assert again == [5]
    assert world.twice() == 0
    assert world.standing()[0].accepted == 20


def test_a_permit_that_breaks_off_gives_back_who_was_deferred_before() -> None:
    world = world_of([30], world={"rate": 1.0}, speed=1.0)
    world.answer = once
    world.run(until=MONDAY + timedelta(seconds=345))
    world.command("pause")
    world.run(until=MONDAY + timedelta(seconds=420))
    assert 0 < len(world.received) < 30
    assert world.standing()[0].deferred == 30 - len(world.received)
    world.command("resume")
    world.run()
    assert world.twice() == 0
    assert len(world.received) == 30


def test_a_campaign_in_which_everybody_is_deferred_stays_small() -> None:
    world = World(settings(connections=50), speed=600.0, thorough=0.0)
    sizes = [500] * 40
    strategy = batch_strategy(size=20_000, interval=0.0, at_once=50)
    world.give(*plan(gate_campaign(size=sum(sizes), strategy=strategy), sizes))
    world.answer = always
    world.run(until=MONDAY + timedelta(hours=15))
    rows = [row for (table, _), row in world.store.items() if table == "batch"]
    assert sum(p.deferred + p.in_flight for p in world.standing()) == 20_000
    assert sum(p.deferred for p in world.standing()) > 10_000
    assert max(map(len, rows)) < 1000
    assert len(world.core.tables.due) <= len(sizes) * 2


def test_a_relay_that_refuses_everything_is_tried_less_and_less_and_nobody_fails() -> None:
    world = world_of([10, 10], world={"warm": True}, speed=1.0)
    world.blocking, world.refusal = True, "refused: 554 5.7.1 Client host blocked"
    world.run(until=MONDAY + timedelta(hours=2))
    tries = sorted(at for at, *_ in world.refused)
    assert len(tries) < 25  # 1, 2, 4 ... 900 s apart
    assert max(b - a for a, b in pairwise(tries)) > timedelta(minutes=14)
    assert len({r[2:] for r in world.refused[:8]}) == 8  # another one each time: none of them stands for all
    progress = world.standing()[0]
    assert (progress.failed, progress.accepted, progress.waiting) == (0, 0, 20)
    assert progress.holds[0].reason == "relay_down"
    world.blocking = False
    world.run()
    assert world.standing()[0].accepted == 20
    assert world.twice() == 0


def test_a_quota_that_is_used_up_at_the_account_is_held_as_that() -> None:
    world = world_of([10], world={"warm": True})
    world.relay_up, world.refusal = False, "quota: 454 Throttling failure: Daily message quota exceeded"
    world.run(until=MONDAY + 4 * HOUR)
    hold = world.standing()[0].holds[0]
    assert hold.reason == "daily_quota"
    assert "Daily message quota exceeded" in hold.detail
    assert world.standing()[0].failed == 0
    assert world.refused == world.received == []


def test_a_report_that_comes_late_counts_from_when_it_was_made() -> None:
    world = world_of([4], speed=1.0)
    world.answer = once
    world.delay = 90.0
    world.run()
    assert all(timedelta(seconds=300) <= at - MONDAY <= timedelta(seconds=600) for at, *_ in world.received)
    assert world.twice() == 0


@QUICK
@given(campaigns, limits, st.integers(0, 2**20), st.data())
def test_nobody_is_forgotten_or_mailed_twice_whatever_happens_while_some_are_deferred(
    drawn: list[Any], bounds: dict[str, Any], seed: int, data: st.DataObject
) -> None:
    outcomes = {"accepted": 0.4, "deferred": 0.5, "failed": 0.05, "suppressed": 0.05}
    quick = Deferrals((MINUTE, 20 * MINUTE, HOUR), 6 * HOUR)
    world = World(
        settings(**bounds, deferrals=quick, domains=DOMAINS), speed=600.0, seed=seed, restart=0.1, repeat=0.2,
        outcomes=outcomes,
    )  # fmt: skip
    start(world, drawn)
    moment = world.now
    for _ in range(data.draw(st.integers(1, 8))):
        moment += timedelta(minutes=data.draw(st.integers(0, 300)))
        world.run(until=moment)
        target = f"c{data.draw(st.integers(0, len(drawn)))}"
        what = data.draw(
            st.sampled_from([
                "pause", "resume", "cancel", "strategy", "domain pause", "domain resume", "relay down", "relay up",
                "refused", "taken",
            ])
        )  # fmt: skip
        disturb(world, target, what)
    come_to_rest(world)
    for progress in world.standing():
        assert progress.waiting == progress.in_flight == progress.deferred == 0
    known = Counter(k for o in world.owned.values() for k in o.outcome.values())
    standing = world.standing()
    assert sum(p.accepted for p in standing) == known["accepted"]
    assert world.twice() == 0
    if all(p.state == "completed" for p in standing):
        assert known["deferred"] == 0
    check_days(world)
    for row in world.core.tables.campaigns.values():
        assert (row.allowed, row.allowed_since, row.deferring) == (0.0, None, set())
