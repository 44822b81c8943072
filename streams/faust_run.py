"""Running a Faust app inside a worker process: without its command line, for as long as the process is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaException

from schemas.topics import Topic
from streams.clients import wait_for_broker
from streams.context import Context
from streams.errors import StreamsError
from streams.faust_app import Life, faust_app
from streams.faust_group import prepare_group
from streams.faust_guard import GuardedApp
from streams.outbox import Outbox

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
RECOVERY_STANDS_STILL = 20.0
"""Real seconds."""


def prepare(ctx: Context, name: str, sources: Sequence[Topic], stop: threading.Event) -> bool:
    """Wait for a broker and give the group of role `name` its beginning; False when `stop` came first.

    Raises TopicsWrong when a topic is missing.
    """
    while not stop.is_set():
        _wait_for_broker(ctx, stop)
        try:
            if not stop.is_set():
                prepare_group(ctx.kafka, ctx.group(name), [ctx.topic(topic) for topic in sources])
                return True
        except KafkaException as e:
            log.warning("the group of the %s cannot begin yet: %s", name, e.args[0].str())
    return False


def run_app(ctx: Context, build: Callable[[GuardedApp, Outbox], Life], name: str, stop: threading.Event) -> None:
    """Run a Faust app until `stop` is set; when it breaks (a broker that went away), wait and start it anew.

    `build` adds tables and agents to a fresh app; its own errors are raised. Blocks. Needs no command line.
    """
    pause = 0.5
    while not stop.is_set():
        started = time.monotonic()
        try:
            asyncio.run(_live(ctx, build, name, stop))
        except _Broke as e:
            log.error("the %s stopped and starts anew: %s", name, e, exc_info=e.__cause__)
        if stop.is_set():
            return
        pause = 0.5 if time.monotonic() - started > 60 else min(10.0, pause * 2)
        stop.wait(pause)
        _wait_for_broker(ctx, stop)


def _wait_for_broker(ctx: Context, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            wait_for_broker(ctx.kafka, timeout=2.0, say=log.info)
        except StreamsError as e:
            log.warning("%s Waiting.", e)
        else:
            return


class _Broke(StreamsError):
    """Faust ended by itself."""


async def _live(ctx: Context, build: Callable[[GuardedApp, Outbox], Life], name: str, stop: threading.Event) -> None:
    outbox = Outbox(ctx.kafka)
    app = faust_app(ctx, name, loop=asyncio.get_running_loop())
    life = build(app, outbox)
    watch = _Watch(life)
    starting = asyncio.ensure_future(app.start())
    try:
        while not stop.is_set():
            await asyncio.sleep(0.05)
            await watch.look(time.monotonic())
            if app.crashed or app.should_stop:
                raise _Broke(f"Faust ended: {app.crash_reason!r}") from app.crash_reason
            if starting.done() and starting.exception() is not None:
                raise _Broke(f"Faust did not start: {starting.exception()!r}") from starting.exception()
    finally:
        for close in life.closers:
            close()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(app.stop(), 2.0)
        starting.cancel()
        outbox.close(0.5)


class _Watch:
    """Notices that nothing moves any more: records that were dropped on the way, a table that is not recovered."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._looked_at = time.monotonic()
        self._moved_at = self._looked_at
        self._remaining = -1

    async def look(self, now: float) -> None:
        """Called often. Raises `_Broke` when recovery has stood still for long."""
        if now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        if self._life.settled:
            self._moved_at = now
            await self._life.app.guarded_consumer.read_dropped_again()
            return
        tables: Any = self._life.app.tables
        remaining = tables.recovery.active_remaining_total() if self._life.app.in_recovery else -1
        if remaining <= 0 or remaining != self._remaining:
            self._moved_at = now
        self._remaining = remaining
        if now - self._moved_at > RECOVERY_STANDS_STILL:
            raise _Broke(f"the recovery of its table stands still, {remaining} rows before its end")
