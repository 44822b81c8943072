"""Sessions with one relay: at most so many at once, used again while they are good.

Idle sessions count as open, because a provider counts them. The owner sets the size to the sum of the
connections of the permits that it holds, and to 0 when it holds none: then nothing stays open that
another process has been permitted by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Generic, Protocol, TypeVar


class Session(Protocol):
    """What a pool keeps."""

    @property
    def usable(self) -> bool:
        """Whether it may be used again."""

    async def close(self) -> None:
        """Never raises; may be called again."""


S = TypeVar("S", bound=Session)
S_co = TypeVar("S_co", bound=Session, covariant=True)


class Opener(Protocol[S_co]):
    """What opens sessions."""

    async def open(self) -> S_co:
        """A new session. Raises `RelayDown`."""


class ConnectionPool(Generic[S]):
    """At most `size` sessions. For one event loop."""

    def __init__(
        self, relay: Opener[S], size: int, *, idle_seconds: float = 30.0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._relay = relay
        self._size = size
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._idle: list[tuple[S, float]] = []
        """With the time of its last use, the newest last."""
        self._busy = 0
        self._closing = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def open_connections(self) -> int:
        """Sessions that are in use, idle, being opened or being closed."""
        return self._busy + len(self._idle) + self._closing

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[S]:
        """A session for one or more messages; waits until one may be had. Raises `RelayDown`."""
        connection = await self.acquire()
        try:
            yield connection
        finally:
            await self.release(connection)

    async def acquire(self) -> S:
        """A good session, used before or new. The caller gives it back by `release`. Raises `RelayDown`."""
        while not self._may_take():
            changed = asyncio.get_running_loop().create_future()
            self._waiting.append(changed)
            await changed
        self._busy += 1
        kept = self._idle.pop()[0] if self._idle else None
        try:
            if kept is not None and kept.usable:
                return kept
            if kept is not None:
                await kept.close()
            return await self._relay.open()
        except BaseException:
            self._free()
            raise

    def _may_take(self) -> bool:
        return self._busy < self._size and (bool(self._idle) or self.open_connections < self._size)

    async def release(self, connection: S) -> None:
        """Gives a session back; one that is used up, or surplus, is closed before its place is free."""
        if connection.usable and self.open_connections <= self._size:
            self._idle.append((connection, self._clock()))
            self._free()
            return
        try:
            await connection.close()
        finally:
            self._free()

    async def resize(self, size: int) -> None:
        """Changes how many there may be; surplus idle ones are closed now, busy ones when they come back."""
        self._size = size
        self._wake()
        await self._close_idle(lambda _: self.open_connections - self._closing > size)

    async def sweep(self) -> None:
        """Closes what has been idle for `idle_seconds`, or was lost meanwhile. Call it now and then."""
        oldest = self._clock() - self._idle_seconds
        await self._close_idle(lambda since: since <= oldest)

    async def close(self) -> None:
        """Closes all idle sessions and lets no new one begin; busy ones close when they come back."""
        await self.resize(0)

    async def _close_idle(self, surplus: Callable[[float], bool]) -> None:
        while self._idle and (surplus(self._idle[0][1]) or not self._idle[0][0].usable):
            connection, _ = self._idle.pop(0)
            self._closing += 1
            try:
                await connection.close()
            finally:
                self._closing -= 1
                self._wake()

    def _free(self) -> None:
        self._busy -= 1
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
