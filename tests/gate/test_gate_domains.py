"""A sending domain that its relay refuses holds itself alone: the relay's other domains go on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from gate_world import (
    DOMAINS,
    MONDAY,
    NOT_OURS,
    ZONE,
    World,
    batch_strategy,
    gate_campaign,
    plan,
    settings,
)  # fmt: skip
from test_gate_rules import hold, last, result

from console.explain import explain
from schemas.chunk import Chunk, ChunkResult
from schemas.progress import CampaignProgress
from sender.gate.rows import DomainRow
from sender.gate.rows_json import from_json, to_json
from sender.gate.settings import DomainPlace, RelayLimits

GOOD, BAD = DOMAINS
FAST = batch_strategy(10, interval=0)


def world_of(*, speed: float = 1.0, **more: Any) -> World:
    return World(settings(warm=True, connections=4, domains=DOMAINS, **more), speed=speed, thorough=1.0)


def submit(world: World, name: str, domain: str, sizes: tuple[int, ...] = (10, 10), **more: Any) -> None:
    campaign = gate_campaign(name, size=sum(sizes), strategy=more.pop("strategy", FAST), domain=domain, **more)
    world.give(*plan(campaign, list(sizes)))


def standing(world: World, name: str) -> CampaignProgress:
    return world.core.progress(name, world.now, world.real)


def to_next(world: World) -> Chunk:
    """The next permit that the time alone brings."""
    count = len(world.chunks)
    while len(world.chunks) == count:
        world.real = world.next_wake or 0.0
        world.take(world.core.tick(world.now, world.real))
    return last(world)


def refusal(chunk: Chunk, version: int = 1, refused: str = "domain", said: str = NOT_OURS) -> ChunkResult:
    nothing = {"begun": 0, "accepted": 0, "sent_on": {}, "unsent": chunk.ranges}
    return result(chunk, version, **nothing, stopped="relay_down", refused=refused, detail=said)


def probes(world: World, domain: str) -> list[Chunk]:
    return [c for _, c in world.chunks if c.probe and c.sending_domain == domain]


def downs(world: World) -> tuple[tuple[int, str | None] | None, ...]:
    """Of the relay and the domain that it refuses: attempts and probe."""
    rows = (world.core.tables.relay("main"), world.core.tables.domains[BAD])
    return tuple(None if row.down is None else (row.down.attempts, row.down.probe) for row in rows)


def refused_for_long() -> World:
    """A domain that was refused so often that its next probe is minutes away; nobody sends but the test."""
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD, (40,), strategy=batch_strategy(40))
    for version in range(1, 10):
        world.give(refusal(last(world), version))
        if version < 9:
            to_next(world)
    assert hold(world, "b").figures["next_try_seconds"] == 256.0
    return world


def test_a_domain_that_is_refused_holds_itself_alone_and_goes_on_when_it_is_taken() -> None:
    world = world_of()
    world.not_taken = {BAD}
    submit(world, "b", BAD)
    submit(world, "a", GOOD, (10,) * 5)
    world.run(until=MONDAY + timedelta(seconds=100))
    assert standing(world, "a").state == "completed"
    held = standing(world, "b")
    assert (held.state, held.waiting, held.failed, held.accepted, held.eta) == ("running", 20, 0, 0, None)
    (reason,) = held.holds
    assert (reason.reason, reason.figures["domain"], reason.figures["relay"]) == ("domain_refused", BAD, "main")
    assert (reason.figures["error"], reason.figures["attempts"]) == (NOT_OURS, 7)  # at once, then after 1, 2, 4 ... s
    assert reason.until is not None
    assert reason.until > world.now
    assert world.core.tables.relay("main").down is None
    said = " ".join(explain(held, world.now))
    assert said.startswith(f"relay main refuses mail from {BAD}: domain: 553 5.7.1 Sender address rejected")
    assert f"`rampa domain resume {BAD}` tries it now." in said
    world.not_taken = set()
    world.run()
    assert (standing(world, "b").state, standing(world, "b").accepted) == ("completed", 20)
    assert world.twice() == 0
    assert world.core.tables.domains[BAD].down is None


def test_it_is_told_of_once_and_again_when_its_mail_is_taken() -> None:
    world = world_of()
    world.not_taken = {BAD}
    submit(world, "b", BAD)
    submit(world, "a", GOOD)
    world.run(until=MONDAY + timedelta(seconds=0.9))
    assert world.alerts == []  # once may be a slip
    world.run(until=MONDAY + timedelta(seconds=40))
    world.restart_now()
    world.run(until=MONDAY + timedelta(seconds=80))
    (alert,) = world.alerts
    assert (alert.kind, alert.sending_domain, alert.relay, alert.severity) == (
        "domain_refused",
        BAD,
        "main",
        "critical",
    )
    assert NOT_OURS in alert.detail
    world.not_taken = set()
    world.run()
    assert [(a.id, a.resolved) for a in world.alerts] == [(alert.id, False), (alert.id, True)]


def test_it_is_tried_by_one_message_of_one_campaign_with_longer_and_longer_breaks() -> None:
    world = world_of()
    world.not_taken = {BAD}
    for name in ("b", "c", "d"):
        submit(world, name, BAD, strategy=batch_strategy(10))
    world.run(until=MONDAY + timedelta(hours=2))
    tried = [c for _, c in world.chunks if c.probe]
    assert {c.permitted() for c in tried} == {1}
    times = [(c.issued_at - MONDAY).total_seconds() for c in tried]
    waits = [round(b - a) for a, b in pairwise(times)]
    assert waits[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert set(waits[9:]) == {900}
    assert {standing(world, name).holds[0].reason for name in ("b", "c", "d")} == {"domain_refused"}


def test_what_is_permitted_when_the_domain_is_refused_comes_back_and_the_relay_gives_it_to_others() -> None:
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD, (10,) * 4)
    first = [c for _, c in world.chunks]
    submit(world, "a", GOOD, (10,) * 4)
    for chunk in first:
        world.give(refusal(chunk))
    assert {c.campaign_id for _, c in world.chunks[len(first) :]} == {"a"}
    assert len(world.core.tables.relay("main").permits) == 4
    assert (standing(world, "b").waiting, standing(world, "b").in_flight) == (40, 0)
    assert hold(world, "b").figures["attempts"] == 1


@pytest.mark.parametrize(
    ("orders", "more"),
    [
        (["resume"], {}),
        (["retry"], {}),
        (["pause", "resume"], {}),
        (["resume"], {"domain": BAD}),
        (["pause", "resume"], {"domain": BAD}),
    ],
)
def test_it_is_tried_at_once_by_an_order_and_left_for_as_long_as_before(
    orders: list[str], more: dict[str, Any]
) -> None:
    world = refused_for_long()
    count = len(world.chunks)
    for order in orders:
        world.command(order, "b", **more)
    assert len(world.chunks) == count + 1
    assert (last(world).probe, last(world).permitted()) == (True, 1)
    assert "it is being tried now" in hold(world, "b").detail
    world.command("resume", "b")  # once more changes nothing
    assert len(world.chunks) == count + 1
    assert not world.dead
    world.give(refusal(last(world), 99))
    assert (hold(world, "b").figures["attempts"], hold(world, "b").figures["next_try_seconds"]) == (10, 512.0)


def test_while_its_probe_is_out_nobody_looks_at_it_all_the_time() -> None:
    world = refused_for_long()
    submit(world, "c", BAD)
    to_next(world)
    assert "it is being tried now" in hold(world, "c").detail
    world.run(until=world.now + timedelta(seconds=1))
    assert (world.next_wake or 0.0) > world.real + 1


def test_orders_to_another_domain_do_not_try_it() -> None:
    world = refused_for_long()
    count = len(world.chunks)
    world.command("resume", domain=GOOD)
    assert len(world.chunks) == count


@pytest.mark.parametrize("out", [False, True])
def test_a_gate_that_is_restarted_goes_on_where_it_was(out: bool) -> None:
    """`out`: while its probe is."""
    world = refused_for_long()
    if out:
        to_next(world)
    before = hold(world, "b")
    world.restart_now()
    assert hold(world, "b") == before
    probe = last(world) if out else to_next(world)
    assert (probe.probe, probe.permitted()) == (True, 1)
    world.restart_now()
    world.give(result(probe, 99, accepted=1))
    assert world.core.tables.domains[BAD].down is None
    assert standing(world, "b").in_flight == 39


def test_a_row_of_an_older_release_is_of_a_domain_that_is_taken() -> None:
    row = from_json(DomainRow, json.loads('{"name": "bore.example", "relay": "main", "sending_day": 3}'))
    assert (row.down, row.down_alert) == (None, None)
    world = refused_for_long()
    written = world.core.tables.domains[BAD]
    assert from_json(DomainRow, json.loads(json.dumps(to_json(written)))) == written


def test_a_domain_and_its_relay_may_both_be_down() -> None:
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD, (10,), connections=1, created_at=MONDAY - timedelta(minutes=1))
    submit(world, "a", GOOD, (10,))
    bad, good = (c for _, c in world.chunks)
    world.give(refusal(bad))
    world.give(refusal(good, refused="relay", said="auth: 535 no"))
    assert [h.reason for h in standing(world, "b").holds] == ["domain_refused", "relay_down"]
    assert [h.reason for h in standing(world, "a").holds] == ["relay_down"]
    probe = to_next(world)
    assert (probe.sending_domain, probe.probe, probe.probes) == (
        GOOD,
        True,
        "relay",
    )  # of a domain that is not refused, though it is younger
    world.give(result(probe, 2, accepted=1))
    assert world.core.tables.relay("main").down is None
    world.run(until=world.now + timedelta(seconds=2))
    assert [(c.permitted(), c.probes) for c in probes(world, BAD)] == [(1, "domain")]


@pytest.mark.parametrize(
    ("said", "lets_in"), [("auth: 535 no", True), ("connect: refused", True), ("refused: 554 5.7.1 blocked", False)]
)
def test_a_relay_that_refuses_the_domain_of_its_probe_is_reached(said: str, lets_in: bool) -> None:
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD, (10,))
    world.give(refusal(last(world), refused="relay", said=said))
    world.give(refusal(to_next(world), 2))
    relay, domain = world.core.tables.relay("main"), world.core.tables.domains[BAD]
    assert (relay.down is None) is lets_in
    assert domain.down is not None
    submit(world, "a", GOOD, (10,))
    world.run(until=world.now + timedelta(seconds=1.5))
    good = next(c for _, c in world.chunks if c.sending_domain == GOOD)
    assert good.probe is not lets_in


def test_the_only_domain_of_a_relay_finds_out_about_both() -> None:
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD, (20,))
    world.give(refusal(last(world), refused="relay", said="refused: 554 5.7.1 blocked"))
    world.give(refusal(to_next(world), 2))
    probe = to_next(world)
    assert probe.probes == "relay"  # and the domain
    assert downs(world) == ((1, probe.permit_id), (1, probe.permit_id))
    world.give(refusal(probe, 3, refused="relay", said="refused: 554 5.7.1 blocked"))
    assert downs(world) == ((2, None), (1, None))
    world.give(result(to_next(world), 4, accepted=1))
    assert downs(world) == (None, None)
    assert standing(world, "b").in_flight == 9


@pytest.mark.parametrize("stopped", ["expired", "paused", "cancelled", "unready"])
def test_a_probe_that_was_cut_off_shows_nothing(stopped: str) -> None:
    world = refused_for_long()
    probe = to_next(world)
    world.give(result(probe, 99, begun=0, accepted=0, sent_on={}, unsent=probe.ranges, stopped=stopped))
    domain = world.core.tables.domains[BAD]
    assert domain.down is not None
    assert (domain.down.attempts, domain.down.probe, domain.down.next_real - world.real) == (9, None, 1.0)
    world.give(result(to_next(world), 100, accepted=1))
    assert domain.down is None


def test_a_campaign_is_not_over_while_its_probe_is_out_and_the_next_one_probes_again() -> None:
    world = refused_for_long()
    probe = to_next(world)
    world.command("cancel", "b")
    assert standing(world, "b").in_flight == 1
    submit(world, "c", BAD)
    assert hold(world, "c").reason == "domain_refused"
    world.give(result(probe, 99, begun=0, accepted=0, sent_on={}, unsent=probe.ranges, stopped="cancelled"))
    assert (standing(world, "b").state, standing(world, "b").cancelled) == ("cancelled", 40)
    again = to_next(world)
    assert (again.campaign_id, again.permitted()) == ("c", 1)
    world.give(result(again, 1, accepted=1))
    assert world.core.tables.domains[BAD].down is None


@pytest.mark.parametrize("campaign", ["b", "c"])
def test_who_is_deferred_does_not_grow_older_while_the_domain_is_refused_and_does_not_probe(campaign: str) -> None:
    world = world_of(speed=60.0)
    world.sender_up = False
    strategy = batch_strategy(10, interval=0, at_once=1)
    submit(world, "b", BAD, (10, 20) if campaign == "b" else (10,), strategy=strategy, connections=1)
    if campaign == "c":
        submit(world, "c", BAD, (20,), strategy=strategy)
    world.give(result(world.chunks[0][1], accepted=9).model_copy(update={"deferred": ((3, 4, 1),)}))
    tried = []
    for version in range(6):
        world.give(refusal(last(world), version + 1))
        assert world.core.tables.campaigns["b"].allowed_since is None
        tried.append((to_next(world).campaign_id, last(world).deferrals))
    assert world.now > MONDAY + timedelta(minutes=30)  # he is due
    assert set(tried) == {(campaign, 0)}
    world.give(result(last(world), 99, accepted=1, unsent=(), at=world.now))
    assert any(c.deferrals == 1 and not c.probe for _, c in world.chunks)


def test_whoever_alone_is_left_probes_though_he_was_deferred() -> None:
    world = world_of(speed=60.0)
    world.sender_up = False
    submit(world, "b", BAD, (10,))
    world.give(result(last(world), accepted=9).model_copy(update={"deferred": ((3, 4, 1),)}))
    world.give(refusal(to_next(world), 2))
    probe = to_next(world)
    assert (probe.deferrals, probe.probe, probe.ranges) == (1, True, ((3, 4),))
    world.give(result(probe, 3, accepted=10))
    assert standing(world, "b").state == "completed"


def test_a_domain_that_is_moved_to_another_relay_is_refused_by_none_and_the_alert_is_over() -> None:
    world = refused_for_long()
    (alert,) = world.alerts
    world.settings = replace(
        world.settings, relays={**world.settings.relays, "new": RelayLimits(4, None, None)},
        domains={**world.settings.domains, BAD: DomainPlace("new", ZONE, True)},
    )  # fmt: skip
    world.restart_now()
    assert [(a.id, a.resolved) for a in world.alerts[1:]] == [(alert.id, True)]
    assert world.alerts[1].detail == f"mail from {BAD} does not go out by relay main any more"
    submit(world, "c", BAD, relay="new")
    assert (last(world).campaign_id, last(world).relay, last(world).probe) == ("c", "new", False)
    world.give(refusal(last(world)).model_copy(update={"relay": "new"}))
    assert "relay new refuses mail" in hold(world, "c").detail
    assert hold(world, "b").reason == "unknown_domain"


def test_a_report_of_an_older_sender_is_about_the_relay() -> None:
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD)
    old = refusal(last(world)).model_dump(mode="json", exclude={"refused"})
    world.give(ChunkResult.model_validate(old))
    assert world.core.tables.relay("main").down is not None
    assert world.core.tables.domains[BAD].down is None


def test_a_relay_that_is_down_is_asked_from_one_domain_after_the_other_however_old_their_campaigns_are() -> None:
    """What it has against one of them may be said as if it meant everything."""
    world = world_of()
    world.sender_up = False
    submit(world, "b", BAD, (40,), strategy=batch_strategy(40), created_at=MONDAY - timedelta(minutes=1))
    submit(world, "a", GOOD, (40,), strategy=batch_strategy(40))
    asked = []
    for version in range(1, 7):
        world.give(refusal(last(world), version, "relay", "refused: 554 5.7.1 by policy"))
        if version == 3:
            world.restart_now()
        asked.append(to_next(world).sending_domain)
    assert asked == [GOOD, BAD, GOOD, BAD, GOOD, BAD]
