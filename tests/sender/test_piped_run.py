"""A run over pipes against a server that a test plays: real sockets, no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from journals import chunk

from sender.gathering import Gathering
from sender.line import Line, LineRelay
from sender.message.envelope import Envelope, MessageName
from sender.piped import PipedRun
from sender.recipients import Part
from sender.smtp.pool import ConnectionPool
from sender.smtp.relay import SmtpRelay
from sender.surroundings import Surroundings
from sender.traffic import Came, Grant, Message
from sender.worker import Filling
from streams.clock import REAL
from streams.settings import RelaySettings


class Plain:
    """The same few words to everybody."""

    def fill(self, recipient: Mapping[str, Any], name: MessageName, date: datetime) -> Envelope:
        return self.bind(list(recipient), name.campaign_id, name.batch_number, name.round)(
            list(recipient.values()), name.index, date
        )

    def bind(self, columns: Sequence[str], campaign_id: str, batch_number: int, round_: int) -> Filling:  # noqa: ARG002
        def filling(row: Sequence[object], index: int, date: datetime) -> Envelope:
            return Envelope("b@bore.example", str(row[0]), b"Subject: x\r\n\r\nHola\r\n", f"<{index}@bore.example>")

        return filling


async def _run_to_its_end(port: int, people: int, seconds: float, **permit: Any) -> list[Message]:
    """What a run under a permit for so many says until it is over."""
    said: list[Message] = []

    async def compiled(_: object) -> Plain:
        return Plain()

    async def parts(_: object) -> list[Part]:
        return [Part(0, ("email",), [[f"r{n}@x.example"] for n in range(people)])]

    async def row(_: object, index: int) -> dict[str, Any]:
        return {"email": f"r{index}@x.example"}

    around = Surroundings(said.append, REAL, lambda: True, lambda _: False, compiled, row, parts, {}, {})
    relay = SmtpRelay(RelaySettings(host="127.0.0.1", port=port, tls="none", helo="client.example"))
    pool: ConnectionPool[Line] = ConnectionPool(LineRelay(relay, Gathering(None, REAL)), 1)
    now = datetime.now(UTC)
    until = now + timedelta(seconds=seconds)
    given = chunk(ranges=((0, people),), size=people, until=until, issued_at=now, connections=1, defer=True, **permit)
    run = PipedRun(1, given, pool, around, Grant(tuple(range(people)), last=True))
    await asyncio.wait_for(run.go(), 30)
    await pool.close()
    return said


@pytest.mark.parametrize(("last_words", "throttles"), [(b"", False), (b"421 4.7.0 Too busy\r\n", True)])
def test_a_server_that_ends_sessions_while_a_message_waits_for_its_turn_is_not_stormed(
    last_words: bytes, throttles: bool
) -> None:
    sessions = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sessions
        sessions += 1
        writer.write(b"220 mail.example\r\n")
        await reader.readline()
        writer.write(b"250-mail.example\r\n250 PIPELINING\r\n")
        await asyncio.sleep(0.01)
        writer.write(last_words)
        writer.close()

    async def play() -> list[Message]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            return await _run_to_its_end(server.sockets[0].getsockname()[1], 3, 2.5, rate=0.1)
        finally:
            server.close()

    said = asyncio.run(play())
    assert 1 <= sessions <= 3
    came = [one for one in said if isinstance(one, Came)]
    assert [(e.index, e.kind) for one in came for e in one.outcomes] == [(n, "not_begun") for n in range(3)]
    assert (sum(one.throttled for one in came) > 0) is throttles
