from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from smtp_wire import envelope, relay

from sender.smtp.dialogue import SmtpConnection
from sender.smtp.errors import RelayDown
from sender.smtp.pool import ConnectionPool
from simulator.rules import Reject
from simulator.server import MailboxSimulator


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def pooled(
    size: int, *, messages_per_connection: int = 100, clock: Clock | None = None
) -> AsyncIterator[tuple[MailboxSimulator, ConnectionPool[SmtpConnection]]]:
    async with MailboxSimulator() as simulator:
        made = relay(simulator.port, messages_per_connection=messages_per_connection)
        pool = ConnectionPool(made, size, idle_seconds=10, clock=clock or Clock())
        yield simulator, pool
        await pool.close()
        assert pool.open_connections == 0


async def _send(pool: ConnectionPool[SmtpConnection], n: int) -> str:
    async with pool.connection() as connection:
        return (await connection.send(envelope(f"a{n}@example.com", n))).kind


def test_no_more_connections_than_permitted_carry_all_the_mail() -> None:
    async def run() -> None:
        async with pooled(3) as (simulator, pool):
            kinds = await asyncio.gather(*(_send(pool, n) for n in range(60)))
            assert set(kinds) == {"accepted"}
            assert len(simulator.messages) == 60
            assert simulator.stats.peak_connections <= 3
            assert simulator.stats.connections <= 3

    asyncio.run(run())


def test_a_connection_that_has_carried_its_messages_is_replaced() -> None:
    async def run() -> None:
        async with pooled(2, messages_per_connection=5) as (simulator, pool):
            await asyncio.gather(*(_send(pool, n) for n in range(40)))
            assert len(simulator.messages) == 40
            assert simulator.stats.peak_connections <= 2
            assert max(message.connection for message in simulator.messages) >= 8

    asyncio.run(run())


def test_idle_connections_are_closed_when_their_time_is_up() -> None:
    async def run() -> None:
        clock = Clock()
        async with pooled(2, clock=clock) as (_, pool):
            await asyncio.gather(_send(pool, 1), _send(pool, 2))
            clock.now = 9.0
            await _send(pool, 3)
            clock.now = 11.0
            await pool.sweep()
            assert pool.open_connections == 1  # the one used at 9 s
            clock.now = 19.0
            await pool.sweep()
            assert pool.open_connections == 0

    asyncio.run(run())


def test_a_smaller_size_closes_what_is_surplus() -> None:
    async def run() -> None:
        async with pooled(3) as (_, pool):
            first, second = await pool.acquire(), await pool.acquire()
            await pool.release(await pool.acquire())
            assert pool.open_connections == 3
            await pool.resize(1)
            assert pool.open_connections == 2
            await pool.release(first)
            assert pool.open_connections == 1
            await pool.release(second)
            assert pool.open_connections == 1
            assert await _send(pool, 1) == "accepted"

    asyncio.run(run())


def test_waiting_ends_when_there_may_be_more() -> None:
    async def run() -> None:
        async with pooled(0) as (_, pool):
            task = asyncio.create_task(_send(pool, 1))
            await asyncio.sleep(0)
            assert not task.done()
            await pool.resize(1)
            assert await task == "accepted"

    asyncio.run(run())


def test_a_cancelled_wait_and_a_refused_session_take_no_place() -> None:
    async def run() -> None:
        async with pooled(1) as (_, pool):
            held = await pool.acquire()
            waiting = asyncio.create_task(pool.acquire())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await pool.release(held)
            assert await _send(pool, 1) == "accepted"
        async with MailboxSimulator([Reject(at="connect", limit=1)]) as simulator:
            pool = ConnectionPool(relay(simulator.port), 1)
            with pytest.raises(RelayDown):
                await pool.acquire()
            assert await _send(pool, 1) == "accepted"
            await pool.close()

    asyncio.run(run())


def test_a_connection_that_was_lost_while_idle_is_not_given_out() -> None:
    async def run() -> None:
        async with pooled(1) as (simulator, pool):
            await _send(pool, 1)
            for one in list(simulator._connections):  # the server goes away from every client
                one.cut()
            async with asyncio.timeout(5):
                while pool._idle[0][0].usable:  # noqa: ASYNC110  (nothing else tells that the loss was seen)
                    await asyncio.sleep(0.001)
            assert await _send(pool, 2) == "accepted"
            assert simulator.stats.connections == 2

    asyncio.run(run())
