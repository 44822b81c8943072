"""Who comes first follows from what is written alone: age, id and number, never from what came first into memory."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings
from hypothesis import given
from hypothesis import strategies as st

from sender.gate.rate import in_use
from sender.gate.rows import BatchRow, CampaignRow, Permit

SOON = MONDAY + timedelta(minutes=10)
AT_ONCE = batch_strategy(10, interval=0, at_once=10)


def given_out(world: World) -> list[tuple[str, int]]:
    """Campaign and batch of each permit, in the order of their numbers."""
    first = {chunk.permit_id: (chunk.campaign_id, chunk.batch_number) for _, chunk in world.chunks}
    return [first[name] for name in sorted(first)]


def in_turn(world: World) -> list[int]:
    """How many permits were given out for the first time in each turn that gave out any."""
    seen: dict[str, float] = {}
    for real, chunk in world.chunks:
        seen.setdefault(chunk.permit_id, real)
    return [len(list(group)) for _, group in itertools.groupby(seen.values())]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("names", list(itertools.permutations("abc")), ids="".join)
def test_campaigns_that_are_due_at_the_same_moment_go_by_age_and_id(names: tuple[str, ...], restarts: bool) -> None:
    world = World(settings(warm=True, connections=2), thorough=1.0)
    created = {"a": MONDAY, "b": MONDAY - timedelta(minutes=1), "c": MONDAY}
    for name in names:
        campaign = gate_campaign(name, size=4, strategy=AT_ONCE, created_at=created[name], start_at=SOON)
        world.give(*reversed(plan(campaign, [2, 2])))
    world.run(until=SOON - timedelta(seconds=1))
    assert given_out(world) == []
    if restarts:
        world.restart_now()
    world.run()
    assert given_out(world) == [(name, number) for name in "bac" for number in (1, 2)]


@pytest.mark.parametrize("restarts", [False, True])
def test_who_was_deferred_until_the_same_moment_goes_by_age_and_number(restarts: bool) -> None:
    asked: set[Any] = set()

    def answer(_: object, chunk: Any, i: int) -> str | None:
        who, known = (chunk.campaign_id, chunk.batch_number, i), len(asked)
        asked.add(who)
        return "deferred" if len(asked) > known else "accepted"

    world = World(settings(warm=True, connections=1), thorough=1.0)
    world.answer = answer
    for name in ("b", "a"):
        campaign = gate_campaign(name, size=12, strategy=AT_ONCE, start_at=SOON)
        world.give(*plan(campaign, [1] * 12))
    world.run(until=SOON + timedelta(seconds=10))
    first = [(name, number) for name in "ab" for number in range(1, 13)]
    assert given_out(world) == first
    batches = [b for c in world.core.tables.campaigns.values() for b in c.batches.values()]
    assert len({later.due for b in batches for later in b.deferred}) == 1
    if restarts:
        world.restart_now()
    world.run()
    assert given_out(world)[24:] == first


@pytest.mark.parametrize("rate", [None, 2.0])
def test_what_one_campaign_leaves_of_the_connections_goes_to_the_next_in_the_same_turn(rate: float | None) -> None:
    """A pace may need more connections than what is left of its campaign takes."""
    world = World(settings(warm=True, connections=3), thorough=1.0)
    world.sender_up = False
    for name in "abc":
        campaign = gate_campaign(name, size=2, strategy=AT_ONCE, start_at=SOON, rate=rate)
        world.give(*plan(campaign, [1, 1]))
    world.run(until=SOON + timedelta(seconds=1))
    assert in_turn(world) == [3]
    world.restart_now()
    assert in_turn(world) == [3], "a new owner finds nothing left to give out"


@given(st.lists(st.floats(0.001, 1000.0), max_size=12), st.randoms(use_true_random=False))
def test_the_rate_in_use_is_the_same_in_whatever_order_permits_are_known(rates: list[float], rng: Any) -> None:
    found = set()
    for _ in range(3):
        rng.shuffle(rates)
        row = CampaignRow("c", "main")
        for n, rate in enumerate(rates):
            permit = Permit(
                id=f"main:{n}", round=0, ranges=[(0, 1)], connections=1, rate=rate, until=SOON, issued_at=MONDAY,
                issued_real=0.0, day=MONDAY.date(), utc_day=MONDAY.date(), asked_real=0.0,
            )  # fmt: skip
            row.permits[permit.id] = BatchRow("c", n, 1, MONDAY, permit=permit)
        found.add(in_use(row, 0.0))
    assert len(found) == 1
