"""A run over connections that take one message at a time, with a relay that a test plays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from journals import chunk
from sending import campaign

from sender.journal.spool import Spool
from sender.message.compile import CompiledMessage, compile_message
from sender.relays import Connection, Envelope, Outcome
from sender.single import SingleRun
from sender.smtp.pool import ConnectionPool, Opener
from sender.smtp.refusals import UNANSWERED
from sender.surroundings import Surroundings
from sender.traffic import Came, Drained, Grant, Message
from streams.clock import REAL


class Odd:
    """It takes a message, and gives it a name that nobody can write down."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.usable = True

    async def open(self) -> Connection:
        return self

    async def send(self, envelope: Envelope) -> Outcome:
        self.taken.append(envelope.rcpt_to)
        return Outcome("accepted", 250, provider_id=b"x")  # type: ignore[arg-type]

    async def close(self) -> None:
        self.usable = False


class Unreachable:
    """Opening a connection takes for ever; the run is told to stop meanwhile."""

    run: SingleRun

    async def open(self) -> Connection:
        asyncio.get_running_loop().call_soon(self.run.stop, "shutdown")
        await asyncio.Event().wait()
        raise AssertionError


class Mute:
    """It takes messages, and its answers do not arrive."""

    usable = True

    async def open(self) -> Connection:
        return self

    async def send(self, envelope: Envelope) -> Outcome:  # noqa: ARG002
        return Outcome("lost_after", text="SES: the connection was closed", reason="network", stage="message")

    async def close(self) -> None:
        pass


def _play(relay: Opener[Connection] | Unreachable, people: int, spool: Spool | None = None) -> list[Message]:
    """What a run says to so many, over one connection."""
    said: list[Message] = []
    message = compile_message(campaign())

    async def compiled(_: object) -> CompiledMessage:
        return message

    async def row(_: object, index: int) -> dict[str, Any]:
        return {"email": f"r{index}@x.example", "name": "Ana"}

    async def parts(_: object) -> list[Any]:
        return []

    async def play() -> None:
        around = Surroundings(said.append, REAL, lambda: True, lambda _: False, compiled, row, parts, {}, {}, spool)
        pool: ConnectionPool[Connection] = ConnectionPool(relay, 1)
        now = datetime.now(UTC)
        until = now + timedelta(seconds=60)
        permit = chunk(ranges=((0, people),), size=people, until=until, issued_at=now, connections=1, round=1)
        run = SingleRun(1, permit, pool, around, Grant(tuple(range(people)), last=True))
        if isinstance(relay, Unreachable):
            relay.run = run
        await asyncio.wait_for(run.go(), 30)
        assert pool.open_connections <= 1
        said.append(run.drained())
        await pool.close()

    asyncio.run(play())
    return said


def _ends(said: list[Message]) -> dict[int, str]:
    return {e.index: e.kind for one in said if isinstance(one, Came) for e in one.outcomes}


def test_a_message_that_was_taken_is_never_open_again_because_its_outcome_cannot_be_handled(tmp_path: Path) -> None:
    relay, spool = Odd(), Spool.create(tmp_path)
    try:
        said = _play(relay, 2, spool)
    finally:
        spool.close(clean=False)
    assert relay.taken == ["r0@x.example"]
    assert _ends(said) == {0: "in_doubt", 1: "not_begun"}


def test_a_relay_of_which_no_answer_arrives_is_down_and_the_others_are_not_begun() -> None:
    said = _play(Mute(), 100)
    end = said[-1]
    assert isinstance(end, Drained)
    assert (end.stopped, "gives no reply to any message" in (end.detail or "")) == ("relay_down", True)
    assert _ends(said) == {n: "in_doubt" if n < UNANSWERED else "not_begun" for n in range(100)}


def test_a_planned_stop_does_not_wait_for_a_connection_that_is_just_being_opened() -> None:
    said = _play(Unreachable(), 3)
    assert _ends(said) == dict.fromkeys(range(3), "not_begun")
    assert isinstance(said[-1], Drained)
    assert said[-1].stopped == "shutdown"
