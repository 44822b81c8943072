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
from sender.smtp.pool import ConnectionPool
from sender.surroundings import Surroundings
from sender.traffic import Came, Grant, Message
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


def test_a_message_that_was_taken_is_never_open_again_because_its_outcome_cannot_be_handled(tmp_path: Path) -> None:
    said: list[Message] = []
    message, relay = compile_message(campaign()), Odd()

    async def compiled(_: object) -> CompiledMessage:
        return message

    async def row(_: object, index: int) -> dict[str, Any]:
        return {"email": f"r{index}@x.example", "name": "Ana"}

    async def parts(_: object) -> list[Any]:
        return []

    async def play(spool: Spool) -> None:
        around = Surroundings(said.append, REAL, lambda: True, lambda _: False, compiled, row, parts, {}, {}, spool)
        pool: ConnectionPool[Connection] = ConnectionPool(relay, 1)
        now = datetime.now(UTC)
        until = now + timedelta(seconds=60)
        permit = chunk(ranges=((0, 2),), size=2, until=until, issued_at=now, connections=1, round=1)
        await asyncio.wait_for(SingleRun(1, permit, pool, around, Grant((0, 1), last=True)).go(), 30)
        await pool.close()

    spool = Spool.create(tmp_path)
    try:
        asyncio.run(play(spool))
    finally:
        spool.close(clean=False)
    ends = {e.index: e.kind for one in said if isinstance(one, Came) for e in one.outcomes}
    assert relay.taken == ["r0@x.example"]
    assert ends == {0: "in_doubt", 1: "not_begun"}
