"""One run: the sending of what one permit allows, over its connections and at its rate.

A run asks its owner for indices before it needs them, so that a commit's latency costs no throughput, and
keeps few of them: what is intended and unsent is in doubt when the process dies. It begins nothing after
`until`, after `stop`, or while it is not sure that this process is still the owner.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic, time
from typing import Generic

from schemas.chunk import Chunk
from schemas.template.errors import OverBudget
from sender.journal.report import Stopped
from sender.journal.spool import Slip
from sender.journal.values import Ended
from sender.recipients import RecipientsError, RecipientsLate
from sender.relays import RelayDown
from sender.smtp.outcomes import Outcome, relay_down
from sender.smtp.pace import Pace
from sender.smtp.pool import ConnectionPool, S
from sender.smtp.refusals import Refusals
from sender.surroundings import CannotSend, CannotYet, Surroundings
from sender.traffic import BatchKey, Came, Drained, Grant, Want, prefetch_limit
from sender.tries import Tries
from sender.verdicts import Addressed, ended, judged, met_again, unanswered
from sender.worker import Compiled

log = logging.getLogger(__name__)

RETIRED = 5.0
"""Seconds after which a connection that the relay refused is tried again while others work."""
OVER_BUDGET = 3
"""Recipients one after the other for whom the template takes too long: each keeps all others waiting."""
SAY = 0.02
"""Seconds for which outcomes are gathered before the owner is told."""
STALE = 0.1
"""Seconds between two looks whether this process is still the owner."""


@dataclass(eq=False)
class Run(ABC, Generic[S]):
    """`go` runs it to its end. The other methods may be called while it does, in the same event loop."""

    id: int
    chunk: Chunk
    pool: ConnectionPool[S]
    around: Surroundings
    first: Grant
    """What is intended from the start."""
    halted: bool = False
    stopping: Stopped | None = None
    detail: str | None = None
    _queue: deque[int] = field(default_factory=deque)
    _waiters: set[asyncio.Future[None]] = field(default_factory=set)
    _came: list[Ended] = field(default_factory=list)
    _throttles: int = 0
    _saying: asyncio.TimerHandle | None = None
    _busy: int = 0
    _connected: int = 0
    _connecting: int = 0
    _opening: set[asyncio.Task[S]] = field(default_factory=set)
    _asked: bool = False
    _exhausted: bool = False
    _starved: bool = False
    _hurried: bool = False
    _over_budget: int = 0

    def __post_init__(self) -> None:
        self.batch: BatchKey = (self.chunk.campaign_id, self.chunk.batch_number)
        self._queue.extend(self.first.indices)
        self._exhausted = self.first.last
        self._limit = prefetch_limit(self.chunk.connections, self.chunk.rate)
        ahead = self.around.tempo.get(self.chunk.relay, 1.0)
        self._target = max(1, min(math.ceil(self.chunk.connections * ahead), self._limit))
        self.refusals = self.around.refusals.setdefault(self.chunk.relay, Refusals())
        self._pace = Pace.begin(self.chunk.rate, monotonic())
        self._until = time() + self._seconds_left()
        self._tries = Tries(self.chunk.max_retries)
        self.slip: Slip | None = None
        if self.around.spool is not None:
            self.slip = self.around.spool.permit(*self.batch, self.chunk.round, self.chunk.permit_id)

    # --- what the owner says

    def grant(self, grant: Grant) -> None:
        """These are intended now."""
        self._asked = False
        if self._starved:
            self._hurried, self._starved = True, False
            self._look_ahead(2 * self._target)
        self._exhausted = grant.last
        self._queue.extend(grant.indices)
        if self.stopping is not None:
            self._give_back()
        self._notify()

    def stop(self, stopped: Stopped, detail: str | None = None) -> None:
        """Begin nothing more; give back what waits."""
        if self.stopping is None:
            self.stopping, self.detail = stopped, detail
        self._give_back()
        if stopped == "shutdown":
            for opening in self._opening:
                opening.cancel()
        self._notify()

    def halt(self) -> None:
        """The batch is another's by now: touch no wire, answer nothing. May be called from any thread."""
        self.halted = True

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._notify()

    # --- the run

    async def go(self) -> None:
        """Sends until there is nothing left or it is stopped; then says `Drained`."""
        expiry = asyncio.get_running_loop().call_later(self._seconds_left(), self.stop, "expired")
        try:
            await self._work_all(await self.around.compiled(self.chunk))
        except (CannotSend, RecipientsError) as e:
            self.stop("unready" if isinstance(e, (CannotYet, RecipientsLate)) else "error", str(e))
        except Exception as e:
            log.exception("permit %s", self.chunk.permit_id)
            self.stop("error", f"{type(e).__name__}: {e}")
        finally:
            expiry.cancel()
        while self._asked and not self.halted:
            await self._changed(1.0)
        self._give_back()
        self._say()
        if not self._hurried:
            self._look_ahead(self._target * 3 // 4)

    def _look_ahead(self, n: int) -> None:
        """Keep so many indices intended; the next run of the relay begins with as many a connection."""
        self._target = max(1, min(self._limit, n))
        self.around.tempo[self.chunk.relay] = self._target / self.chunk.connections

    def drained(self) -> Drained:
        """What ends it, to be posted when its connections are given up."""
        return Drained(self.batch, self.id, self.stopping or "done", self.detail)

    async def _work_all(self, compiled: Compiled) -> None:
        n = min(self.chunk.connections, self.chunk.permitted())
        await self._prepare(compiled)
        workers = [asyncio.create_task(self._work(compiled)) for _ in range(n)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _prepare(self, compiled: Compiled) -> None:
        """What is needed before the first message."""

    @abstractmethod
    async def _work(self, compiled: Compiled) -> None:
        """One connection's worth of work."""

    def _ask(self) -> None:
        if self._asked or self._exhausted or self.stopping or len(self._queue) >= self._target:
            return
        self._asked = True
        self.around.post(Want(self.batch, self.id, 2 * self._target - len(self._queue)))

    # --- connections

    async def connect(self) -> S:
        """A connection of those permitted. Raises RelayDown, also when this process is to end meanwhile."""
        self._connecting += 1
        opening = asyncio.ensure_future(self.pool.acquire())
        self._opening.add(opening)
        try:
            await asyncio.wait({opening})
        except asyncio.CancelledError:
            if not opening.cancel() and opening.exception() is None:
                await self.pool.release(opening.result())
            raise
        finally:
            self._opening.discard(opening)
            self._connecting -= 1
        if opening.cancelled():
            raise RelayDown("connection", text="this process ends")
        connection = opening.result()
        self._connected += 1
        return connection

    async def disconnect(self, connection: S) -> None:
        """Give a connection up."""
        self._connected -= 1
        self._notify()
        await self.pool.release(connection)

    async def _retire(self, down: RelayDown) -> None:
        """A connection was refused. While others work it waits; otherwise the relay is down, or does not
        take what is from this domain."""
        if down.throttled:
            self._tell(1)
        if not self._others:
            self.stop("domain_refused" if down.reason == "domain" else "relay_down", str(down))
            return
        again = monotonic() + RETIRED
        while self._others and not (self.halted or self.stopping) and (left := again - monotonic()) > 0:
            await self._changed(left)

    @property
    def on_wire(self) -> int:
        """Messages that were begun and have no outcome yet."""
        return self._busy

    @property
    def _others(self) -> int:
        """Connections that work, or may: they are just being opened."""
        return self._connected + self._connecting

    def unanswered(self, kind: str, text: str) -> None:
        """A connection was lost after a body and before its reply, not by us. When that is all that happens, the relay
        is down: what is on the wire is waited for, and nothing more begins on any connection. Not counted while this
        process is not sure to be the owner: it may have slept, and the server waited for it."""
        probe = self.chunk.probe and self.chunk.probes == "relay"
        if not self.halted and self.around.alive() and self.refusals.lost(probe=probe):
            self.stop("relay_down", str(unanswered(kind, text)))

    # --- one message

    def _ours(self) -> bool:
        """Whether this process may write under this permit, now. When it has run out, the run stops."""
        if self.halted or self.stopping == "expired":
            return False
        if time() >= self._until:
            self.stop("expired")
            return False
        return self.around.alive()

    def settle(self, index: int, envelope: Addressed, outcome: Outcome, at: datetime | None = None) -> RelayDown | None:
        """What a server's answer, which came `at` (default: now), means for the recipient: an end, or another try.

        And for the relay: it may refuse everything; then nothing more is sent on this connection. Raises `RelayDown`
        when that is all that it means: nothing became of the index.
        """
        down = None
        if met_again(outcome, self.chunk):
            tries = 1 + self._tries.forget(index)
        else:
            tries = self._tries.settle(index, outcome, monotonic())
        if tries:
            judgement = judged(self.refusals, outcome, envelope.rcpt_to, self.chunk)
            if judgement in {"down", "domain"}:
                down = relay_down(replace(outcome, reason="domain") if judgement == "domain" else outcome)
            at = at or self.around.clock.now()
            self._came.append(ended(index, envelope, outcome, tries, at, self.chunk, judgement))
        if tries or outcome.kind == "throttled":
            self._tell(int(outcome.kind == "throttled"))
        return down

    def tries(self, index: int) -> int:
        """How often it was put on a wire, those times not counted that were nobody's fault."""
        return self._tries.of(index)

    def give_back(self, index: int) -> None:
        """It was not begun, or no server took it: it is open again."""
        self.end(Ended(index, "not_begun", self.around.clock.now(), self._tries.forget(index)))

    def end(self, outcome: Ended) -> None:
        """Say what became of an index."""
        self._came.append(outcome)
        self._tell(0)

    def filled(self, failure: Exception | None) -> None:
        """The template was filled for one recipient, or why not. One that is always too slow ends the permit."""
        self._over_budget = self._over_budget + 1 if isinstance(failure, OverBudget) else 0
        if self._over_budget >= OVER_BUDGET:
            self.stop("error", f"the template cannot be filled within its budget, {OVER_BUDGET} in a row: {failure}")

    def _tell(self, throttles: int) -> None:
        """The owner hears of it soon; `throttles` replies asked for less speed."""
        self._throttles += throttles
        if self._saying is None:
            self._saying = asyncio.get_running_loop().call_later(SAY, self._say)

    def _say(self) -> None:
        """What has gathered, in one piece."""
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        came, self._came, throttles, self._throttles = self._came, [], self._throttles, 0
        if (came or throttles) and not self.halted:
            self.around.post(Came(self.batch, self.id, came, throttles))

    # --- details

    def _seconds_left(self) -> float:
        return max(0.0, self.around.clock.real_seconds(self.chunk.until - self.around.clock.now()))

    def _give_back(self) -> None:
        while self._queue:
            self.give_back(self._queue.popleft())
        for index in self._tries.waiting():
            self.give_back(index)

    async def _changed(self, seconds: float) -> None:
        """Until something has changed, at most so long."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.add(waiter)
        timer = loop.call_later(max(0.0, seconds), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    def _notify(self) -> None:
        for waiter in self._waiters:
            _wake(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
