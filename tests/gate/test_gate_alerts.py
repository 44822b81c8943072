"""What the gate tells an operator without being asked: once for each cause and each time that it happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.chunk import Chunk, ChunkResult
from sender.gate.core import GateCore
from sender.gate.downs import refuses_for_good
from sender.gate.settings import DomainPlace, GateSettings, RelayLimits
from sender.relays import RelayDown


def world_of(config: GateSettings | None = None, **more: Any) -> World:
    return World(config or settings(warm=True, connections=4), thorough=1.0, **more)


def told(world: World) -> list[tuple[str, bool]]:
    return [(alert.kind, alert.resolved) for alert in world.alerts]


def send(world: World, size: int = 40, batches: int = 4, **more: Any) -> None:
    campaign = gate_campaign(size=size, strategy=batch_strategy(size, interval=0), **more)
    world.give(*plan(campaign, [size // batches] * batches))


def answer(world: World, chunk: Chunk, version: int = 1, **more: Any) -> None:
    n = chunk.permitted()
    world.give(
        ChunkResult.model_validate({
            "relay": chunk.relay, "campaign_id": chunk.campaign_id, "batch_number": chunk.batch_number,
            "permit_id": chunk.permit_id, "round": chunk.round, "version": version, "final": True, "begun": n,
            "sent_on": {chunk.issued_at.date(): n}, "accepted": n, "stopped": "done", "at": chunk.issued_at, **more,
        })
    )  # fmt: skip


@pytest.mark.parametrize(
    ("down", "for_good"),
    [
        (RelayDown("auth", 535, "5.7.8 no such user"), True),
        (RelayDown("auth", text="mail.example offers none of AUTH PLAIN"), True),
        (RelayDown("auth", 454, "4.7.0 Temporary authentication failure"), False),
        (RelayDown("tls", 454, "4.3.0 TLS not available due to local problem"), False),
        (RelayDown("tls", text="certificate has expired"), True),
        (RelayDown("settings", text="relay 'main' is not in the settings of this process"), True),
        (RelayDown("greeting", 554, "5.7.1 your address is blocked"), True),
        (RelayDown("busy", 550, "5.7.1 blocked"), True),
        (RelayDown("busy", 421, "4.7.0 too many connections", throttled=True), False),
        (RelayDown("connect", text="cannot connect to 127.0.0.1"), False),
        (RelayDown("network", text="does not reply to any message"), False),
        (RelayDown("address", text="550.example has no address"), False),
        (RelayDown("busy", text="SES: sending is paused"), False),
        (RelayDown("domain", 553, "5.7.1 not owned by user"), True),
    ],
    ids=str,
)
def test_what_a_relay_says_tells_whether_waiting_helps(down: RelayDown, for_good: bool) -> None:
    assert refuses_for_good(str(down)) is for_good


def test_a_relay_that_refuses_everything_is_told_once_it_did_so_twice_and_again_when_it_is_back() -> None:
    world = world_of()
    world.relay_up, world.refusal = False, str(RelayDown("auth", 535, "5.7.8 no such user"))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=0.9))
    assert world.core.tables.relays["main"].down is not None
    assert world.alerts == []
    world.run(until=MONDAY + timedelta(seconds=2))
    assert told(world) == [("relay_down", False)]
    alert = world.alerts[0]
    assert (alert.sending_domain, alert.relay, alert.severity) == ("bore.example", "main", "critical")
    assert "auth: 535 5.7.8 no such user" in alert.detail
    world.restart_now()
    world.run(until=MONDAY + timedelta(seconds=100))
    assert told(world) == [("relay_down", False)]
    world.relay_up = True
    world.run()
    assert told(world) == [("relay_down", False), ("relay_down", True)]
    assert world.alerts[1].id == alert.id
    assert world.progress["c"].accepted == 40


def test_a_relay_that_cannot_be_reached_is_told_after_a_minute_of_real_time() -> None:
    world = world_of(speed=100.0)
    world.relay_up, world.refusal = False, str(RelayDown("connect", text="connection refused"))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=50 * 100))
    assert world.core.tables.relays["main"].down is not None
    assert world.alerts == []
    world.run(until=MONDAY + timedelta(seconds=70 * 100))
    assert told(world) == [("relay_down", False)]


def test_a_relay_that_replies_to_no_message_is_told_once_a_probe_was_lost_too() -> None:
    world = world_of()
    world.relay_up, world.refusal = False, str(RelayDown("network", text="does not reply to any message"))
    send(world)
    world.run(until=MONDAY + timedelta(seconds=0.9))
    assert world.alerts == []
    world.run(until=MONDAY + timedelta(seconds=2))
    assert told(world) == [("relay_down", False)]
    assert "does not reply to any message" in world.alerts[0].detail


def test_each_time_that_a_relay_fails_is_an_alert_of_its_own() -> None:
    world = world_of()
    world.relay_up, world.refusal = False, "auth: 535 no"
    send(world)
    world.run(until=MONDAY + timedelta(seconds=5))
    world.relay_up = True
    world.run()
    world.relay_up = False
    send(world, campaign_id="d")
    world.run(until=world.now + timedelta(seconds=40))
    assert told(world) == [("relay_down", False), ("relay_down", True), ("relay_down", False)]
    assert world.alerts[2].id != world.alerts[0].id


def test_every_domain_of_a_relay_is_told() -> None:
    config = GateSettings(
        relays={"main": RelayLimits(4), "other": RelayLimits(4)},
        domains={
            "bore.example": DomainPlace("main", warm=True), "two.example": DomainPlace("main"),
            "three.example": DomainPlace("other"),
        },
    )  # fmt: skip
    world = world_of(config)
    world.relay_up, world.refusal = False, "auth: 535 no"
    send(world)
    world.run(until=MONDAY + timedelta(seconds=5))
    assert [a.sending_domain for a in world.alerts] == ["bore.example", "two.example"]
    assert len({a.id for a in world.alerts}) == 2


def test_a_quota_that_is_used_up_is_told_once_a_day() -> None:
    world = world_of(settings(warm=True, quota=15, timezone="UTC"), speed=3600.0)
    send(world, timezone="UTC")
    world.run()
    assert told(world) == [("daily_quota", False)] * 2
    assert [a.figures["day"] for a in world.alerts] == ["2026-02-02", "2026-02-03"]
    assert (world.alerts[0].figures["used"], world.alerts[0].figures["limit"]) == (15, 15)


def test_a_chunk_that_is_a_dead_letter_is_told_with_what_to_do() -> None:
    world = world_of()
    world.sender_up = False
    send(world, size=20, batches=2)
    bad, good = (c for _, c in world.chunks)
    answer(world, good)
    for version in (1, 2, 3):
        answer(world, bad, version, begun=0, accepted=0, sent_on={}, unsent=bad.ranges, stopped="error",
               detail="the recipients are gone")  # fmt: skip
        world.run(until=world.now + timedelta(seconds=5))
        if version < 3:
            bad = world.chunks[-1][1]
    assert told(world) == [("chunk_failed", False)]
    alert = world.alerts[0]
    assert (alert.id, alert.campaign_id, alert.batch_number) == (f"chunk_failed:{bad.permit_id}", "c", 1)
    assert "the recipients are gone" in alert.detail
    assert "rampa campaign retry c" in alert.detail


@pytest.mark.parametrize(("size", "kinds"), [(10, ["batch_failed"]), (4, [])])
def test_a_batch_of_which_everybody_failed_is_told_unless_it_is_tiny(size: int, kinds: list[str]) -> None:
    world = world_of(outcomes={"failed": 1.0})
    send(world, size=size, batches=1)
    world.run()
    assert [a.kind for a in world.alerts] == kinds
    world.command("retry")
    world.run(until=world.now + timedelta(hours=2))
    assert [a.kind for a in world.alerts] == 2 * kinds


def test_a_campaign_that_ends_with_recipients_in_doubt_is_told_and_again_when_they_are_settled() -> None:
    world = world_of(outcomes={"in_doubt": 1.0})
    send(world, size=10, batches=1)
    world.run()
    assert told(world) == [("in_doubt", False)]
    assert (world.alerts[0].figures, world.alerts[0].campaign_id) == ({"recipients": 10}, "c")
    world.restart_now()
    world.command("resolve", resolution="accepted")
    world.run()
    assert told(world) == [("in_doubt", False), ("in_doubt", True)]


def test_the_alert_and_the_hold_of_those_in_doubt_name_every_option_that_the_campaign_takes() -> None:
    world = world_of(outcomes={"in_doubt": 1.0})
    send(world, size=10, batches=1)
    world.run()
    (hold,) = world.standing()[0].holds
    for said in (world.alerts[0].detail, hold.detail):
        assert "`rampa campaign resolve c` with `--accepted`, `--drop` or `--resend` settles them" in said


def test_progress_says_of_how_many_in_doubt_the_record_of_a_sender_that_hangs_may_tell() -> None:
    world = world_of()
    world.sender_up = False
    send(world, size=10, batches=1)
    first = world.chunks[0][1]
    answer(world, first, accepted=6, in_doubt=[(6, 10)], awaited=3)
    assert world.standing()[0].awaited == 3
    world.restart_now()
    answer(world, first, 2, accepted=8, in_doubt=[(8, 10)], awaited=1, begun=10)
    assert (world.standing()[0].in_doubt, world.standing()[0].awaited) == (2, 1)
    answer(world, first, 3, accepted=9, in_doubt=[(9, 10)], begun=10)
    assert (world.standing()[0].in_doubt, world.standing()[0].awaited) == (1, 0)


def test_while_anybody_is_in_doubt_the_alert_stays_open_though_the_campaign_goes_on() -> None:
    world = world_of()
    world.sender_up = False
    send(world, size=10, batches=1)
    first = world.chunks[0][1]
    answer(world, first, accepted=7, begun=10, in_doubt=[(7, 10)])
    assert told(world) == [("in_doubt", False)]
    settled = {"order": 1, "resolved": 1, "begun": 10, "sent_on": {}}
    answer(world, first, 2, accepted=7, in_doubt=[(8, 10)], open=[(7, 8)], **settled)
    assert world.standing()[0].state == "running"
    assert told(world) == [("in_doubt", False)]
    again = world.chunks[-1][1]
    answer(world, again, 3, accepted=8, begun=1, in_doubt=[(8, 10)])
    assert told(world) == [("in_doubt", False)]
    answer(world, again, 4, accepted=10, begun=1)
    assert told(world) == [("in_doubt", False), ("in_doubt", True)]
    assert world.alerts[-1].detail == "nobody of campaign c is in doubt any more"


def test_who_is_sent_again_and_in_doubt_again_is_a_new_alert() -> None:
    world = world_of(outcomes={"in_doubt": 1.0})
    send(world, size=10, batches=1)
    world.run()
    world.command("resolve", resolution="resend")
    world.run(until=world.now + timedelta(hours=1))
    assert told(world) == [("in_doubt", False), ("in_doubt", True), ("in_doubt", False)]


def test_a_cancelled_campaign_tells_of_doubt_when_what_was_on_the_wire_is_known() -> None:
    world = world_of()
    world.sender_up = False
    send(world, size=10, batches=1)
    world.command("cancel")
    assert world.alerts == []
    answer(world, world.chunks[0][1], accepted=4, begun=5, in_doubt=[(4, 5)], unsent=[(5, 10)], stopped="cancelled")
    assert told(world) == [("in_doubt", False)]


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(["up", "auth: 535 no", "connect: refused", "restart", "no sender", "a sender"]), max_size=8
    ),
    st.integers(0, 999),
)
def test_whatever_happens_to_relay_and_sender_alerts_come_in_pairs_and_the_last_says_how_it_is(
    happens: list[str], seed: int
) -> None:
    world = World(settings(warm=True, connections=3), seed=seed, repeat=0.3, restart=0.1, latency=4.0)
    send(world, size=200, batches=20)
    for what in happens:
        if what == "restart":
            world.restart_now()
        elif what.endswith("sender"):
            world.sender_up = what == "a sender"
        else:
            world.relay_up, world.refusal = what == "up", what
        world.run(until=world.now + timedelta(seconds=45))
    world.relay_up = world.sender_up = True
    world.run()
    for kind in ("relay_down", "no_sender"):
        of_kind = [resolved for k, resolved in told(world) if k == kind]
        assert of_kind == [False, True] * (len(of_kind) // 2)


# --- senders that hang or died


def begin(world: World, chunk: Chunk, version: int = 1) -> None:
    """Its sender has begun it, and says so."""
    answer(world, chunk, version, final=False, accepted=2, begun=5, stopped=None, sent_on={})


def holds(world: World) -> list[str]:
    return [hold.reason for hold in world.core.progress("c", world.now, world.real).holds]


def without_sender() -> World:
    """A permit for 10 messages that nobody takes."""
    world = world_of()
    world.sender_up = False
    send(world, size=10, batches=1)
    return world


def test_a_permit_that_no_sender_takes_is_told_after_longer_than_a_hand_over_takes_and_again_when_one_does() -> None:
    world = without_sender()
    world.run(until=MONDAY + timedelta(seconds=29))
    assert (holds(world), told(world)) == (["no_sender"], [])
    world.run(until=MONDAY + timedelta(seconds=31))
    assert told(world) == [("no_sender", False)]
    alert = world.alerts[0]
    assert (alert.sending_domain, alert.relay, alert.severity) == ("bore.example", "main", "critical")
    assert "no sender has answered for 10 messages of relay main for 30 s" in alert.detail
    assert alert.figures == {"permits": 1, "messages": 10, "seconds": 30.0}
    world.run(until=MONDAY + timedelta(seconds=300))
    assert len(world.alerts) == 1
    begin(world, world.chunks[-1][1])
    assert told(world) == [("no_sender", False), ("no_sender", True)]
    assert world.alerts[1].id == alert.id
    assert holds(world) == []


def test_a_sender_that_hangs_in_the_middle_is_told_each_time_that_it_does() -> None:
    world = without_sender()
    for version in (1, 2):
        begin(world, world.chunks[-1][1], version)
        world.run(until=world.now + timedelta(seconds=29))
        assert len(told(world)) == 2 * version - 2
        world.run(until=world.now + timedelta(seconds=2))
        assert len(told(world)) == 2 * version - 1
    answer(world, world.chunks[-1][1], 3)
    assert [resolved for _, resolved in told(world)] == [False, True, False, True]
    assert world.alerts[2].id != world.alerts[0].id


def test_while_one_of_many_is_not_answered_the_alert_stays_open() -> None:
    world = world_of()
    world.sender_up = False
    send(world)
    first, *others = [chunk for _, chunk in world.chunks]
    world.run(until=MONDAY + timedelta(seconds=31))
    for chunk in others:
        begin(world, chunk)
    assert told(world) == [("no_sender", False)]
    begin(world, first)
    assert told(world) == [("no_sender", False), ("no_sender", True)]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("restarts", [False, True], ids=["suspended", "restarted"])
def test_what_a_gate_did_not_hear_while_it_was_away_is_no_silence(begun: bool, restarts: bool) -> None:
    world = without_sender()
    if begun:
        begin(world, world.chunks[0][1])
    world.run(until=MONDAY + timedelta(seconds=12))
    away = world.now + timedelta(minutes=10)
    world.real += 600
    if restarts:
        world.restart_now()
    world.run(until=away + timedelta(seconds=14))
    assert (holds(world), told(world)) == ([], [])
    world.run(until=away + timedelta(seconds=29))
    assert (holds(world), told(world)) == ([] if begun else ["no_sender"], [])
    world.run(until=away + timedelta(seconds=41))
    assert (holds(world), told(world)) == (["no_sender"], [("no_sender", False)])


def test_a_silence_that_was_told_before_the_gate_was_away_goes_on_until_a_sender_answers() -> None:
    world = without_sender()
    world.run(until=MONDAY + timedelta(seconds=35))
    world.real += 600
    world.restart_now()
    stands = world.core.progress("c", world.now, world.real)
    assert [hold.reason for hold in stands.holds] == ["no_sender"]
    assert "for 635 s" in stands.holds[0].detail
    world.run(until=world.now + timedelta(seconds=60))
    assert told(world) == [("no_sender", False)]
    begin(world, world.chunks[-1][1])
    assert told(world) == [("no_sender", False), ("no_sender", True)]


def test_tables_that_are_made_again_after_a_failure_have_listened_all_the_time() -> None:
    world = without_sender()
    for _ in range(7):
        world.run(until=world.now + timedelta(seconds=5))
        before = world.core
        world.core = GateCore.restored(world.settings, 1.0, before.rows())
        world.core.succeed(before)
        world.take(world.core.tick(world.now, world.real))
    assert (holds(world), told(world)) == (["no_sender"], [("no_sender", False)])
