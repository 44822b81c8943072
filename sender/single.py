"""A run over connections that take one message at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic

from sender.journal.spool import SpoolLost
from sender.journal.values import Ended
from sender.recipients import RecipientsError, RecipientsLate
from sender.relays import Connection, RelayDown
from sender.run import STALE, Run
from sender.smtp.errors import RelayRefuses
from sender.worker import Compiled, Worker

log = logging.getLogger(__name__)


@dataclass(eq=False)
class SingleRun(Run[Connection]):
    """One task a connection."""

    async def _work(self, compiled: Compiled) -> None:
        worker = Worker(self, compiled)
        try:
            while (index := await self._next()) is not None:
                self._busy += 1
                try:
                    await self._send(worker, index)
                finally:
                    self._busy -= 1
                    self._notify()
        finally:
            await worker.leave()

    async def _next(self) -> int | None:
        """The next index to send; None when the run is over."""
        while not (self.halted or self.stopping):
            now = monotonic()
            if (again := self._tries.due(now)) is not None:
                return again
            if self._queue:
                index = self._queue.popleft()
                self._ask()
                return index
            self._ask()
            if self._exhausted and not self._tries and not self._busy:
                return None
            self._starved = self._starved or self._asked
            await self._changed(5.0 if self._tries.next_at is None else self._tries.next_at - now)
        return None

    async def paced(self) -> bool:
        """Wait for a message's turn. False when the run is over meanwhile."""
        self._pace, wait = self._pace.take(monotonic())
        due = monotonic() + wait
        while not (self.halted or self.stopping) and (left := max(due, self._tries.slow_until) - monotonic()) > 0:
            await self._changed(left)
        return not (self.halted or self.stopping)

    async def may_write(self) -> bool:
        """Whether a message may go on a wire now. Waits while it is not sure that this process is the owner."""
        while not (self.halted or self.stopping):
            if self._ours():
                return not self.halted
            if not self.stopping:
                await self._changed(STALE)
        return False

    async def _send(self, worker: Worker, index: int) -> None:
        try:
            await worker.send(index)
        except RelayDown as down:
            if not isinstance(down, RelayRefuses):
                self._queue.appendleft(index)
            await worker.leave()
            self._busy -= 1
            self._notify()
            await self._retire(down)
            self._busy += 1
        except SpoolLost as e:
            self._queue.appendleft(index)
            self.stop("unready", str(e.strerror or e))
        except RecipientsError as e:
            self._queue.appendleft(index)
            self.stop("unready" if isinstance(e, RecipientsLate) else "error", str(e))
        except Exception as e:
            log.exception("permit %s, index %d", self.chunk.permit_id, index)
            if worker.wrote:
                self.end(Ended(index, "in_doubt", self.around.clock.now(), text=repr(e), reason="unknown"))
            else:
                self._queue.appendleft(index)
            self.stop("error", f"{type(e).__name__}: {e}")
