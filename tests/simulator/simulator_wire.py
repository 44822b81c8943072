"""What the simulator's tests share: a dialogue without a socket, and a raw client with one."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Self

from simulator.answers import Taken, Then
from simulator.dialogue import Dialogue, Step
from simulator.engine import Engine
from simulator.moments import Facts
from simulator.rules import Rule
from simulator.server import MailboxSimulator
from simulator.settings import DEFAULTS, Settings

SECONDS = 10.0  # no reply takes longer in any of these tests
MAIL = b"MAIL FROM:<sender@bore.example>\r\n"
RCPT = b"RCPT TO:<anna@mailbox.example>\r\n"
MESSAGE = b"Message-ID: <1@bore.example>\r\nSubject: Hola\r\n\r\nHola Anna\r\n"
WHOLE = MAIL + RCPT + b"DATA\r\n" + MESSAGE + b".\r\n"


class Talk:
    """A conversation with the pure dialogue; delays pass at once, and are noted."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        settings: Settings = DEFAULTS,
        *,
        engine: Engine | None = None,
        facts: Facts | None = None,
        greeted: bool = True,
    ) -> None:
        self.engine = engine or Engine(rules, conventions=settings.conventions)
        self.facts = facts or Facts(1)
        self.dialogue = Dialogue(settings, self.engine, self.facts)
        self.now = 1_000_000.0
        self.taken: list[Taken] = []
        self.delays: list[float] = []
        self.then = Then.READ
        self.greeting = self._out(self.dialogue.open(self.now))
        if greeted and self.then is Then.READ:
            self.say(b"EHLO client.example\r\n")

    def say(self, data: bytes) -> bytes:
        """Everything that the server answers."""
        if self.then in (Then.CLOSE, Then.RESET):
            return b""
        return self._out(self.dialogue.feed(data, self.now))

    def codes(self, data: bytes) -> list[str]:
        """The codes of all replies, with their enhanced codes."""
        return codes(self.say(data))

    def _out(self, step: Step) -> bytes:
        sent = b""
        while True:
            sent += step.send
            self.taken += step.taken
            self.then = step.then
            if step.then is not Then.WAIT:
                return sent
            self.delays.append(step.delay)
            self.now += step.delay
            step = self.dialogue.resume(self.now)


def codes(replies: bytes) -> list[str]:
    """`250 2.1.0` for each reply, without its text."""
    found = re.findall(rb"^(\d{3}) ([245]\.\d+\.\d+)?", replies, re.MULTILINE)
    return [b" ".join(filter(None, one)).decode() for one in found]


class Wire:
    """A raw client on a socket."""

    def __init__(self, simulator: MailboxSimulator) -> None:
        self._simulator = simulator

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._simulator.host, self._simulator.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # the server had cut the connection: that is often the test
            await self.writer.wait_closed()

    async def reply(self) -> str:
        """The next reply, all its lines; empty when the server has closed."""
        lines = []
        async with asyncio.timeout(SECONDS):
            while True:
                line = (await self.reader.readline()).decode()
                lines.append(line)
                if line[3:4] != "-":
                    return "".join(lines)

    async def ask(self, data: bytes, replies: int = 1) -> list[str]:
        """Sends, and gives the codes of that many replies."""
        self.writer.write(data)
        return codes("".join([await self.reply() for _ in range(replies)]).encode())

    async def greet(self) -> None:
        """Greeting and EHLO."""
        assert await self.ask(b"EHLO client.example\r\n", 2) == ["220", "250"]

    async def to_the_end(self) -> bytes:
        """All that comes until the server closes; raises ConnectionResetError at RST."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read()
