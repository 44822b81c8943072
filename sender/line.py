"""A connection that carries the messages of one run after the other, and what it puts on record.

It is the feed of its pipe (`sender.smtp.feed`) and the session of a pool. What it carries comes from the run that
it serves at the moment (`Source`); what becomes of a message is told to the run that gave it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from sender.journal.spool import Slip, Spool, SpoolEnd
from sender.smtp.errors import RelayDown
from sender.smtp.feed import Ending, Feed, Outcome, Outgoing, Pipe
from sender.smtp.pipeline import MessagePipe
from streams.clock import Clock

CLOSING = 6.0
"""Seconds for the server to answer QUIT, and what is on the wire before it."""


class Sent:
    """What a message on a pipe belongs to."""

    __slots__ = ("begun", "index", "message_id", "rcpt_to", "refused", "source", "tries")

    def __init__(self, source: Source, index: int, tries: int, rcpt_to: str, message_id: str) -> None:
        self.source = source
        self.index = index
        self.tries = tries
        """Which try of it this is."""
        self.rcpt_to = rcpt_to
        self.message_id = message_id
        self.begun = False
        """The spool says that it goes on a wire."""
        self.refused = False
        """`may_begin` said no."""


class Source(Protocol):
    """A run, as far as its lines go. No method blocks."""

    slip: Slip | None

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

    async def open_pipe(self, feed: Feed) -> MessagePipe:
        """Raises `RelayDown`."""


class LineRelay:
    """Opens lines to a relay. Implements `sender.smtp.pool.Opener`."""

    def __init__(self, relay: PipeRelay, spool: Spool | None, clock: Clock) -> None:
        self._relay = relay
        self._spool = spool
        self._clock = clock

    async def open(self) -> Line:
        """Raises `RelayDown`."""
        line = Line(self._spool, self._clock)
        line.pipe = await self._relay.open_pipe(line)
        return line


class Line:
    """Implements `sender.smtp.feed.Feed` and `sender.smtp.pool.Session`. For one event loop."""

    def __init__(self, spool: Spool | None, clock: Clock) -> None:
        self.pipe: MessagePipe | None = None
        self.refusal: RelayDown | None = None
        """What the relay refused us with, as a whole; nothing more is sent on this line."""
        self.ending: Ending | None = None
        self._spool = spool
        self._clock = clock
        self._source: Source | None = None
        self._left: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._begins: list[tuple[Slip, Sent]] = []
        self._ends: list[tuple[Slip, int, SpoolEnd]] = []

    # --- for runs

    async def serve(self, source: Source) -> None:
        """Carries what `source` gives, until the connection is gone or `leave` was called."""
        self._source = source
        self._left = asyncio.get_running_loop().create_future()
        try:
            if not self._gone.is_set():
                self.kick()
                await self._left
        finally:
            self._source = self._left = None

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
        return None if self._source is None or self.refusal is not None else self._source.take()

    def may_begin(self, message: Outgoing) -> bool:
        sent: Sent = message.token
        if sent.source.may_begin():
            return True
        sent.refused = True
        return False

    def began(self, message: Outgoing) -> None:
        sent: Sent = message.token
        if sent.source.slip is not None:
            self._begins.append((sent.source.slip, sent))

    def ended(self, message: Outgoing, outcome: Outcome) -> None:
        sent: Sent = message.token
        slip, at = sent.source.slip, self._clock.now()
        if sent.begun and slip is not None:
            self._ends.append((slip, sent.index, SpoolEnd.of(outcome, at, sent.tries)))
        elif self._begins:  # it comes to nothing before its begin was written
            self._begins = [one for one in self._begins if one[1] is not sent]
        sent.source.came(self, sent, outcome, at)

    def flush(self) -> None:
        """Raises `SpoolLost`: then nothing that was to begin is on record, and none of it may be written."""
        if self._spool is not None and (self._begins or self._ends):
            begins, self._begins = self._begins, []
            ends, self._ends = self._ends, []
            self._spool.write(ends, [(slip, sent.index, sent.tries) for slip, sent in begins])
            for _, sent in begins:
                sent.begun = True
        if self._source is not None:
            self._source.told()

    def lost(self, pipe: Pipe, ending: Ending) -> None:  # noqa: ARG002 - it is ours
        self.ending = ending
        self._gone.set()
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
