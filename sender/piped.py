"""A run over pipes: messages are pulled by connections that want them; no task and no future a message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from schemas.template.errors import RowError
from sender.gathering import Sent
from sender.journal.spool import SpoolLost
from sender.journal.values import Ended
from sender.line import Line
from sender.recipients import Part
from sender.run import STALE, Run
from sender.smtp.errors import RelayDown
from sender.smtp.feed import Outcome, Outgoing
from sender.smtp.outcomes import relay_down
from sender.verdicts import heard, met_again, reread
from sender.worker import BAD_ROW, Compiled, Filling

log = logging.getLogger(__name__)

LOOK = 0.005
"""Seconds for which messages are filled without a look whether they may be sent; `may_begin` looks at each turn."""

EMPTY = 1.0
"""Seconds between two connections of which the first carried nothing."""

THEIRS = frozenset({"closed", "timeout", "out_of_step"})
"""How a connection ends by what the server does, or fails to do (`Ending`)."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A part of the recipients with what makes messages of its rows."""

    start: int
    end: int
    rows: Sequence[Sequence[Any]]
    email: int | None
    filling: Filling


@dataclass(eq=False)
class PipedRun(Run[Line]):
    """Implements `sender.line.Source`."""

    _lines: list[Line] = field(default_factory=list)
    _tables: list[_Table] = field(default_factory=list)
    _table: _Table | None = None
    _date: datetime = field(default_factory=lambda: datetime.now(UTC))
    _date_until: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _timer_at: float = 0.0
    _dry: bool = False
    _look_at: float = 0.0

    # --- its lines

    async def _prepare(self, compiled: Compiled) -> None:
        chunk, day = self.chunk, self.chunk.day()
        for part in await self.around.parts(chunk):
            filling = compiled.bind(part.columns, chunk.campaign_id, chunk.batch_number, chunk.round, day)
            self._tables.append(_table(part, filling))

    async def _work(self, compiled: Compiled) -> None:  # noqa: ARG002 - bound to the tables already
        while await self._wanted():
            try:
                line = await self.connect()
            except RelayDown as down:
                await self._retire(down)
                continue
            self._lines.append(line)
            try:
                await line.serve(self)
            finally:
                self._lines.remove(line)
                await self.disconnect(line)
            await self._after(line)

    async def _wanted(self) -> bool:
        """Waits until there is something to send; False when the run is over."""
        while not (self.halted or self.stopping):
            now, again = monotonic(), self._tries.next_at
            if self._queue or (again is not None and again <= now):
                return True
            if self._over():
                break
            self._ask()
            await self._changed(5.0 if again is None else again - now)
        return False

    async def _after(self, line: Line) -> None:
        """What a line that is gone means for the run."""
        error = line.ending.error if line.ending is not None else None
        if line.ending is not None and line.ending.kind in THEIRS and line.pipe is not None and line.pipe.doubtful:
            self.unanswered(line.ending.kind, line.ending.text)
        if line.refusal is not None:
            await self._retire(line.refusal)
        elif isinstance(error, SpoolLost):
            self.stop("unready", str(error.strerror or error))
        elif error is not None:
            log.error("permit %s: a connection failed", self.chunk.permit_id, exc_info=error)
            self.stop("error", f"{type(error).__name__}: {error}")
        elif line.ending is not None and line.pipe is not None and not line.pipe.taken:
            await self._rest(throttled=line.ending.kind == "busy")

    async def _rest(self, *, throttled: bool) -> None:
        """The server ended a connection before it had carried anything: no other takes its place at once. While a
        message waits for its turn nothing else holds that back."""
        if throttled:
            self._tell(1)
        again = monotonic() + EMPTY
        while not self._over() and (left := again - monotonic()) > 0:
            await self._changed(left)

    def _over(self) -> bool:
        return self.halted or self.stopping is not None or not (
            self._queue or self._tries or self._busy or not self._exhausted
        )  # fmt: skip

    def _notify(self) -> None:
        """Whoever waits looks again, lines as well."""
        super()._notify()
        self._kick()

    def _kick(self) -> None:
        if self._over():
            for line in list(self._lines):
                line.leave()
            return
        self._dry = False
        for line in list(self._lines):
            line.kick()
            if self._dry:
                break
        self._lines.append(self._lines.pop(0)) if len(self._lines) > 1 else None

    def _kick_at(self, when: float) -> None:
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_later(max(0.0, when - monotonic()), self._due)

    def _due(self) -> None:
        self._timer = None
        self._kick()

    # --- for its lines

    def take(self) -> Outgoing | None:
        message = self._take()
        self._dry = message is None
        if message is None and self._over():  # those that were left needed no wire
            asyncio.get_running_loop().call_soon(self._notify)
        return message

    def _take(self) -> Outgoing | None:
        if self.halted or self.stopping is not None:
            return None
        now = monotonic()
        due = max(self._tries.slow_until, now if self.chunk.rate is None else self._pace.due(now))
        if due > now:
            self._kick_at(due)
            return None
        if now >= self._look_at:
            if not self._ours():
                if self.stopping is None:
                    self._kick_at(now + STALE)
                return None
            self._look_at = now + LOOK
        message = self._next_message(now)
        if message is not None:
            self._busy += 1
            if self.chunk.rate is not None:
                self._pace, _ = self._pace.take(now)
        return message

    def may_begin(self) -> bool:
        return self._ours()

    def came(self, line: Line, sent: Sent, outcome: Outcome, at: datetime) -> None:
        self._busy -= 1
        heard(self.refusals, outcome)
        if outcome.kind == "relay_down":
            outcome = reread(self.refusals, outcome, sent.rcpt_to, self.chunk)
        if outcome.kind == "relay_down" and not met_again(outcome, self.chunk):
            line.refuse(relay_down(outcome))
            self._queue.appendleft(sent.index)
        elif sent.refused and outcome.kind == "lost_before":
            self._queue.appendleft(sent.index)
        elif (down := self.settle(sent.index, sent, outcome, at)) is not None:
            line.refuse(down)

    def told(self) -> None:
        if self._over():
            self._notify()
        elif self._tries.next_at is not None:
            self._kick_at(self._tries.next_at)

    # --- messages

    def _next_message(self, now: float) -> Outgoing | None:
        while self.stopping is None:
            index = self._tries.due(now) if self._tries else None
            if index is not None:
                pass
            elif self._queue:
                index = self._queue.popleft()
                if len(self._queue) < self._target:
                    self._ask()
            else:
                self._starved = self._starved or self._asked
                self._ask()
                if self._tries.next_at is not None:
                    self._kick_at(self._tries.next_at)
                return None
            message = self._message(index, now)
            if message is not None:
                return message
            if self._over_budget:  # others have waited
                asyncio.get_running_loop().call_soon(self._kick)
                return None
        return None

    def _message(self, index: int, now: float) -> Outgoing | None:
        """None: it has its outcome already, or the run has stopped."""
        table = self._table
        if table is None or not table.start <= index < table.end:
            table = self._table = next((t for t in self._tables if t.start <= index < t.end), None)
        if table is None:
            self._queue.appendleft(index)
            self.stop("error", f"no part of {self.chunk.permit_id} holds index {index}")
            return None
        row = table.rows[index - table.start]
        email = "" if table.email is None else str(row[table.email] or "") if table.email < len(row) else ""
        if self.around.suppressed(email.lower()):
            self.end(Ended(index, "suppressed", self.around.clock.now(), 0, email, reason="suppressed"))
            return None
        if now >= self._date_until:
            self._date, self._date_until = datetime.now(UTC), now + 0.5
        try:
            made = table.filling(row, index, self._date)
        except BAD_ROW as e:
            if not isinstance(e, RowError):
                log.exception("permit %s, index %d: its message cannot be made", self.chunk.permit_id, index)
            at = self.around.clock.now()
            self.end(Ended(index, "failed", at, 0, email, text=str(e), reason="bad_row"))
            self.filled(e)
            return None
        if self._over_budget:
            self.filled(None)
        sent = Sent(self, self.slip, index, self.tries(index) + 1, made.rcpt_to, made.message_id)
        return Outgoing(made.mail_from, made.rcpt_to, made.content, made.smtputf8, sent, made.dotless)


def _table(part: Part, filling: Filling) -> _Table:
    email = part.columns.index("email") if "email" in part.columns else None
    return _Table(part.start, part.start + len(part.rows), part.rows, email, filling)
