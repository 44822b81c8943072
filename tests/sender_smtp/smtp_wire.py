"""What the tests of this directory share: envelopes, relays, and a server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sender.message.envelope import Envelope
from sender.smtp.dialogue import Timeouts
from sender.smtp.relay import SmtpRelay
from streams.settings import RelaySettings

QUICK = Timeouts(connect=5, greeting=5, command=5, message=5)


def envelope(to: str = "anna@example.com", n: int = 0, body: bytes = b"Hola\r\n") -> Envelope:
    name = f"<c.1.{n}.0.x@bore.example>"
    head = f"Message-ID: {name}\r\nTo: <{to}>\r\nSubject: hola\r\n\r\n".encode()
    return Envelope("cobros@bore.example", to, head + body, name)


def relay(port: int, *, timeouts: Timeouts = QUICK, **settings: Any) -> SmtpRelay:
    given = {"host": "localhost", "ip_family": "4", "helo": "client.example"} | settings
    return SmtpRelay(RelaySettings(port=port, **given), timeouts)


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that does with each connection what `script` says. Gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def talk(*replies: bytes) -> Script:
    """Greets with the first reply, answers each line with the next, then closes. b"" closes at once."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for n, reply in enumerate(replies):
            if n and not await reader.readline():
                return
            if not reply:
                return
            writer.write(reply + b"\r\n")
            await writer.drain()
        while await reader.read(65536):
            pass

    return script
