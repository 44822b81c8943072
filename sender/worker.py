"""One connection's worth of a run: from an index to a message on the wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from schemas.message_name import MessageName
from schemas.template.errors import RowError
from sender.journal.values import Ended
from sender.message.envelope import Envelope
from sender.relays import Connection, Outcome
from sender.smtp.errors import RelayRefuses
from sender.verdicts import heard, reread

if TYPE_CHECKING:
    from sender.single import SingleRun

log = logging.getLogger(__name__)


Filling = Callable[[Sequence[object], int, datetime], Envelope]
"""(row, index in the batch, date) to the message. Raises one of `BAD_ROW`."""
BAD_ROW = (RowError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError)


class Compiled(Protocol):
    """A template that is ready to be filled."""

    def fill(self, recipient: Mapping[str, Any], name: MessageName, day: date, date: datetime) -> Envelope:
        """The message to one recipient, named for the permit's day, dated in real time. Raises RowError."""

    def bind(self, columns: Sequence[str], campaign_id: str, batch_number: int, round_: int, day: date) -> Filling:
        """The same for many rows with these columns."""


class Worker:
    """Sends one message after the other over a connection that it holds."""

    def __init__(self, run: SingleRun, compiled: Compiled) -> None:
        self._run = run
        self._compiled = compiled
        self._day = run.chunk.day()
        self._connection: Connection | None = None
        self.wrote = False
        """Whether a message is on the wire whose outcome is not known."""

    async def send(self, index: int) -> None:
        """Raises RelayDown, RecipientsError and SpoolLost; then nothing became of the index, unless `RelayRefuses`."""
        run, self.wrote = self._run, False
        envelope = await self._envelope(index)
        if envelope is None:
            return
        if not await run.paced():
            run.give_back(index)
            return
        connection = await self._connected()
        if not await run.may_write():
            run.give_back(index)
            return
        self._record_begin(index)
        self.wrote = True
        outcome = await connection.send(envelope)
        self._record_end(index, outcome)
        heard(run.refusals, outcome)
        outcome = reread(run.refusals, outcome, envelope.rcpt_to, run.chunk)
        down = run.settle(index, envelope, outcome)
        self.wrote = False  # only now: what fails before must not open it again
        if outcome.kind == "lost_after":
            run.unanswered("lost", outcome.text)
        if down is not None:
            raise RelayRefuses(down.reason, down.code, down.text)
        if not connection.usable:
            await self.leave()

    async def _envelope(self, index: int) -> Envelope | None:
        """None: it has its outcome already."""
        run, chunk = self._run, self._run.chunk
        row = await run.around.row(chunk, index)
        email, now = str(row.get("email") or ""), run.around.clock.now()
        if run.around.suppressed(email.lower()):
            run.end(Ended(index, "suppressed", now, 0, email, reason="suppressed"))
            return None
        if run.stopping is not None:  # filling may be slow
            run.give_back(index)
            return None
        name = MessageName(chunk.campaign_id, chunk.batch_number, index, chunk.round)
        try:
            envelope = self._compiled.fill(row, name, self._day, datetime.now(UTC))  # the Date header tells real time
        except BAD_ROW as e:
            if not isinstance(e, RowError):
                log.exception("permit %s, index %d: its message cannot be made", chunk.permit_id, index)
            run.end(Ended(index, "failed", now, 0, email, text=str(e), reason="bad_row"))
            run.filled(e)
            await asyncio.sleep(0)  # others have waited
            return None
        run.filled(None)
        return envelope

    def _record_begin(self, index: int) -> None:
        """Raises SpoolLost: then it must not be sent."""
        spool, slip = self._run.around.spool, self._run.slip
        if spool is not None and slip is not None:
            spool.begin(slip, index, self._run.tries(index) + 1)

    def _record_end(self, index: int, outcome: Outcome) -> None:
        spool, slip = self._run.around.spool, self._run.slip
        if spool is not None and slip is not None:
            spool.end(slip, index, self._run.tries(index) + 1, outcome, self._run.around.clock.now())

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.usable:
            await self.leave()
        if self._connection is None:
            self._connection = await self._run.connect()
        return self._connection

    async def leave(self) -> None:
        """Gives its connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._run.disconnect(connection)
