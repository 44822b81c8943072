"""How one batch is led: from its permits and orders, over what its run says, to what it does next.

What lets a message out (`start`, `grant`) happens only after the turn's transaction. `stop` only ever holds
back, so it happens at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from schemas.chunk import BatchControl, Chunk
from sender.batches import Batches
from sender.held import Held, Sought, first_grant, left_behind
from sender.journal import core, late, orders, rows
from sender.journal.report import Stopped
from sender.journal.values import Clue, Ended, merged
from sender.traffic import Came, Drained, Grant, Known, Message, Runs, Want
from sender.turn import Turn

REPORT_SECONDS = 1.0
"""A running permit is reported on so often when there is news."""
HEARTBEAT_SECONDS = 2.0
"""... and so often when there is none; the commit shows the runs that this process is still the owner."""


class Conduct:
    """Leads the batches of `batches` by the journal's rules (`sender.journal.core`)."""

    def __init__(
        self, runs: Runs, batches: Batches, *, spool: str | None = None, real: Callable[[], float] = monotonic
    ) -> None:
        """`spool` is where runs record what they put on a wire; `real` a clock in seconds that only goes forward."""
        self._runs = runs
        self._batches = batches
        self._spool = spool
        self._real = real
        self.leaving: set[int] = set()
        """Partitions of which nothing more may be begun."""
        self._wanted: dict[str, int] = {}
        """By relay: what a run asked for last."""
        self._ids = itertools.count(1)

    # --- what the gate says

    def take_chunk(self, partition: int, chunk: Chunk, turn: Turn) -> None:
        """A permit, for the first time or again."""
        held = self._batches.get((chunk.campaign_id, chunk.batch_number), partition)
        journal, taken, result = core.take_permit(held.journal if held else None, chunk, turn.now)
        if held is None:
            held = self._batches.held[chunk.campaign_id, chunk.batch_number] = Held(partition, journal, None)
        held.journal = journal
        if taken == "waiting":
            held.waiting = chunk
        if result is not None:
            turn.answer(held, result)
        self._batches.touch(held, turn)

    def take_order(self, partition: int, command: BatchControl, turn: Turn) -> None:
        """An order; one to a batch of which nothing is recorded changes nothing."""
        held = self._batches.get((command.campaign_id, command.batch_number), partition)
        if held is None:
            return
        held.journal, news = orders.order(held.journal, command)
        if not news:
            return
        self._batches.touch(held, turn)
        if held.run is not None and held.journal.control.action is not None:
            self._runs.stop(held.run, core.stopped_by(held.journal.control))
        if command.action == "forget" and not held.journal.permit.active:
            turn.part(held.key).state += [(partition, key, value) for key, value in rows.forgotten(held.journal)]
            del turn.touched[held.key]
            self._batches.forget(held.key)

    # --- what runs say

    def take_message(self, held: Held, message: Message, turn: Turn) -> None:
        """Of another run than the present one only what was looked up counts."""
        if isinstance(message, Known):
            self._take_known(held, message, turn)
        elif held.run != message.run:
            return
        elif isinstance(message, Want):
            self._take_want(held, message, turn)
        elif isinstance(message, Came):
            self._take_outcomes(held, message.outcomes, turn)
            self._settle(held, message.run, message.outcomes, turn)
            if message.throttled:
                held.journal = core.throttled(held.journal, message.throttled)
        else:
            self._take_drained(held, message, turn)
        self._batches.touch(held, turn)

    def _take_want(self, held: Held, want: Want, turn: Turn) -> None:
        if held.journal.permit.chunk is not None:
            self._wanted[held.journal.permit.chunk.relay] = want.n
        grant = Grant((), last=True) if held.partition in self.leaving else self._begin(held, want.n, turn)
        turn.later(held, lambda: self._runs.grant(want.run, grant))

    def _begin(self, held: Held, n: int, turn: Turn) -> Grant:
        held.journal, indices = core.begin(held.journal, n, turn.now, self._spool)
        return Grant(indices, last=not core.may_begin(held.journal, turn.now))

    def _take_outcomes(self, held: Held, outcomes: Sequence[Ended], turn: Turn) -> None:
        held.journal, facts = core.ended(held.journal, outcomes)
        held.journal = orders.awaiting(held.journal, outcomes)
        turn.tell(held, facts)

    def _settle(self, held: Held, run: int, outcomes: Sequence[Ended], turn: Turn) -> None:
        if outcomes:
            turn.later(held, lambda: self._runs.settled(run, [o.index for o in outcomes]))

    def _take_drained(self, held: Held, message: Drained, turn: Turn) -> None:
        held.run = None
        if message.stopped == "shutdown":
            self._report(held, turn)
        elif message.stopped != "done" or not core.may_begin(held.journal, turn.now):
            held.ending = (message.stopped, message.detail)

    def _take_known(self, held: Held, known: Known, turn: Turn) -> None:
        """What was looked up: for an order, of what a dead owner left, or in a spool that can be read at last."""
        chunk = held.journal.permit.chunk
        if chunk is None or held.looking != known.look:
            return
        held.looking = None
        if isinstance(held.sought, BatchControl):
            self._carry_out(held, held.sought, known.emails, turn)
        elif held.sought == "late":
            self._settle_late(held, known, turn)
        elif held.run is None and (left := core.interrupted(held.journal)):
            clues = core.spools_of(held.journal, left)
            outcomes = [left_behind(known, i, turn.now, known.fates.get(i), clues.get(i)) for i in left]
            self._take_outcomes(held, outcomes, turn)
            self._report(held, turn)

    def _settle_late(self, held: Held, known: Known, turn: Turn) -> None:
        clues = late.unread(held.journal)
        outcomes = [left_behind(known, i, turn.now, fate, clues[i]) for i, fate in known.fates.items() if i in clues]
        held.journal, facts = late.settle(held.journal, outcomes)
        held.journal = orders.awaiting(held.journal, outcomes)
        turn.tell(held, facts)
        self._report(held, turn)

    def _carry_out(self, held: Held, order: BatchControl, emails: Mapping[int, str], turn: Turn) -> None:
        """An order on those in doubt, and the answer to it."""
        held.journal, facts, found = orders.resolve(held.journal, order, emails, turn.now)
        turn.tell(held, facts)
        held.journal, result = core.report(held.journal, turn.now)
        settled = merged(sorted(fact.ended.index for fact in facts))
        turn.answer(held, result.model_copy(update={"order": order.version, "resolved": found, "settled": settled}))
        turn.touched[held.key] = held

    def read_late(self, held: Held, spool: str, turn: Turn) -> None:
        """A spool can be read that may tell of some in doubt. While something else is looked up it waits."""
        clues = {i: clue for i, clue in late.unread(held.journal).items() if clue[0] == spool}
        chunk = held.journal.permit.chunk
        if clues and chunk is not None and held.looking is None and held.partition not in self.leaving:
            self._look_up(held, chunk, list(clues), turn, "late", clues)

    # --- what follows

    def look_at(self, held: Held, turn: Turn) -> None:
        """Move the batch on when it has something to do."""
        self._move_on(held, turn)
        self.stay_heard(held, turn)
        if not (held.journal.permit.active or held.journal.pending or held.waiting):
            self._batches.leave(held)

    def stay_heard(self, held: Held, turn: Turn) -> None:
        """While its run goes on the gate hears of it."""
        if held.journal.permit.active and held.run is not None:
            self._report_when_due(held, turn)

    def _move_on(self, held: Held, turn: Turn) -> None:
        permit = held.journal.permit
        if held.waiting is not None and not permit.active:
            chunk, held.waiting = held.waiting, None
            self.take_chunk(held.partition, chunk, turn)
            permit = held.journal.permit
        if permit.active and held.run is None:
            self._start_or_finish(held, turn)
        if held.journal.pending and held.looking is None:
            self._next_order(held, turn)

    def _next_order(self, held: Held, turn: Turn) -> None:
        before, chunk = held.journal, held.journal.permit.chunk
        held.journal, order = orders.next_order(before)
        if held.journal is not before:
            turn.touched[held.key] = held
        if order is None:
            return
        about = orders.in_doubt(held.journal, order.indices)
        if about and chunk is not None:
            self._look_up(held, chunk, about, turn, order)
        else:
            self._carry_out(held, order, {}, turn)

    def _start_or_finish(self, held: Held, turn: Turn) -> None:
        """First settle what a dead owner left, then send what is open, then end the permit."""
        journal, chunk = held.journal, held.journal.permit.chunk
        if chunk is None or held.looking is not None:
            return
        if left := core.interrupted(journal):
            self._look_up(held, chunk, left, turn, "left", core.spools_of(journal, left))
        elif held.ending is not None:
            self._finish(held, *held.ending, turn)
        elif journal.control.action is not None:
            self._finish(held, core.stopped_by(journal.control), None, turn)
        elif core.may_begin(journal, turn.now):
            self._start(held, chunk, turn)
        else:
            self._finish(held, "expired" if turn.now >= chunk.until else "done", None, turn)

    def _start(self, held: Held, chunk: Chunk, turn: Turn) -> None:
        """The first indices are intended by the transaction that records the permit, which saves one."""
        run = held.run = next(self._ids)
        grant = self._begin(held, first_grant(chunk, self._wanted.get(chunk.relay, 0)), turn)
        turn.touched[held.key] = held
        turn.later(held, lambda: self._runs.start(run, chunk, grant))

    def _look_up(
        self, held: Held, chunk: Chunk, indices: Sequence[int], turn: Turn, sought: Sought,
        clues: Mapping[int, Clue] | None = None,
    ) -> None:  # fmt: skip
        look = held.looking = next(self._ids)
        held.sought = sought
        turn.later(held, lambda: self._runs.look_up(look, chunk, indices, clues or {}))

    def _finish(self, held: Held, stopped: Stopped, detail: str | None, turn: Turn) -> None:
        held.ending = None
        held.journal, result = core.finish(held.journal, turn.now, stopped, detail)
        turn.answer(held, result)
        turn.touched[held.key] = held

    def _report_when_due(self, held: Held, turn: Turn) -> None:
        shown, age = held.shown, self._real() - held.shown_at
        news = shown is None or shown.windows is not held.journal.windows or shown.permit is not held.journal.permit
        if age >= (REPORT_SECONDS if news else HEARTBEAT_SECONDS):
            self._report(held, turn)
            turn.touched[held.key] = held

    def _report(self, held: Held, turn: Turn) -> None:
        held.journal, result = core.report(held.journal, turn.now)
        turn.answer(held, result)
