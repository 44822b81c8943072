"""What a permit leaves behind in the rows, what is told with it, and when it is asked for again."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings

from schemas.chunk import Chunk, ChunkResult
from schemas.strategy import Step, Strategy
from sender.gate.rows import BatchRow, CampaignRow

DAY = date(2026, 2, 2)
SECOND = timedelta(seconds=1)


def silent(strategy: Strategy | None = None) -> World:
    """A world in which nobody sends, with a campaign of two batches of ten, one at a time."""
    world = World(settings(warm=True), thorough=1.0)
    world.sender_up = False
    strategy = strategy or batch_strategy(10, interval=30, at_once=1)
    world.give(*plan(gate_campaign(size=20, strategy=strategy), [10, 10]))
    return world


def releases(most: int) -> Strategy:
    """Ten messages an hour, so many times a day."""
    return Strategy(
        name="own", type="ramp_up", intervals_minutes=(0.0, 60.0), max_batches_per_day=most,
        steps=(Step(day=1, daily_limit=200, batch_size=10),),
    )  # fmt: skip


def answer(world: World, chunk: Chunk, version: int, begun: int, *, final: bool = True, accepted: int = -1) -> None:
    """The first `begun` of the chunk were accepted; with `final` the others come back."""
    ranges = chunk.ranges[0]
    unsent = [(ranges[0] + begun, ranges[1])] if final and begun < chunk.permitted() else []
    world.give(
        ChunkResult.model_validate({
            "relay": "main", "campaign_id": "c", "batch_number": chunk.batch_number, "permit_id": chunk.permit_id,
            "round": 0, "version": version, "final": final, "begun": begun, "sent_on": {DAY: begun}, "unsent": unsent,
            "accepted": begun if accepted < 0 else accepted, "stopped": "done" if final else None, "at": world.now,
        })
    )  # fmt: skip


def newest(world: World) -> Chunk:
    return max((chunk for _, chunk in world.chunks), key=lambda chunk: chunk.permit_id)


def campaign(world: World) -> CampaignRow:
    return world.core.tables.campaigns["c"]


def batch(world: World, number: int = 1) -> BatchRow:
    return campaign(world).batches[number]


def told(world: World) -> list[tuple[int, str, int]]:
    return [(c.batch_number, c.action, c.version) for c in world.controls]


def test_permits_are_numbered_one_after_the_other() -> None:
    world = silent()
    answer(world, newest(world), 1, 10)
    world.run(until=MONDAY + 31 * 60 * SECOND)
    assert sorted({chunk.permit_id for _, chunk in world.chunks}) == ["main:000000000001", "main:000000000002"]


def test_a_batch_and_a_campaign_know_when_they_began_and_not_when_they_went_on() -> None:
    world = silent()
    assert (batch(world).released_at, campaign(world).started_at) == (MONDAY, MONDAY)
    world.real += 60
    world.command("pause")
    answer(world, newest(world), 1, 4)
    world.real += 60
    world.command("resume")
    assert newest(world).ranges == ((4, 10),)
    assert (batch(world).released_at, campaign(world).started_at) == (MONDAY, MONDAY)


def test_releases_are_counted_by_local_day() -> None:
    world = silent(releases(1))
    assert (campaign(world).releases, campaign(world).releases_today, campaign(world).release_day) == (1, 1, DAY)
    answer(world, newest(world), 1, 10)
    world.run(until=MONDAY + timedelta(hours=14))
    assert (batch(world, 2).permit, world.standing()[0].holds[0].reason) == (None, "batches_per_day")
    world.run(until=MONDAY + timedelta(hours=16))
    assert (campaign(world).releases, campaign(world).releases_today) == (2, 1)
    assert campaign(world).release_day == DAY + timedelta(days=1)


def test_releases_of_one_day_add_up() -> None:
    world = silent(releases(2))
    answer(world, newest(world), 1, 10)
    world.run(until=MONDAY + 61 * 60 * SECOND)
    assert (campaign(world).releases, campaign(world).releases_today) == (2, 2)


def test_an_owner_is_told_to_pause_and_to_go_on_once_each() -> None:
    world = silent()
    world.command("pause")
    world.command("pause", reason="another reason")
    assert told(world) == [(1, "pause", 1)]
    world.command("resume")
    assert told(world) == [(1, "pause", 1), (1, "resume", 2)]
    world.command("resume")
    world.command("pause", None, domain="bore.example")
    world.command("resume", None, domain="bore.example")
    assert told(world)[2:] == [(1, "pause", 3), (1, "resume", 4)]
    assert not batch(world).told_to_pause


def test_a_batch_that_was_paused_without_a_permit_goes_on_with_the_next_one_once() -> None:
    world = silent()
    world.command("pause")
    answer(world, newest(world), 1, 4)
    assert batch(world).told_to_pause
    world.command("resume")
    assert told(world) == [(1, "pause", 1), (1, "resume", 2)]
    assert not batch(world).told_to_pause
    answer(world, newest(world), 2, 3, accepted=7)  # what is left goes out under a third permit
    assert newest(world).ranges == ((7, 10),)
    assert len(told(world)) == 2


def repeats(world: World, within: float) -> list[float]:
    """Seconds from now until each repetition of a permit."""
    start, before = world.real, len(world.chunks)
    world.run(until=world.now + timedelta(seconds=within))
    return [round(at - start) for at, _ in world.chunks[before:]]


def test_a_permit_is_asked_for_again_ten_seconds_after_the_last_word_of_its_owner() -> None:
    world = silent()
    assert repeats(world, 14) == [10]
    answer(world, newest(world), 1, 3, final=False)
    assert repeats(world, 31) == [10, 20, 30], "after the word, not after it was asked for"


def test_a_permit_that_is_answered_is_not_asked_for_again() -> None:
    world = silent()
    world.run(until=MONDAY + 5 * SECOND)
    answer(world, newest(world), 1, 10)
    assert repeats(world, 60) == []


def test_what_is_begun_again_after_a_deferral_counts_for_half_of_the_day() -> None:
    world = silent()
    chunk = newest(world)
    at: datetime = world.now
    world.give(
        ChunkResult.model_validate({
            "relay": "main", "campaign_id": "c", "batch_number": 1, "permit_id": chunk.permit_id, "round": 0,
            "version": 1, "final": True, "begun": 10, "sent_on": {DAY: 10}, "accepted": 6, "stopped": "done", "at": at,
            "deferred": [(6, 10, 1)],
        })
    )  # fmt: skip
    domain = world.core.tables.domains["bore.example"]
    assert domain.again == 0
    world.run(until=MONDAY + 6 * 60 * SECOND)
    assert (newest(world).ranges, newest(world).deferrals, domain.again) == (((6, 10),), 1, 4)
    assert batch(world).deferred == []
