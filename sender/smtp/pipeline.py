"""The message phase of an SMTP session: our own protocol, so that messages need not wait for round trips.

A pipe pulls messages from its feed and keeps the wire filled: the final dot of one and MAIL, RCPT, DATA of
the next in one write (RFC 2920), several whole messages ahead of their replies where the relay offers
CHUNKING (RFC 3030) and has answered one by itself, one command at a time where it offers neither. No task and no
future a message.

What is certain: until the bytes of its body are handed to the transport a message that comes to nothing
is `lost_before`, a clean retry; from then on and without its reply it is `lost_after`, in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sender.smtp import flight as fl
from sender.smtp.carrier import NOT_OURS, Carrier
from sender.smtp.feed import Ending, Feed
from sender.smtp.flight import Flight
from sender.smtp.learned import Mode, Report
from sender.smtp.outcomes import Outcome
from sender.smtp.replies import words
from sender.smtp.watch import Loop, Patience
from sender.smtp.wire import Offer, Outgoing, Unsendable, body, chunk, envelope

WINDOW = 8
"""Messages on a wire without their replies, with CHUNKING."""
BATCH = 128 * 1024
"""Octets gathered for one write before the transport is asked whether it takes more."""


class MessagePipe(Carrier):
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
        alone: bool = True,
    ) -> None:
        """`alone`: nobody else looks, before a body is written, whether the server has hung up."""
        super().__init__(feed, mode, loop or asyncio.get_running_loop(), patience, report, alone=alone)
        self.taken = 0
        """Messages taken from the feed."""
        self._offer = offer
        self._most = most
        self._window = window if mode is Mode.CHUNKING else 2
        self._dirty = self._again = False

    def kick(self) -> None:
        """There are messages again. Harmless at any time."""
        if self._busy:
            self._again = True
        elif not self._gone and self._transport is not None:
            self._advance(refill=True)

    # -- replies ------------------------------------------------------------------------------------------

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
            if self._quitting or code == 421:
                self._last_words(code, text)
                return
            step = self._flights[0].take(code, text)
            if step != fl.GO and not self._step(step):
                return
        if self._reader.problem is not None:
            self._out_of_step(self._reader.problem)
            return
        self._busy = False
        self._advance(refill=self.mode is not Mode.CHUNKING or 2 * len(self._flights) <= self._window)

    def _last_words(self, code: int, text: bytes) -> None:
        """After QUIT, or 421 in the place of a reply (RFC 5321, 3.8)."""
        if self._quitting:
            self._end(Ending("finished"))
            return
        self._flights[0].quits(code, text)
        self._end(Ending("busy", words(text), code))

    def _step(self, step: int) -> bool:
        """The first message has ended, or is out of step. False: the connection is gone."""
        flight = self._flights[0]
        if step == fl.BROKEN:
            self._out_of_step(flight.trouble)
            return False
        self._flights.popleft()
        self._in_step = True
        self._dirty = self._dirty or flight.dirty
        assert flight.outcome is not None, "DONE has an outcome"  # noqa: S101
        if flight.outcome.kind == "accepted":
            self.accepted += 1
            self._proved = self._proved or flight.joined
        if flight.problem is not None:
            self._problem, self._stopping = (flight.problem, flight.trouble), True
        self._ended(flight.message, flight.outcome)
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
            self.fail(e)
        finally:
            self._busy = False
        if self._stopping and not (self._flights or self._gone or self._quitting):
            self._quit()
        elif self._again and not self._gone:  # kicked after its feed had said that there was nothing
            self._loop.call_at(self._loop.time(), self.kick)

    def _go_on(self) -> bool:
        """What the first message's last reply asks for. False: the connection is gone."""
        if self._awaited or self._owed or not self._flights:
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
            self.abandon()
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
        if not self._flights:
            return True
        if self.mode is Mode.CHUNKING:
            # Only once a whole group was answered. A server that drops what it is sent ahead would answer the first
            # command of each message, and with no 354 between them these pass for the answers to one.
            return self._in_step and len(self._flights) < self._window
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
