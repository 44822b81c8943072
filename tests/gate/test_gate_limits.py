"""The gate follows what a relay's account says of itself: rate, quota of 24 hours, whether it may send at all."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.batch import HoldReason
from schemas.records import RelayAccount
from sender.gate.account import Account
from sender.gate.rate import followed
from sender.gate.rows import row_name
from sender.gate.rows_json import to_json
from sender.gate.settings import DomainPlace, GateSettings, RelayLimits

DAY = 86_400.0


def reading(world: World, again: float = 300.0, **more: Any) -> RelayAccount:
    """What the account says now."""
    return RelayAccount(relay="main", read_real=world.real, again_seconds=again, **more)


def world_of(**more: Any) -> World:
    config = GateSettings(
        relays={"main": RelayLimits(4, rate=14.0, rate_from_account=more.pop("rate_from_account", False))},
        domains={"bore.example": DomainPlace("main", "UTC", warm=True)},
        permit_seconds=10.0,
    )
    return World(config, thorough=1.0, **more)


def send(world: World, size: int = 200, campaign_id: str = "c") -> None:
    campaign = gate_campaign(campaign_id, size=size, strategy=batch_strategy(size, interval=0), timezone="UTC")
    world.give(*plan(campaign, [size]))


def hold(world: World, campaign: str = "c") -> HoldReason:
    return world.core.progress(campaign, world.now, world.real).holds[0]


@pytest.mark.parametrize(
    ("settings_rate", "from_account", "account_rate", "rate"),
    [
        (14.0, False, 50.0, 14.0), (14.0, False, 1.0, 1.0), (14.0, True, 50.0, 50.0), (14.0, True, 1.0, 1.0),
        (None, False, 50.0, 50.0), (14.0, True, None, 14.0), (14.0, False, 0.0, 1 / 60),
    ],
)  # fmt: skip
def test_the_lower_rate_holds_unless_the_settings_leave_it_to_the_account(
    settings_rate: float | None, from_account: bool, account_rate: float | None, rate: float
) -> None:
    limits = RelayLimits(4, settings_rate, rate_from_account=from_account)
    assert followed(limits, Account(1.0, 300.0, rate=account_rate)).rate == rate
    assert followed(limits, None) is limits


def test_permits_go_at_the_rate_that_the_account_allows_now() -> None:
    world = world_of(rate_from_account=True)
    world.give(reading(world, rate=2.0))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=30))
    assert sum(chunk.rate or 0 for _, chunk in world.chunks[:1]) <= 2.0
    assert len(world.received) <= 2 * 30 + 4
    world.give(reading(world, rate=40.0))
    world.run()
    assert max(chunk.rate or 0 for _, chunk in world.chunks) > 2.0
    assert world.progress["c"].accepted == 200


def test_no_more_goes_out_than_the_account_allows_in_24_hours_and_the_rest_when_it_does_again() -> None:
    world = world_of()
    world.give(reading(world, quota=1000, sent=950))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=200))
    assert len(world.received) == 50
    held = hold(world)
    assert (held.reason, held.figures["used"], held.figures["limit"]) == ("daily_quota", 1000, 1000)
    assert held.until == MONDAY + timedelta(seconds=301)
    assert [(a.kind, a.figures["used"]) for a in world.alerts] == [("daily_quota", 1000)]
    world.run(until=MONDAY + timedelta(seconds=400))
    assert hold(world).until == MONDAY + timedelta(seconds=601)
    world.give(reading(world, quota=1000, sent=900))
    world.run(until=world.now + timedelta(seconds=200))
    assert len(world.received) == 150
    world.give(reading(world, quota=1000, sent=800))
    world.run()
    assert (len(world.received), world.twice()) == (200, 0)
    assert len(world.alerts) == 1


def test_a_reading_of_more_than_a_day_ago_holds_nothing() -> None:
    world = world_of()
    world.give(reading(world, quota=10, sent=10))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=DAY - 400))
    assert world.received == []
    world.run(until=MONDAY + timedelta(seconds=DAY + 700))
    assert len(world.received) == 200


def test_an_account_without_a_quota_has_none() -> None:
    world = world_of()
    world.give(reading(world, quota=None, sent=10**9))
    send(world)
    world.run()
    assert len(world.received) == 200


def test_an_account_that_cannot_send_holds_the_relay_with_that_reason_until_it_can() -> None:
    world = world_of()
    world.give(reading(world, again=15.0, refusal="sending is paused for this account"))
    send(world)
    assert world.chunks == []
    assert hold(world).reason == "relay_down"
    assert "sending is paused for this account" in hold(world).detail
    assert hold(world).until == MONDAY + timedelta(seconds=16)
    assert [(a.kind, a.resolved) for a in world.alerts] == [("relay_down", False)]
    world.restart_now()
    world.run(until=MONDAY + timedelta(seconds=100))
    assert world.chunks == []
    world.give(reading(world))
    world.run()
    assert len(world.received) == 200
    assert [(a.kind, a.resolved) for a in world.alerts] == [("relay_down", False), ("relay_down", True)]
    assert world.alerts[0].id == world.alerts[1].id


def test_a_refusal_that_nobody_reads_again_is_tried_after_an_hour() -> None:
    world = world_of()
    world.give(reading(world, refusal="paused"))
    send(world)
    world.run(until=MONDAY + timedelta(minutes=59))
    assert world.chunks == []
    world.run(until=MONDAY + timedelta(minutes=70))
    assert len(world.received) == 200


def test_an_older_reading_changes_nothing() -> None:
    world = world_of()
    old = reading(world, refusal="paused")
    world.run(until=MONDAY + timedelta(seconds=10))
    world.give(reading(world), old)
    send(world)
    world.run()
    assert len(world.received) == 200


def test_a_reading_by_a_clock_that_is_a_day_ahead_gives_way_to_the_next_good_one() -> None:
    world = world_of()
    world.give(reading(world, refusal="paused").model_copy(update={"read_real": world.real + DAY}))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=10))
    assert world.received == []
    world.give(reading(world))
    world.run(until=MONDAY + timedelta(seconds=300))
    assert len(world.received) == 200


def test_a_reading_that_stands_in_the_future_gives_way_too() -> None:
    world = world_of()
    world.give(reading(world, refusal="paused"))
    relay = world.core.tables.relay("main")
    assert relay.account is not None
    relay.account.read_real += DAY
    world.store[row_name(relay)] = json.dumps(to_json(relay))
    world.run(until=MONDAY + timedelta(seconds=10))
    world.give(reading(world))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=300))
    assert len(world.received) == 200


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=6), st.integers(0, 2**20),
    st.sampled_from([1.0, 600.0]),
)  # fmt: skip
def test_between_two_readings_never_more_than_what_the_last_one_left(
    readings: list[tuple[int, int]], seed: int, speed: float
) -> None:
    world = world_of(speed=speed, seed=seed, repeat=0.2, restart=0.1)
    world.give(reading(world, quota=30, sent=10))
    send(world, size=150)
    left = 20
    for wait, sent in [*readings, (100, 0)]:
        before = len(world.received)
        world.run(until=world.now + timedelta(seconds=wait * speed))
        assert len(world.received) - before <= left
        world.give(reading(world, quota=30, sent=sent))
        left = 30 - sent
        open_now = sum(b.permit.n for b in world.core.tables.relays["main"].permits.values() if b.permit)
        left += open_now  # permitted before, and begun after


def test_what_the_settings_say_of_ses_is_told_to_the_gate() -> None:
    from sender.gate.settings import gate_settings
    from streams.settings import Settings

    relays = {"a": {"type": "ses"}, "b": {"type": "ses", "rate": "5/s"}, "c": {"type": "smtp", "host": "h"}}
    limits = gate_settings(Settings.model_validate({"relays": relays})).relays
    assert (limits["a"].rate, limits["a"].rate_from_account) == (14.0, True)
    assert (limits["b"].rate, limits["b"].rate_from_account) == (5.0, False)
    assert (limits["c"].rate, limits["c"].rate_from_account) == (None, False)
    assert settings().relays["main"].rate_from_account is False
