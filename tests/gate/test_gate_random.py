"""Random runs against senders that obey: what must hold after every step, whatever comes."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

from gate_world import DOMAINS, MONDAY, OFFICE, ZONE, World, batch_strategy, gate_campaign, plan, ramp_up, settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.calendar import local_day
from schemas.strategy import Step, Strategy

QUICK = hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def small_ramp(limit: int, size: int, interval: float = 60) -> Strategy:
    """A strategy whose days are small, growing once."""
    return Strategy(
        name="small", type="ramp_up", intervals_minutes=(0.0, interval), concurrent_batches=3,
        steps=(Step(day=1, daily_limit=limit, batch_size=size), Step(day=3, daily_limit=2 * limit, batch_size=size)),
    )  # fmt: skip


strategies = st.one_of(
    st.builds(small_ramp, st.integers(3, 20), st.integers(1, 9), st.sampled_from([0.0, 20.0, 60.0])),
    st.builds(batch_strategy, st.integers(2, 15), st.integers(1, 4), st.sampled_from([5.0, 30.0]), st.integers(1, 3)),
)
campaigns = st.lists(
    st.tuples(
        strategies,
        st.lists(st.integers(1, 12), min_size=0, max_size=6),
        st.sampled_from([None, OFFICE]),
        st.booleans(),
        st.sampled_from([None, 2.0]),
        st.sampled_from([None, 1, 3]),
        st.sampled_from(["hold", "resend"]),
        st.sampled_from(DOMAINS),
    ),
    min_size=1,
    max_size=5,
)
limits = st.fixed_dictionaries({
    "connections": st.integers(1, 6),
    "rate": st.sampled_from([None, 0.5, 3.0, 50.0]),
    "quota": st.sampled_from([None, 7, 40]),
})  # fmt: skip


def start(world: World, drawn: list[Any]) -> int:
    total = 0
    for n, (strategy, sizes, window, weekends, rate, connections, in_doubt, domain) in enumerate(drawn):
        campaign = gate_campaign(
            f"c{n}", size=sum(sizes), strategy=strategy, created_at=MONDAY + timedelta(minutes=n), window=window,
            weekends=weekends, rate=rate, connections=connections, in_doubt=in_doubt, domain=domain,
        )  # fmt: skip
        inputs = plan(campaign, sizes)
        world.rng.shuffle(inputs)
        world.later(world.rng.uniform(0, 5), lambda inputs=inputs: world.give(*inputs))  # type: ignore[misc]
        total += sum(sizes)
    return total


def check_days(world: World) -> None:
    """On no local day did the servers receive more than the limit of the most generous campaign on that day."""
    for domain in DOMAINS:
        for day, n in world.by_day(domain=domain).items():
            assert n <= world.limits[domain, day], (day, n)


@QUICK
@given(campaigns, limits, st.integers(0, 2**20), st.sampled_from([1.0, 60.0, 2000.0, 20000.0]))
def test_every_campaign_ends_with_everybody_mailed_once(
    drawn: list[Any], bounds: dict[str, Any], seed: int, speed: float
) -> None:
    world = World(settings(**bounds, domains=DOMAINS), speed=speed, seed=seed, restart=0.1, repeat=0.2)
    total = start(world, drawn)
    world.run()
    assert len(world.received) == total
    assert world.twice() == 0
    assert all(p.state == "completed" for p in world.standing())
    assert not world.dead
    check_days(world)


@QUICK
@given(campaigns, limits, st.integers(0, 2**20), st.data())
def test_figures_add_up_whatever_happens(
    drawn: list[Any], bounds: dict[str, Any], seed: int, data: st.DataObject
) -> None:
    outcomes = {"accepted": 0.6, "failed": 0.15, "in_doubt": 0.15, "suppressed": 0.1}
    world = World(
        settings(**bounds, domains=DOMAINS), speed=600.0, seed=seed, restart=0.1, repeat=0.2, outcomes=outcomes
    )
    start(world, drawn)
    moment = world.now
    for _ in range(data.draw(st.integers(1, 8))):
        moment += timedelta(minutes=data.draw(st.integers(0, 600)))
        world.run(until=moment)
        target = f"c{data.draw(st.integers(0, len(drawn)))}"
        what = data.draw(
            st.sampled_from([
                "pause", "resume", "cancel", "retry", "resend", "accepted", "drop", "strategy", "domain pause",
                "domain resume", "relay down", "relay up", "seen", "resend, then seen", "refused", "taken",
            ])
        )  # fmt: skip
        disturb(world, target, what)
    come_to_rest(world)
    assert not any(c.asked for c in world.core.tables.campaigns.values())
    for progress in world.standing():
        assert progress.waiting == progress.in_flight == 0
        assert progress.batches.total == progress.batches.completed + progress.batches.cancelled
    outcomes_known = Counter(k for o in world.owned.values() for k in o.outcome.values())
    assert sum(p.accepted for p in world.standing()) == outcomes_known["accepted"]
    assert sum(p.suppressed for p in world.standing()) == outcomes_known["suppressed"]
    check_days(world)


def come_to_rest(world: World) -> None:
    """The relay takes everything, nobody has paused anything: until all is over."""
    world.relay_up, world.not_taken = True, set()
    for domain in DOMAINS:
        world.command("resume", domain=domain)
    for campaign in list(world.core.tables.campaigns):
        world.command("resume", campaign)
    world.run()
    assert not any(row.down for row in world.core.tables.domains.values() if row.campaigns)


def disturb(world: World, target: str, what: str) -> None:
    if what.endswith("seen"):
        if what != "seen":
            world.command("resolve", target, resolution="resend")
        world.see(target)
    elif what in {"resend", "accepted", "drop"}:
        world.command("resolve", target, resolution=what)
    elif what == "strategy":
        world.command("strategy", target, strategy=small_ramp(10, 4))
    elif what.startswith("domain"):
        world.command(what.split()[1], domain=world.rng.choice(DOMAINS))
    elif what in {"refused", "taken"}:
        domain = world.rng.choice(DOMAINS)
        world.not_taken = world.not_taken | {domain} if what == "refused" else world.not_taken - {domain}
    elif what.startswith("relay"):
        world.relay_up = what == "relay up"
    else:
        world.command(what, target)


@hypothesis_settings(QUICK, max_examples=15)
@given(campaigns, limits, st.integers(0, 2**20))
def test_a_gate_that_is_restarted_after_every_input_decides_the_same(
    drawn: list[Any], bounds: dict[str, Any], seed: int
) -> None:
    decided = []
    for restart, repeat in ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)):
        world = World(
            settings(**bounds, domains=DOMAINS), speed=600, seed=seed, restart=restart, repeat=repeat, eager=True
        )
        start(world, drawn)
        world.run()
        permits = {
            c.permit_id: (c.campaign_id, c.batch_number, c.round, c.ranges, c.connections, c.rate and round(c.rate, 6))
            for _, c in world.chunks
        }
        decided.append((permits, [m[1:] for m in world.received], world.by_day()))
    assert decided[0] == decided[1] == decided[2]


def test_ten_campaigns_of_a_domain_share_its_limit() -> None:
    world = World(settings(), speed=20000, restart=0.05, repeat=0.05, seed=3)
    drawn = [
        (ramp_up() if n % 2 else batch_strategy(100, 2), [25] * 8, None, False, None, None, "hold", DOMAINS[0])
        for n in range(10)
    ]
    start(world, drawn)
    world.run()
    check_days(world)
    assert sum(world.by_day().values()) == 2000
    assert world.twice() == 0
    ramps = {f"c{n}" for n in range(1, 10, 2)}
    days: Counter[date] = Counter(local_day(ZONE, at) for at, campaign, *_ in world.received if campaign in ramps)
    assert all(n <= 200 for n in days.values())
