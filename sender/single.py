"""A run over connections that take one message at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sender.journal.spool import SpoolLost
from sender.journal.values import Ended
from sender.recipients import RecipientsError, RecipientsLate
from sender.relays import Connection, RelayDown
from sender.run import Run
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

    async def _send(self, worker: Worker, index: int) -> None:
        try:
            await worker.send(index)
        except RelayDown as down:
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
