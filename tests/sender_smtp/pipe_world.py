"""A pipe, a feed and a server without sockets or time: every byte is where a test puts it.

`Provider` is an honest SMTP server (RFC 5321, 2920, 3030) that a `Fault` makes do one wrong thing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sender.smtp.feed import Ending, Pipe
from sender.smtp.learned import Mode, Report
from sender.smtp.outcomes import Outcome
from sender.smtp.pipeline import MessagePipe
from sender.smtp.watch import Patience
from sender.smtp.wire import Offer, Outgoing

EVERYTHING = Offer(pipelining=True, chunking=True, eight_bit=True, smtputf8=True, size=1_000_000)
PATIENCE = Patience(mail=5, rcpt=5, data=2, block=3, message=10)


def letters(count: int, body: str = "Hola\r\n.dot\r\n") -> list[Outgoing]:
    """Messages that differ in all that a server sees."""
    return [
        Outgoing(f"b{n}@bore.example", f"r{n}@example.com", f"Subject: {n}\r\n\r\n{body}".encode(), token=n)
        for n in range(count)
    ]


class ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualLoop:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, ManualTimer]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> ManualTimer:
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (when, len(self._timers) + id(timer), timer))
        return timer

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if timer.callback is not None:
                timer.callback()
        self.now = until


class ListFeed:
    """Gives out a list, and keeps what it is told."""

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self.waiting = list(messages)
        self.taken: list[Outgoing] = []
        self.begun: list[Outgoing] = []
        self.ends: list[tuple[Outgoing, Outcome]] = []
        self.endings: list[Ending] = []
        self.reports: list[Report] = []
        self.flushes = 0
        self.ours: Callable[[Outgoing], bool] = lambda _: True
        self.on_next: Callable[[], object] = lambda: None
        self.on_began: Callable[[Outgoing], object] = lambda _: None
        self.on_ended: Callable[[Outgoing], object] = lambda _: None
        self.on_flush: Callable[[], object] = lambda: None
        self.on_lost: Callable[[], object] = lambda: None

    def next(self) -> Outgoing | None:
        assert not self.endings
        self.on_next()
        if not self.waiting:
            return None
        self.taken.append(self.waiting.pop(0))
        return self.taken[-1]

    def may_begin(self, message: Outgoing) -> bool:
        assert not self.endings
        return self.ours(message)

    def began(self, message: Outgoing) -> None:
        assert not self.endings
        self.begun.append(message)
        self.on_began(message)

    def ended(self, message: Outgoing, outcome: Outcome) -> None:
        self.ends.append((message, outcome))
        self.on_ended(message)

    def flush(self) -> bool:
        self.flushes += 1
        self.on_flush()
        return True

    def lost(self, pipe: Pipe, ending: Ending) -> None:
        self.pipe = pipe
        self.endings.append(ending)
        self.on_lost()

    def kinds(self) -> list[str]:
        """Of the messages, in the order in which they were given."""
        found = {message.token: outcome.kind for message, outcome in self.ends}
        return [found[n] for n in sorted(found)]


@dataclass
class Fault:
    """What the server does to one command, the body's end counting as one (`.`), counted from 0."""

    at: int = -1
    reply: bytes | None = None
    """Instead of its own; b"" says nothing."""
    extra: bytes = b""
    """After its own."""
    close: bool = False
    verbs: tuple[str, ...] = ()
    """Instead of `at`: every command of these verbs."""

    def hits(self, number: int, verb: str) -> bool:
        return number == self.at or verb in self.verbs


@dataclass
class Got:
    """A whole message that the server has read, and how it replied."""

    sender: str
    recipient: str
    content: bytes
    code: int


@dataclass
class Provider:
    """An honest server. `feed` takes bytes and gives replies."""

    fault: Fault = field(default_factory=Fault)
    anyway_354: bool = False
    """354 to DATA without recipients, as RFC 2920, 3.1 allows."""
    commands: list[str] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    """Recipients of whose body a byte was seen."""
    closed: bool = False
    _buffer: bytes = b""
    _sender: str | None = None
    _recipient: str | None = None
    _data: bool = False
    _chunk: int | None = None

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        out = b""
        while not self.closed:
            reply = self._step()
            if reply is None:
                break
            out += reply
        return out

    def _step(self) -> bytes | None:
        if self._chunk is not None:
            if self._buffer and self._recipient:
                self.begun.add(self._recipient)
            if len(self._buffer) < self._chunk:
                return None
            content, self._buffer = self._buffer[: self._chunk], self._buffer[self._chunk :]
            self._chunk = None
            return self._whole(content)
        if self._data:
            if self._buffer.strip(b".\r\n") and self._recipient:
                self.begun.add(self._recipient)
            end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
            if end == 1:
                return None
            content, self._buffer = self._buffer[:end], self._buffer[end + 3 :]
            self._data = False
            content = content.removeprefix(b".") if content.startswith(b"..") else content
            return self._whole(content.replace(b"\r\n..", b"\r\n."))
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return None
        self._buffer = rest
        return self._command(line.decode())

    def _command(self, line: str) -> bytes:
        verb, _, rest = line.partition(" ")
        if verb == "BDAT":
            self._chunk = int(rest.split(" ")[0])  # to be read whatever the reply is, which comes after it
            return b""
        address = rest.partition("<")[2].partition(">")[0]
        nothing = lambda: None  # noqa: E731
        own: dict[str, tuple[bytes, Callable[[], None]]] = {
            "RSET": (b"250 2.0.0 Flushed", self._reset),
            "MAIL": (b"250 2.1.0 Sender ok", lambda: setattr(self, "_sender", address)),
            "RCPT": (b"250 2.1.5 Recipient ok", lambda: setattr(self, "_recipient", address)),
            "DATA": (b"354 Go ahead", lambda: setattr(self, "_data", True)),
            "QUIT": (b"221 2.0.0 Bye", lambda: setattr(self, "closed", True)),
        }
        reply, apply = own[verb]
        if (verb == "MAIL") != (self._sender is None) and verb in ("MAIL", "RCPT"):
            reply, apply = b"503 5.5.1 Out of sequence", nothing
        if verb == "DATA" and self._recipient is None and not (self.anyway_354 and self._sender is not None):
            reply, apply = b"554 5.5.1 No valid recipients", nothing
        return self._said(verb, reply, apply)

    def _whole(self, content: bytes) -> bytes:
        sender, recipient = self._sender, self._recipient

        def keep(code: int) -> Callable[[], None]:
            def apply() -> None:
                self.got.append(Got(sender or "", recipient or "", content, code))
                self._reset()

            return apply

        if recipient is None:
            return self._said(".", b"554 5.5.1 No valid recipients", self._reset)
        return self._said(".", b"250 2.6.0 queued as X1", keep(250), keep(550))

    def _said(
        self, verb: str, own: bytes, apply: Callable[[], None], refused: Callable[[], None] = lambda: None
    ) -> bytes:
        number = len(self.commands)
        self.commands.append(verb)
        if not self.fault.hits(number, verb):
            apply()
            return own + b"\r\n"
        if self.fault.close:
            self.closed = True
        if self.fault.reply and self.fault.reply[:1] != own[:1]:
            refused()
        else:
            apply()
        said = own if self.fault.reply is None else self.fault.reply
        return (said + b"\r\n" if said else b"") + self.fault.extra

    def _reset(self) -> None:
        self._sender = self._recipient = None


class World:
    """The pipe, its feed, the server, and the wire between them."""

    def __init__(
        self,
        mode: Mode,
        messages: Sequence[Outgoing],
        server: Provider | None = None,
        *,
        offer: Offer = EVERYTHING,
        most: int = 1000,
        window: int = 8,
        piece: int = 1 << 30,
        read_most: int = 1 << 30,
        reply_most: int = 1 << 30,
    ) -> None:
        self.loop = ManualLoop()
        self.server = server or Provider()
        self.feed = ListFeed(messages)
        self.piece = piece
        """Octets of replies that arrive at once."""
        self.read_most, self.reply_most = read_most, reply_most
        """Octets that the server reads, and that get back from it, before the connection is closed."""
        self.to_server = b""
        self.to_client = b""
        self.writes: list[bytes] = []
        self.read = self.replied = 0
        self.cut = False
        self.closing = False
        self.stuck = False
        """The server reads nothing."""
        self.pipe = MessagePipe(
            self.feed, offer, mode, patience=PATIENCE, most=most, window=window,
            report=self.feed.reports.append, loop=self.loop,
        )  # fmt: skip
        self.pipe.connection_made(self)
        self.pipe.kick()

    # the transport

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.writes.append(data)
        self.to_server += data

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return len(self.to_server) if self.stuck else 0

    def get_extra_info(self, name: str) -> None:
        assert name == "socket"

    # the wire

    def run(self) -> World:
        """Until nothing moves any more."""
        while self.step():
            pass
        return self

    def step(self) -> bool:
        """One move of the server or of the wire. What the client wrote before it aborted may still be read."""
        if self.to_server and not self.stuck and not self.server.closed and self.read < self.read_most:
            take = self.to_server[: self.read_most - self.read]
            self.to_server = self.to_server[len(take) :]
            self.read += len(take)
            self.to_client += self.server.feed(take)
            return True
        if self.to_client and self.replied < self.reply_most:
            part = self.to_client[: min(self.piece, self.reply_most - self.replied)]
            self.to_client = self.to_client[len(part) :]
            self.replied += len(part)
            if not self.closing:
                self.pipe.data_received(part)
            return True
        over = self.server.closed or self.read >= self.read_most or self.replied >= self.reply_most
        if over and not self.cut:
            self.cut = True
            if not self.closing:
                self.pipe.eof_received()
                self.pipe.connection_lost(None)
            return True
        return False

    def end(self) -> World:
        """Stops, and lets time pass until the pipe is gone."""
        self.run()
        self.pipe.stop()
        self.run()
        self.loop.advance(100)
        self.run()
        assert self.pipe.gone
        return self

    def check(self) -> None:
        """What must be true however a connection went."""
        feed = self.feed
        assert [id(message) for message in feed.taken] == sorted(
            (id(message) for message, _ in feed.ends), key=[id(message) for message in feed.taken].index
        ), "each message taken is ended exactly once"
        assert len(feed.endings) == len(feed.reports) == 1
        outcomes = {message.rcpt_to: (message, outcome) for message, outcome in feed.ends}
        begun = {message.rcpt_to for message in feed.begun}
        accepted = [got for got in self.server.got if got.code == 250]
        whole = {got.recipient for got in self.server.got}
        assert len({got.recipient for got in accepted}) == len(accepted), "nobody gets it twice"
        for got in accepted:
            message, outcome = outcomes[got.recipient]
            assert (got.sender, got.content) == (message.mail_from, message.content)
            assert outcome.kind in ("accepted", "lost_after")
        for recipient, (_, outcome) in outcomes.items():
            if outcome.kind == "accepted":
                assert recipient in {got.recipient for got in accepted}
            if outcome.kind == "lost_before":
                assert recipient not in whole or outcome.code in (500, 502, 503)
            if outcome.kind == "lost_after":
                assert recipient in begun
        assert self.server.begun <= begun, "no body without a record that it began"
