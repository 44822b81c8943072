"""What the lines of one event loop put on record and on their wires, in one piece a turn of the loop.

Begins and ends of all connections that have something go into the spool by one `write()`, and the question
whether a server has hung up is one system call, however many connections there are. Each such call gives
Python's lock away, for which the thread that commits waits.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from sender.journal.spool import Slip, Spool, SpoolLost
from sender.smtp.carrier import hung_up
from sender.smtp.outcomes import Outcome
from streams.clock import Clock

if TYPE_CHECKING:
    from sender.line import Line, Source

log = logging.getLogger(__name__)


class Sent:
    """What a message on a pipe belongs to."""

    __slots__ = ("begun", "index", "message_id", "rcpt_to", "refused", "slip", "source", "tries")

    def __init__(
        self, source: Source, slip: Slip | None, index: int, tries: int, rcpt_to: str, message_id: str
    ) -> None:
        self.source = source
        self.slip = slip
        """Where it is put on record."""
        self.index = index
        self.tries = tries
        """Which try of it this is."""
        self.rcpt_to = rcpt_to
        self.message_id = message_id
        self.begun = False
        """The spool says that it goes on a wire."""
        self.refused = False
        """`may_begin` said no."""


class Gathering:
    """For one event loop. At the end of a turn in which a line asked for it:

    1. whose permit has run out, or whose process may not be the owner any more, writes nothing;
    2. what begins is in the spool; when it cannot be, it does not begin;
    3. whose permit has run out meanwhile writes nothing (a disk may take its time, and a process be suspended);
    4. the lines write.
    """

    def __init__(self, spool: Spool | None, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._lines: dict[Line, None] = {}
        self._begins: list[tuple[Line, Sent]] = []
        self._ends: list[tuple[Slip, int, int, Outcome]] = []
        self._now: datetime | None = None

    def now(self) -> datetime:
        """The installation's time, looked up once a turn."""
        if self._now is None:
            self._now = self._clock.now()
        return self._now

    def began(self, line: Line, sent: Sent) -> None:
        """It goes on the line's wire at the end of this turn."""
        self._begins.append((line, sent))

    def ended(self, sent: Sent, outcome: Outcome) -> None:
        """What became of it. One whose begin is not in the spool yet leaves nothing there."""
        if not sent.begun:
            self._begins = [one for one in self._begins if one[1] is not sent]
        elif self._spool is not None and sent.slip is not None:
            self._ends.append((sent.slip, sent.index, sent.tries, outcome))

    def put_off(self, line: Line) -> None:
        """The line has something to write, or to put on record, at the end of this turn."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.over)
        self._lines[line] = None

    def over(self) -> None:
        """The end of the turn. Whatever fails in it ends the lines that it is about; all others go on."""
        begins, (failed, failure) = self._begins, self._put_on_record()
        lines, self._lines, self._now = self._lines, {}, None
        try:
            self._abandon(begins)  # their ends go on record in the next turn
        except Exception as e:
            log.exception("nothing that was to begin at the end of this turn begins")
            failed, failure = {line for line, _ in begins}, e
        for line in lines:
            _release(line, failure if line in failed else None)
        for source in {line.source: None for line in lines}:
            if source is not None:
                try:
                    source.told()
                except Exception:
                    log.exception("a run failed when it was told what has come")

    def _put_on_record(self) -> tuple[set[Line], Exception | None]:
        """Those of this turn's lines that may not write, and why not."""
        begins = self._begins
        try:
            self._check()
            return self._record()
        except Exception as e:
            log.exception("nothing that was to begin at the end of this turn begins")
            self._begins = []
            return {line for line, _ in begins}, e

    def _check(self) -> None:
        """Right before the writes: who may not write any more ends, and nothing of it was begun."""
        begins = self._begins
        if not begins:
            return
        closed = hung_up([line.pipe.fileno for line, _ in begins if line.pipe is not None and line.pipe.fileno >= 0])
        for line, _ in begins:
            if line.pipe is not None and line.pipe.fileno in closed:
                line.pipe.hang_up()
        self._abandon(begins)

    def _abandon(self, begins: list[tuple[Line, Sent]]) -> None:
        """Ends the lines whose messages may not begin now; each source is asked once."""
        ours: dict[Source, bool] = {}
        for line, sent in begins:
            pipe, source = line.pipe, sent.source
            if pipe is None or pipe.gone:
                continue
            if source not in ours:
                ours[source] = source.may_begin()
            if not ours[source]:
                sent.refused = True
                pipe.abandon()

    def _record(self) -> tuple[set[Line], SpoolLost | None]:
        """The lines whose messages may not begin because they cannot be put on record, and why not."""
        begins, self._begins = self._begins, []
        ends, self._ends = self._ends, []
        if self._spool is not None and (begins or ends):
            begun = [(s.slip, s.index, s.tries) for _, s in begins if s.slip is not None]
            try:
                self._spool.write(ends, begun, self.now())
            except SpoolLost as e:
                return {line for line, _ in begins}, e
        for _, sent in begins:
            sent.begun = True
        return set(), None


def _release(line: Line, failure: Exception | None) -> None:
    """Let the line write; one with a failure ends."""
    if line.pipe is None:
        return
    try:
        if failure is None:
            line.pipe.release()
            return
    except Exception as e:
        log.exception("a connection failed when it was to write")
        failure = e
    try:
        line.pipe.fail(failure)
    except Exception:
        log.exception("a connection failed when it was to end")
