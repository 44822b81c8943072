"""Words of an owner that cross orders and ends: nobody is mailed twice by it, and nobody is left out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gate_world import MONDAY, World, batch_strategy, gate_campaign, plan, settings

from schemas.chunk import Chunk, ChunkResult


def said(chunk: Chunk, version: int, **more: Any) -> ChunkResult:
    """A report on a permit that is not over, unless told otherwise."""
    return ChunkResult.model_validate({
        "relay": chunk.relay, "campaign_id": chunk.campaign_id, "batch_number": chunk.batch_number,
        "permit_id": chunk.permit_id, "round": chunk.round, "version": version, "final": False, "begun": 0,
        "at": chunk.issued_at, **more,
    })  # fmt: skip


def ended(chunk: Chunk, version: int, **more: Any) -> ChunkResult:
    """Its final result."""
    return said(chunk, version, final=True, stopped="done", **more)


def put_aside(chunk: Chunk, *, used: bool) -> ChunkResult:
    """The owner can do nothing for the batch: he names all that were permitted. `used`: they may have been begun."""
    begun = chunk.permitted() if used else 0
    return said(
        chunk, 0, final=True, aside=True, begun=begun, unsent=chunk.ranges, stopped="unready", detail="row c/1#0"
    )  # fmt: skip


def one_batch(size: int = 10) -> World:
    """A campaign of one batch, and nobody who answers but the test."""
    world = World(settings(warm=True), thorough=1.0)
    world.sender_up = False
    world.give(*plan(gate_campaign(size=size, strategy=batch_strategy(size, interval=0)), [size]))
    return world


def permits(world: World) -> list[Chunk]:
    """Each once, the newest last."""
    return sorted({c.permit_id: c for _, c in world.chunks}.values(), key=lambda c: c.permit_id)


def state(world: World) -> str:
    return world.core.tables.campaigns["c"].state


def test_a_campaign_is_not_completed_while_a_permit_is_open_though_everybody_in_it_has_an_end() -> None:
    world = one_batch()
    chunk = permits(world)[-1]
    world.give(said(chunk, 1, begun=10, accepted=9, in_doubt=((3, 4),)))
    assert state(world) == "running"
    world.give(ended(chunk, 2, begun=10, accepted=9, in_doubt=((3, 4),)))
    assert state(world) == "completed"


def test_who_was_in_doubt_and_turns_out_never_to_have_been_begun_is_released_and_not_cancelled() -> None:
    world = one_batch()
    chunk = permits(world)[-1]
    world.give(said(chunk, 1, begun=10, accepted=9, in_doubt=((3, 4),)))  # a suspended process has intended him
    world.give(ended(chunk, 2, begun=10, accepted=9, unsent=((3, 4),), open=((3, 4),)))  # it has died meanwhile
    assert [c.ranges for c in permits(world)] == [((0, 10),), ((3, 4),)]
    assert world.core.tables.campaigns["c"].batches[1].cancelled == []


def test_who_is_deferred_last_is_released_again_though_all_others_had_their_end_before() -> None:
    world = one_batch()
    chunk = permits(world)[-1]
    world.give(said(chunk, 1, begun=10, accepted=9, in_doubt=((3, 4),)))
    world.give(said(chunk, 2, begun=10, accepted=9, deferred=((3, 4, 1),)))
    world.give(ended(chunk, 3, begun=10, accepted=9, deferred=((3, 4, 1),)))
    world.run(until=MONDAY + timedelta(minutes=20))
    assert [(c.ranges, c.deferrals) for c in permits(world)] == [(((0, 10),), 0), (((3, 4),), 1)]


def test_an_order_to_resend_after_a_batch_was_put_aside_reaches_whom_it_is_about() -> None:
    world = one_batch(3)
    chunk = permits(world)[-1]
    world.give(said(chunk, 1, begun=2, accepted=1, suppressed=1, in_doubt=((0, 1),)))
    world.give(put_aside(chunk, used=True))
    world.give(ended(chunk, 2, begun=2, accepted=1, suppressed=1, in_doubt=((0, 1),)))
    world.command("resolve", resolution="resend", address="p0@x.example")
    told = world.controls[-1]
    world.give(ended(chunk, 3, begun=2, accepted=1, suppressed=1, open=((0, 1),), order=told.version, resolved=1))
    world.run(until=MONDAY + timedelta(minutes=5))
    assert any(start == 0 for start, _ in permits(world)[-1].ranges)
    assert permits(world)[-1].permit_id > chunk.permit_id


def test_a_new_round_sends_again_to_nobody_in_doubt_but_by_an_order() -> None:
    """The gate does not know yet who came to be in doubt before the batch was put aside."""
    world = one_batch()
    chunk = permits(world)[-1]
    world.give(said(chunk, 1, begun=1, failed=((1, 2),)))
    world.give(put_aside(chunk, used=True))
    world.command("retry")
    world.run(until=MONDAY + timedelta(minutes=5))
    again = permits(world)[-1]
    assert (again.round, again.ranges, again.resend) == (1, ((0, 10),), ())


def test_an_order_to_resend_names_them_in_the_permit_and_goes_on_while_the_batch_is_put_aside() -> None:
    world = one_batch()
    chunk = permits(world)[-1]
    world.give(ended(chunk, 1, begun=10, accepted=7, in_doubt=((3, 5),), failed=((8, 9),)))
    world.command("resolve", resolution="resend")
    world.run(until=MONDAY + timedelta(minutes=1))
    first = permits(world)[-1]
    assert (first.round, first.ranges, first.resend) == (1, ((3, 5),), ((3, 5),))
    world.give(put_aside(first, used=False))
    world.command("retry")
    world.restart_now()
    world.run(until=MONDAY + timedelta(minutes=5))
    second = permits(world)[-1]
    assert (second.round, second.ranges, second.resend) == (2, ((3, 5), (8, 9)), ((3, 5),))
    world.give(put_aside(second, used=True))  # they may have been sent to by it: one order, one message
    world.run(until=MONDAY + timedelta(minutes=10))
    assert (permits(world)[-1].ranges, permits(world)[-1].resend) == (((3, 5), (8, 9)), ())
