"""A connection that carries the messages of one run after the other, and what it puts on record.

It is the feed of its pipe (`sender.smtp.feed`) and the session of a pool. What it carries comes from the run that
it serves at the moment (`Source`); what becomes of a message is told to the run that gave it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from sender.gathering import Gathering, Sent
from sender.smtp.errors import RelayDown
from sender.smtp.feed import Ending, Feed, Outcome, Outgoing, Pipe
from sender.smtp.pipeline import MessagePipe

CLOSING = 6.0
"""Seconds for the server to answer QUIT, and what is on the wire before it."""


class Source(Protocol):
    """A run, as far as its lines go. No method blocks."""

    halted: bool
    """The batch is another's by now."""

    def take(self) -> Outgoing | None:
        """The next message, its token a `Sent`; None: none now, and `kick` will tell."""

    def may_begin(self) -> bool:
        """Whether the body of a message that was taken may go on the wire now."""

    def came(self, line: Line, sent: Sent, outcome: Outcome, at: datetime) -> None:
        """What became of a message that was taken; by the installation's clock."""

    def told(self) -> None:
        """Everything that a read has brought was told."""


class PipeRelay(Protocol):
    """A relay that takes messages ahead of their replies."""

    async def open_pipe(self, feed: Feed, *, alone: bool = True) -> MessagePipe:
        """A session that carries the messages of `feed`. Raises `RelayDown`."""


class LineRelay:
    """Opens lines with one relay, of one event loop. Implements `sender.smtp.pool.Opener`."""

    def __init__(self, relay: PipeRelay, gathering: Gathering) -> None:
        self._relay = relay
        self._gathering = gathering

    async def open(self) -> Line:
        """Raises `RelayDown`."""
        line = Line(self._gathering)
        line.pipe = await self._relay.open_pipe(line, alone=False)
        return line


class Line:
    """Implements `sender.smtp.feed.Feed` and `sender.smtp.pool.Session`. For one event loop."""

    def __init__(self, gathering: Gathering) -> None:
        self.pipe: MessagePipe | None = None
        self.source: Source | None = None
        """Whose messages it carries at the moment."""
        self.refusal: RelayDown | None = None
        """What the relay refused us with, as a whole; nothing more is sent on this line."""
        self.ending: Ending | None = None
        self._gathering = gathering
        self._left: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()

    # --- for runs

    async def serve(self, source: Source) -> None:
        """Carries what `source` gives, until the connection is gone or `leave` was called."""
        self.source = source
        self._left = asyncio.get_running_loop().create_future()
        try:
            if not self._gone.is_set():
                self.kick()
                await self._left
        finally:
            self.source = self._left = None

    def kick(self) -> None:
        """There is something to take, perhaps."""
        if self.pipe is not None:
            self.pipe.kick()

    def leave(self) -> None:
        """Ends `serve` when nothing is on the wire."""
        if self._left is not None and not self._left.done() and not (self.pipe and self.pipe.on_wire):
            self._left.set_result(None)

    def refuse(self, down: RelayDown) -> None:
        """The relay refuses us: nothing more is taken; the connection ends when its last replies have come."""
        self.refusal = self.refusal or down
        asyncio.get_running_loop().call_soon(self._stop)

    def _stop(self) -> None:
        if self.pipe is not None:
            self.pipe.stop()

    # --- for the pool

    @property
    def usable(self) -> bool:
        """Whether another run may have it."""
        return self.pipe is not None and self.pipe.usable and not self.pipe.on_wire and self.refusal is None

    async def close(self) -> None:
        """QUIT after the last reply; whoever does not answer in time is hung up on."""
        if self.pipe is None or self._gone.is_set():
            return
        self.pipe.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._gone.wait()
        self.pipe.abort("no reply while it was being closed")

    # --- for the pipe

    def next(self) -> Outgoing | None:
        return None if self.source is None or self.refusal is not None else self.source.take()

    def may_begin(self, message: Outgoing) -> bool:
        """Whether it is worth gathering; `Gathering.over` asks the rest, right before it is written."""
        sent: Sent = message.token
        sent.refused = sent.source.halted
        return not sent.refused

    def began(self, message: Outgoing) -> None:
        self._gathering.began(self, message.token)

    def ended(self, message: Outgoing, outcome: Outcome) -> None:
        sent: Sent = message.token
        self._gathering.ended(sent, outcome)
        sent.source.came(self, sent, outcome, self._gathering.now())

    def flush(self) -> bool:
        self._gathering.put_off(self)
        return False

    def lost(self, pipe: Pipe, ending: Ending) -> None:  # noqa: ARG002 - it is ours
        self.ending = ending
        self._gone.set()
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
