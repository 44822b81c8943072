"""The simulator on a socket: an asyncio protocol round the dialogue, and the server that owns it.

async with MailboxSimulator([Drop(at="data", every_connection=30)]) as simulator:
    ...  # mail to simulator.host, simulator.port
    assert len(simulator.messages) == 181
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Final, Self

from simulator import replies
from simulator.answers import Taken, Then
from simulator.dialogue import Dialogue, Step
from simulator.engine import Engine
from simulator.errors import StartError
from simulator.moments import Facts
from simulator.rules import Rule
from simulator.settings import DEFAULTS, Settings
from simulator.stats import Stats
from simulator.stores import MemoryStore, Store

_LOG: Final = logging.getLogger(__name__)
_GOODBYE: Final = 1.0  # seconds for clients to take their last words at the end
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # close() then sends RST


class MailboxSimulator:
    """A server within this process and its running event loop; `stores` None keeps messages in memory.

    Entering the context binds the socket (port 0: a free one); leaving it says 421 to idle clients
    and closes everything.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        settings: Settings = DEFAULTS,
        stores: Sequence[Store] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.settings = settings
        self.host = host
        self.port = port
        self.stats = Stats()
        self.engine = Engine(rules, conventions=settings.conventions)
        self.stats.rules = self.engine.applied
        self.tls: ssl.SSLContext | None = None
        self._memory = MemoryStore()
        self._stores: list[Store] = [self._memory] if stores is None else list(stores)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._all_gone: asyncio.Event | None = None

    @property
    def messages(self) -> list[Taken]:
        """The messages in memory, when no other stores were given."""
        return self._memory.messages

    async def __aenter__(self) -> Self:
        self.tls = _tls(self.settings)
        loop = asyncio.get_running_loop()
        implicit = self.tls if self.settings.implicit_tls else None
        try:
            self._server = await loop.create_server(
                lambda: Connection(self, loop), self.host, self.port, ssl=implicit, backlog=1024
            )
        except OSError as error:
            raise StartError(f"Cannot listen on {self.host}:{self.port}: {error}. Is the port free?") from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweeper = loop.create_task(self._close_idle())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None  # noqa: S101  (set on entry)
        assert self._sweeper is not None  # noqa: S101
        self._sweeper.cancel()
        self._server.close()
        for connection in list(self._connections):
            connection.leave(replies.STOPPING)
        if self._connections:
            self._all_gone = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), _GOODBYE)
        for connection in list(self._connections):
            connection.cut()
        await self._server.wait_closed()
        for store in self._stores:
            store.close()

    @property
    def held_up(self) -> int:
        """Connections whose client does not read its replies."""
        return sum(connection.full for connection in self._connections)

    def came(self, connection: Connection) -> Facts:
        """A client is here."""
        self.stats.connected()
        served = sum(other.served for other in self._connections)  # without those that are being closed
        self._connections.add(connection)
        return Facts(self.stats.connections, open_connections=served + 1)

    def went(self, connection: Connection) -> None:
        """Its connection is gone."""
        if connection in self._connections:
            self._connections.discard(connection)
            self.stats.open_connections -= 1
            if self._all_gone is not None and not self._connections:
                self._all_gone.set()

    def store(self, message: Taken) -> None:
        """Keeps a message; raises OSError when a store cannot."""
        for store in self._stores:
            store.take(message, self.stats.messages + 1)
        self.stats.took(message)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(min(5.0, self.settings.idle_seconds / 4))
            before = time.time() - self.settings.idle_seconds
            for connection in [one for one in self._connections if one.last < before]:
                connection.leave(replies.IDLE)


class Connection(asyncio.Protocol):
    """The thin shell: carries the dialogue's steps out, in order, and nothing else."""

    def __init__(self, server: MailboxSimulator, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._dialogue: Dialogue | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._upgrade: asyncio.Task[None] | None = None
        self._early: list[bytes] = []  # TLS data that arrives before the upgrade has returned
        self.full = False  # the client does not read its replies
        self.last = time.time()

    @property
    def served(self) -> bool:
        """Its conversation goes on."""
        return self._dialogue is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")  # noqa: S101
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports have no common base
        facts = self._server.came(self)
        facts.tls = self._server.settings.implicit_tls
        self._dialogue = Dialogue(self._server.settings, self._server.engine, facts)
        self._carry_out(self._dialogue.open(time.time()))

    def data_received(self, data: bytes) -> None:
        if self._upgrade is not None:
            self._early.append(data)
        elif self._dialogue is not None:
            self.last = now = time.time()
            self._carry_out(self._dialogue.feed(data, now))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        if self._timer is not None:
            self._timer.cancel()
        self._dialogue = None
        self._server.went(self)

    def pause_writing(self) -> None:
        self.full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        if self._transport is not None and self._timer is None:
            self._transport.resume_reading()

    def leave(self, last_words: bytes) -> None:
        """Closes; a client between commands is told why."""
        if self._transport is not None:
            if self._dialogue is not None and self._dialogue.idle and self._upgrade is None:
                self._transport.write(last_words)
            self._end()
            self._transport.close()

    def cut(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        self._dialogue = None
        if self._timer is not None:
            self._timer.cancel()

    def _carry_out(self, step: Step) -> None:
        transport = self._transport
        assert transport is not None  # noqa: S101  (a step comes from a connection)
        for message in step.taken:
            try:
                self._server.store(message)
            except OSError:
                _LOG.exception("Message to %s not stored; cutting the connection", message.recipients)
                self._server.stats.store_errors += 1
                self._end()
                transport.abort()
                return
        if step.send:
            transport.write(step.send)
        if step.then is not Then.READ:
            self._go_on(transport, step)

    def _go_on(self, transport: asyncio.Transport, step: Step) -> None:
        if step.then is Then.WAIT:
            transport.pause_reading()
            self._timer = self._loop.call_later(step.delay, self._resume)
        elif step.then is Then.CLOSE:
            self._end()
            transport.close()
        elif step.then is Then.RESET:
            self._end()
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            transport.abort()
        else:
            transport.pause_reading()
            self._upgrade = self._loop.create_task(self._start_tls(transport))

    def _resume(self) -> None:
        self._timer = None
        if self._dialogue is None or self._transport is None:
            return
        if not self.full:
            self._transport.resume_reading()
        self._carry_out(self._dialogue.resume(time.time()))

    async def _start_tls(self, transport: asyncio.Transport) -> None:
        context = self._server.tls
        assert context is not None  # noqa: S101  (STARTTLS is offered only with a certificate)
        try:
            upgraded = await self._loop.start_tls(transport, self, context, server_side=True)
        except (OSError, ssl.SSLError) as error:
            _LOG.info("TLS with client failed: %s", error)
            transport.abort()
            self._server.went(self)
            return
        self._upgrade = None
        if upgraded is None or self._dialogue is None:
            return
        self._transport = upgraded
        self._dialogue.tls_started()
        early, self._early = self._early, []
        if early:
            self.data_received(b"".join(early))


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """The server's context; raises StartError when the files do not make one."""
    if settings.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        files = f"{settings.tls_certificate} and {settings.tls_key}"
        raise StartError(f"Cannot use the TLS files {files}: {error}. Both must be PEM and fit together.") from error
    return context
