"""The connection under a pipe: what waits to be written, how long replies may take, and how it ends.

It knows messages only as `Flight`s, of which each gets its outcome however the connection ends.
"""

from __future__ import annotations

import asyncio
import logging
import select
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from sender.smtp import flight as fl
from sender.smtp.feed import Ending, Feed
from sender.smtp.flight import Flight
from sender.smtp.learned import Mode, Problem, Report
from sender.smtp.outcomes import Outcome
from sender.smtp.replies import ReplyReader
from sender.smtp.watch import Loop, Patience, Watch
from sender.smtp.wire import Outgoing

log = logging.getLogger(__name__)

NOT_OURS = "not ours any more"
HUNG_UP = "the server closed the connection"
_QUIT_SECONDS = 5.0
_POLLRDHUP = getattr(select, "POLLRDHUP", 0)


def hung_up(filenos: list[int]) -> set[int]:
    """Those of these sockets whose peers have closed their side, which an event loop may not have seen yet."""
    if not _POLLRDHUP or not filenos:
        return set()
    poll = select.poll()
    for fileno in filenos:
        poll.register(fileno, _POLLRDHUP)
    return {fileno for fileno, _ in poll.poll(0)}


class Carrier(asyncio.Protocol, ABC):
    """One connection, greeted and authenticated already. For one event loop."""

    def __init__(
        self, feed: Feed, mode: Mode, loop: Loop, patience: Patience, report: Callable[[Report], None], *, alone: bool
    ) -> None:
        self.mode = mode
        self.accepted = 0
        self.doubtful = 0
        """Messages that it lost after their bodies."""
        self.fileno = -1
        """The socket's, while there is one."""
        self._feed = feed
        self._loop = loop
        self._report = report
        self._alone = alone
        self._watch = Watch(loop, patience, stage=self._waits_for, unread=self._unread, late=self._late)
        self._transport: Any = None
        self._reader = ReplyReader()
        self._flights: deque[Flight] = deque()
        """In the order of the wire: all replies of one come before those of the next."""
        self._awaited = 0
        """Replies that are owed to commands on the wire."""
        self._out: list[bytes] = []
        self._owed = 0
        """Replies that will be owed for `_out`."""
        self._bodies: list[Flight] = []
        """Those whose bodies are in `_out`."""
        self._told = False
        self._paused = self._stopping = self._quitting = self._gone = self._busy = False
        self._problem: tuple[Problem, str] | None = None
        self._proved = False
        self._in_step = False
        """All replies to a message have come, whatever they said."""
        self._failure: Exception | None = None

    # -- for the owner ------------------------------------------------------------------------------------

    @property
    def on_wire(self) -> int:
        """Messages taken and not ended."""
        return len(self._flights)

    @property
    def gone(self) -> bool:
        return self._gone

    @property
    def usable(self) -> bool:
        """Whether it takes messages, or would."""
        return not (self._gone or self._stopping or self._quitting or self._transport is None)

    @abstractmethod
    def kick(self) -> None:
        """There are messages again. Harmless at any time."""

    def stop(self) -> None:
        """Take no more; finish what is on the wire, QUIT, then `Feed.lost` with `finished`."""
        self._stopping = True
        self.kick()

    def abort(self, text: str) -> None:
        """Close now; what is on the wire ends with `lost_before` or `lost_after`."""
        self._end(Ending("aborted", text))

    def abandon(self) -> None:
        """Close now, because what waits to be written may not be written any more."""
        self._end(Ending("abandoned", NOT_OURS))

    def hang_up(self) -> None:
        """The server has closed its side: nothing more is written. Replies that it sent before may lie unread, so the
        connection ends when the loop has brought them and the end behind them."""
        if not self._awaited:
            self._closed(HUNG_UP)
            return
        self._stopping = True
        self._out.clear()
        self._owed = 0
        while self._bodies:  # where replies are awaited, with CHUNKING, these are all that were not written
            flight = self._bodies.pop()
            self._flights.remove(flight)
            self._ended(flight.message, flight.lost(HUNG_UP))

    def fail(self, error: Exception) -> None:
        """Close now, because the feed cannot go on."""
        self._end(Ending("feed", f"{type(error).__name__}: {error}", error=error))

    def release(self) -> None:
        """Write what was gathered; everything in it that has to be on record is."""
        if not self._out or self._gone:
            return
        if self._bodies:
            for flight in self._bodies:
                flight.written = True
            self._bodies.clear()
        if self._awaited == 0:
            self._watch.alive()
        self._awaited += self._owed
        self._owed = 0
        data = b"".join(self._out)
        self._out.clear()
        self._watch.arm()
        self._transport.write(data)

    # -- for the event loop -------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Takes a transport over, after `transport.set_protocol(pipe)` or from the loop."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self.fileno = sock.fileno()

    def eof_received(self) -> None:
        self._closed(HUNG_UP)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._closed(f"the connection was lost: {exc}" if exc else "the connection was lost")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._watch.alive()
        self.kick()

    # -- what goes out ------------------------------------------------------------------------------------

    def _put(self, data: bytes, replies: int) -> None:
        self._out.append(data)
        self._owed += replies

    def _write(self) -> None:
        """Everything gathered, as soon as it is on record."""
        if self._told or self._bodies:
            self._told = False
            if not self._feed.flush():
                return
        self.release()

    def _quit(self) -> None:
        self._quitting = True
        self._awaited = 1
        self._loop.call_at(
            self._loop.time() + min(_QUIT_SECONDS, self._watch.shortest), lambda: self._end(Ending("finished"))
        )
        self._transport.write(b"QUIT\r\n")

    def _hung_up(self) -> bool:
        """Whether the server has closed its side, when nobody else looks. If so, nothing more is written."""
        if self._transport.is_closing():
            self._closed(HUNG_UP)
        elif self._alone and self.fileno >= 0 and hung_up([self.fileno]):
            self.hang_up()
        else:
            return False
        return True

    # -- how long replies may take ------------------------------------------------------------------------

    def _waits_for(self) -> int | None:
        """The stage whose reply is awaited."""
        return self._flights[0].stage if self._awaited and self._flights and not self._gone else None

    def _unread(self) -> int:
        held: int = self._transport.get_write_buffer_size()
        return held

    def _late(self, text: str) -> None:
        if self._mid_group(self._flights[0]):
            self._problem = ("timeout", text)
        self._end(Ending("timeout", text))

    def _mid_group(self, head: Flight) -> bool:
        """Whether the server has answered some of what was written at once, and not the rest."""
        if self.mode is Mode.PIPELINING and head.stage == fl.MESSAGE:
            return False  # nothing was written ahead of the final dot's reply that this one waits for
        return self.mode is not Mode.LOCK_STEP and (head.joined or head.stage in (fl.RCPT, fl.DATA))

    # -- how it ends --------------------------------------------------------------------------------------

    def _closed(self, text: str) -> None:
        if self._gone:
            return
        if self._quitting:
            self._end(Ending("finished"))
            return
        if self._flights and self._mid_group(self._flights[0]):
            self._problem = self._problem or ("closed", text)
        self._end(Ending("closed", f"{text} in the middle of a reply" if self._reader.within else text))

    def _end(self, ending: Ending) -> None:
        """The one way out: each message gets its outcome, then the feed hears that the pipe is gone."""
        if self._gone:
            return
        self._gone = self._busy = True
        self.fileno = -1
        self._watch.cancel()
        if self._transport is not None:
            (self._transport.close if ending.kind == "finished" else self._transport.abort)()
        self._out.clear()
        said = f"{ending.code} {ending.text}" if ending.code else ending.text
        while self._flights:
            flight = self._flights.popleft()
            outcome = flight.lost(said)
            self.doubtful += outcome.kind == "lost_after"
            self._ended(flight.message, outcome)
        problem, text = self._problem or (None, "")
        untried = self.mode is Mode.CHUNKING and not self._in_step
        if problem in (None, "closed") and (self.doubtful > 1 or (self.doubtful and untried)):
            problem, text = "cut", said
        self._report(Report(self.mode, problem, self.accepted, self._proved, text))
        self._quietly(self._feed.flush)
        self._quietly(lambda: self._feed.lost(self, ending))

    def _ended(self, message: Outgoing, outcome: Outcome) -> None:
        """A feed that fails while it is told of an end must not keep others from theirs, nor send on."""
        self._told = True
        try:
            self._feed.ended(message, outcome)
        except Exception as e:
            log.exception("a feed failed when it was told what became of a message")
            self._failure = e

    def _quietly(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            log.exception("a feed failed when a connection ended")
