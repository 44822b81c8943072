"""The message phase of an SMTP session: our own protocol, so that messages need not wait for round trips.

A pipe pulls messages from its feed and keeps the wire filled: the final dot of one and MAIL, RCPT, DATA of
the next in one write (RFC 2920), several whole messages ahead of their replies where the relay offers
CHUNKING (RFC 3030), one command at a time where it offers neither. No task and no future a message.

What is certain: until the bytes of its body are handed to the transport a message that comes to nothing
is `lost_before`, a clean retry; from then on and without its reply it is `lost_after`, in doubt.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable
from typing import Any

from sender.smtp import flight as fl
from sender.smtp.feed import Ending, Feed
from sender.smtp.flight import Flight
from sender.smtp.learned import Mode, Problem, Report
from sender.smtp.outcomes import Outcome
from sender.smtp.replies import ReplyReader, words
from sender.smtp.watch import Loop, Patience, Watch
from sender.smtp.wire import Offer, Outgoing, Unsendable, body, chunk, envelope

log = logging.getLogger(__name__)

WINDOW = 8
"""Messages on a wire without their replies, with CHUNKING."""
BATCH = 128 * 1024
"""Octets gathered for one write before the transport is asked whether it takes more."""
NOT_OURS = "not ours any more"
_QUIT_SECONDS = 5.0
_POLLRDHUP = getattr(select, "POLLRDHUP", 0)


class MessagePipe(asyncio.Protocol):
    """One connection, greeted and authenticated already. For one event loop; `kick` starts it.

    Ends by itself after `most` messages. `report` is told how it went, before `Feed.lost`.
    """

    def __init__(
        self,
        feed: Feed,
        offer: Offer,
        mode: Mode,
        *,
        patience: Patience,
        most: int,
        window: int = WINDOW,
        report: Callable[[Report], None] = lambda _: None,
        loop: Loop | None = None,
    ) -> None:
        self.mode = mode
        self.taken = 0
        """Messages taken from the feed."""
        self.accepted = 0
        self._feed = feed
        self._offer = offer
        self._most = most
        self._window = window if mode is Mode.CHUNKING else 2
        self._report = report
        self._loop: Loop = loop or asyncio.get_running_loop()
        self._watch = Watch(self._loop, patience, stage=self._waits_for, unread=self._unread, late=self._late)
        self._transport: Any = None
        self._poll: select.poll | None = None
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
        self._dirty = False
        self._told = False
        self._paused = self._stopping = self._quitting = self._gone = self._busy = self._again = False
        self._problem: tuple[Problem, str] | None = None
        self._proved = False
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

    def kick(self) -> None:
        """There are messages again. Harmless at any time."""
        if self._busy:
            self._again = True
        elif not self._gone and self._transport is not None:
            self._advance(refill=True)

    def stop(self) -> None:
        """Take no more; finish what is on the wire, QUIT, then `Feed.lost` with `finished`."""
        self._stopping = True
        self.kick()

    def abort(self, text: str) -> None:
        """Close now; what is on the wire ends with `lost_before` or `lost_after`."""
        self._end(Ending("aborted", text))

    # -- for the event loop -------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Takes a transport over, after `transport.set_protocol(pipe)` or from the loop."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and _POLLRDHUP:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), _POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        if self._gone:
            return
        self._watch.alive()
        self._busy = True
        for code, text in self._reader.feed(data):
            if self._awaited == 0:
                self._unasked(code, text)
                return
            self._awaited -= 1
            if not self._reply(code, text):
                return
        if self._reader.problem is not None:
            self._out_of_step(self._reader.problem)
            return
        self._busy = False
        self._advance(refill=self.mode is not Mode.CHUNKING or 2 * len(self._flights) <= self._window)

    def eof_received(self) -> None:
        self._closed("the server closed the connection")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._closed(f"the connection was lost: {exc}" if exc else "the connection was lost")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._watch.alive()
        self.kick()

    # -- replies ------------------------------------------------------------------------------------------

    def _reply(self, code: int, text: bytes) -> bool:
        """False: the connection is gone."""
        if self._quitting:
            self._end(Ending("finished"))
            return False
        flight = self._flights[0]
        if code == 421:
            flight.quits(code, text)
            self._end(Ending("busy", words(text), code))
            return False
        step = flight.take(code, text)
        if step == fl.DONE:
            self._flights.popleft()
            self._dirty = self._dirty or flight.dirty
            assert flight.outcome is not None, "DONE has an outcome"  # noqa: S101
            if flight.outcome.kind == "accepted":
                self.accepted += 1
                self._proved = self._proved or flight.joined
            if flight.problem is not None:
                self._problem, self._stopping = (flight.problem, flight.trouble), True
            self._ended(flight.message, flight.outcome)
        elif step == fl.BROKEN:
            self._out_of_step(flight.trouble)
            return False
        return not self._gone

    def _unasked(self, code: int, text: bytes) -> None:
        if code == 421:  # a server that is idle for too long, or ends, says it by itself (RFC 5321, 3.8)
            self._end(Ending("busy", words(text), code))
        else:
            self._out_of_step(f"{code} {words(text)} came without a command")

    def _out_of_step(self, text: str) -> None:
        self._problem = ("out_of_step", text)
        self._end(Ending("out_of_step", text))

    # -- what goes on the wire ----------------------------------------------------------------------------

    def _advance(self, *, refill: bool) -> None:
        """Whatever may be written now, in one write."""
        self._busy, self._again = True, False
        try:
            if self._failure is not None:
                raise self._failure
            going = self._go_on() and (not refill or self._fill())
            if going and not self._gone:
                self._write()
        except Exception as e:  # noqa: BLE001 - whatever a feed raises, each message gets its outcome
            self._end(Ending("feed", f"{type(e).__name__}: {e}", error=e))
        finally:
            self._busy = False
        if self._stopping and not (self._flights or self._gone or self._quitting):
            self._quit()
        elif self._again and not self._gone:  # kicked after its feed had said that there was nothing
            self._loop.call_at(self._loop.time(), self.kick)

    def _go_on(self) -> bool:
        """What the first message's last reply asks for. False: the connection is gone."""
        if not self._flights or self._awaited:
            return True
        head = self._flights[0]
        if head.stage == fl.BODY:
            return self._body(head)
        if head.stage == fl.DOT:
            head.stage = fl.LONE
            self._put(b".\r\n", 1)
        elif self.mode is Mode.LOCK_STEP:
            self._command(head)
        return True

    def _body(self, head: Flight) -> bool:
        if self._hung_up():
            return False
        if not self._feed.may_begin(head.message) or self._gone:
            # After 354 only closing sends nothing: a lone dot would be an empty message.
            self._end(Ending("abandoned", NOT_OURS))
            return False
        self._feed.began(head.message)
        head.stage = fl.MESSAGE
        content, end = body(head.message)
        self._out.append(content)
        self._put(end, 1)
        self._bodies.append(head)
        return True

    def _command(self, head: Flight) -> None:
        """Lock-step: the one command that is due."""
        if head.stage == fl.RSET:
            self._put(b"RSET\r\n", 1)
        elif head.stage == fl.DATA:
            self._put(b"DATA\r\n", 1)
        elif head.stage in (fl.MAIL, fl.RCPT):
            self._put(envelope(head.message, self._offer, "", "").splitlines(keepends=True)[head.stage - fl.MAIL], 1)

    def _fill(self) -> bool:
        """New messages, as many as may go. False: the connection is gone."""
        if self.mode is Mode.CHUNKING and self._room(0) and self._hung_up():
            return False
        gathered = 0
        while self._room(gathered) and (message := self._feed.next()) is not None:
            self.taken += 1
            if self._gone:
                self._ended(message, Outcome("lost_before", 0, "", NOT_OURS, "", "network", "mail"))
                return False
            self._stopping = self._stopping or self.taken >= self._most
            gathered += self._begin(message)
        return True

    def _room(self, gathered: int) -> bool:
        """Whether one more message may go on the wire."""
        if self._stopping or self._paused or self._gone or gathered >= BATCH:
            return False
        if not self._flights or self.mode is Mode.CHUNKING:
            return len(self._flights) < self._window
        return self.mode is Mode.PIPELINING and len(self._flights) == 1 and self._flights[0].stage == fl.MESSAGE

    def _begin(self, message: Outgoing) -> int:
        """Octets that it adds to the write."""
        reset = self._dirty or (self.mode is Mode.CHUNKING and bool(self._flights))
        flight = Flight(message, self.mode, fl.RSET if reset else fl.MAIL, bool(self._flights))
        before = "RSET\r\n" if reset else ""
        content = chunk(message) if self.mode is Mode.CHUNKING else b""
        after = f"BDAT {len(content)} LAST\r\n" if content else "DATA\r\n"
        try:
            commands = envelope(message, self._offer, before, after)
        except Unsendable as e:
            self._ended(message, e.outcome)
            return 0
        self._flights.append(flight)
        if self.mode is Mode.LOCK_STEP:
            self._dirty = False
            self._command(flight)
            return 0
        if content:
            if not self._feed.may_begin(message):
                if not self._gone:
                    self._flights.pop()
                    self._ended(message, flight.lost(NOT_OURS))
                return 0
            self._feed.began(message)
            self._bodies.append(flight)
        self._dirty = False
        self._put(commands, 3 + reset)
        if content:
            self._out.append(content)
        return len(commands) + len(content)

    def _put(self, data: bytes, replies: int) -> None:
        self._out.append(data)
        self._owed += replies

    def _write(self) -> None:
        if self._told or self._bodies:
            self._told = False
            self._feed.flush()
        if not self._out or self._gone:
            return
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

    def _quit(self) -> None:
        self._quitting = True
        self._awaited = 1
        self._loop.call_at(
            self._loop.time() + min(_QUIT_SECONDS, self._watch.shortest), lambda: self._end(Ending("finished"))
        )
        self._transport.write(b"QUIT\r\n")

    # -- how it ends --------------------------------------------------------------------------------------

    def _hung_up(self) -> bool:
        """Whether the server has closed its side, which the loop may not have seen yet. If so, ends."""
        if self._transport.is_closing() or (self._poll is not None and self._poll.poll(0)):
            self._closed("the server closed the connection")
            return True
        return False

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
        self._watch.cancel()
        if self._transport is not None:
            (self._transport.close if ending.kind == "finished" else self._transport.abort)()
        self._out.clear()
        said = f"{ending.code} {ending.text}" if ending.code else ending.text
        doubtful = 0
        while self._flights:
            flight = self._flights.popleft()
            outcome = flight.lost(said)
            doubtful += outcome.kind == "lost_after"
            self._ended(flight.message, outcome)
        problem, text = self._problem or (None, "")
        if problem in (None, "closed") and doubtful > 1:
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
