"""The owner of batches: a role of fenced processing whose state is the journal.

All that has gathered since the last transaction goes into the next one: outcomes with their events, new
intentions, permits and orders. What lets a message out (`start`, `grant`) happens only when the transaction
that says so is durable. `stop` and `halt` only ever hold back, so they happen at once.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any

import orjson
from pydantic import ValidationError

from schemas.chunk import BatchControl, Chunk, ChunkResult
from schemas.identity import batch_id
from sender.events import HEADERS as EVENT_HEADERS
from sender.events import event_value
from sender.held import Held, decode, first_grant, grouped, left_behind
from sender.journal import core, rows
from sender.journal.report import Stopped
from sender.journal.values import Ended, Fact
from sender.traffic import BatchKey, Came, Drained, Grant, Known, Message, Runs, Want
from streams.clock import Clock
from streams.deadletter import dead_letter
from streams.fenced import Effects, Input, Output

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
"""A running permit is reported on so often when there is news."""
HEARTBEAT_SECONDS = 2.0
"""... and so often when there is none; the commit shows the runs that this process is still the owner."""
GATHERED_FULL = 20_000
"""Messages of runs that wait; with more, no new inputs are taken."""
TAKEN_AT_ONCE = 5_000
TRIES = 3
"""How often the handling of something may fail before it is a dead letter and its batch left to the next owner."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Names on this installation's broker."""

    chunks: str
    gate_inputs: str
    mail_events: str


@dataclass(slots=True)
class _Turn:
    """What one step gathers."""

    now: datetime
    effects: Effects = field(default_factory=Effects)
    touched: dict[BatchKey, Held] = field(default_factory=dict)
    after: list[Callable[[], None]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.touched or self.after or self.effects.state or self.effects.outputs)

    def mark(self) -> tuple[int, int, int]:
        """How much is gathered."""
        return len(self.effects.state), len(self.effects.outputs), len(self.after)

    def forget(self, mark: tuple[int, int, int]) -> None:
        """What was gathered since."""
        gathered: tuple[list[Any], ...] = (self.effects.state, self.effects.outputs, self.after)
        for one, size in zip(gathered, mark, strict=True):
            del one[size:]


class Owner:
    """The role. `post` may be called from any thread; everything else only by fenced processing."""

    def __init__(
        self, runs: Runs, clock: Clock, topics: Topics, *, tags: Callable[[str], Mapping[str, str]],
        wake: Callable[[], None] = lambda: None, real: Callable[[], float] = monotonic, spool: str | None = None,
    ) -> None:  # fmt: skip
        """`tags` gives a campaign's tags (none when it is not known); `wake` lets `step` be called soon;
        `real` is a clock in seconds that only goes forward; `spool` is where runs record what they put on a wire."""
        self._runs = runs
        self._clock = clock
        self._topics = topics
        self._tags = tags
        self._wake = wake
        self._real = real
        self._spool = spool
        self._inbox: deque[Message] = deque()
        self._batches: dict[BatchKey, Held] = {}
        self._active: dict[BatchKey, Held] = {}
        self._ended: dict[int, dict[BatchKey, bytes]] = {}
        self._revoking: set[int] = set()
        self._wanted: dict[str, int] = {}
        """By relay: what a run asked for last."""
        self._refused: set[str] = set()  # permits that are dead letters: the gate repeats them
        self._ids = itertools.count(1)

    # --- the other thread

    def post(self, message: Message) -> None:
        """Something for the next step."""
        self._inbox.append(message)
        self._wake()

    # --- fenced processing

    @property
    def full(self) -> bool:
        return len(self._inbox) > GATHERED_FULL

    def assigned(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        self._revoking.discard(partition)
        ended = self._ended[partition] = {}
        for key, permit_row, windows in grouped(state):
            if permit_row is None:
                raise ValueError(f"partition {partition} of the journal has windows of {key}, but no permit row")
            if not windows and orjson.loads(permit_row).get("ended"):
                ended[key] = permit_row
                continue
            journal = rows.load(permit_row, windows)
            held = self._batches[key] = Held(partition, journal, journal)
            if journal.permit.active or journal.pending:
                self._active[key] = held

    def revoking(self, partition: int) -> None:
        self._revoking.add(partition)
        for held in self._of(partition):
            if held.run is not None:
                self._runs.stop(held.run, "shutdown")

    def lost(self, partition: int) -> None:
        for held in self._of(partition):
            if held.run is not None:
                self._runs.halt(held.run)
            del self._batches[held.key]
            self._active.pop(held.key, None)
        self._ended.pop(partition, None)
        self._revoking.discard(partition)

    def busy(self, partition: int) -> bool:
        return any(held.run is not None for held in self._of(partition))

    def step(self, inputs: Sequence[Input], now: float) -> Effects | None:  # noqa: ARG002 - the clock is ours
        turn = _Turn(self._clock.now())
        for _ in range(min(len(self._inbox), TAKEN_AT_ONCE)):
            self._take_message(self._inbox.popleft(), turn)
        for record in inputs:
            self._take_input(record, turn)
        self._look_round(turn)
        self._write(turn)
        if self._inbox:
            self._wake()
        if turn.empty and not inputs:
            return None
        turn.effects.token = turn.after
        return turn.effects

    def committed(self, effects: Effects) -> None:
        for action in effects.token if isinstance(effects.token, list) else ():
            action()

    # --- what comes in

    def _take_input(self, record: Input, turn: _Turn) -> None:
        """A record that cannot be used is a dead letter; the partition goes on."""
        try:
            value = decode(record.value)
        except (ValidationError, ValueError, KeyError) as e:
            self._dead(record, str(e), 1, turn)
            return
        if isinstance(value, Chunk) and value.permit_id in self._refused:
            return
        key = value.campaign_id, value.batch_number
        failure = self._tried(lambda: self._get(key, record.partition), key, turn)
        failure = failure or self._tried(lambda: self._take_value(record.partition, value, turn), key, turn)
        if failure is not None:
            self._dead(record, failure, TRIES, turn)
            if isinstance(value, Chunk):
                self._refused.add(value.permit_id)

    def _take_value(self, partition: int, value: Chunk | BatchControl, turn: _Turn) -> None:
        held = self._get((value.campaign_id, value.batch_number), partition)
        if held is not None and held.stuck:
            return
        if isinstance(value, Chunk):
            self._take_chunk(partition, value, turn)
        else:
            self._take_order(partition, value, turn)

    def _dead(self, record: Input, error: str, attempts: int, turn: _Turn) -> None:
        log.warning("%s[%d]@%d is a dead letter: %s", record.topic, record.partition, record.offset, error)
        letter = dead_letter(self._topics.chunks, record, error, attempts, at=datetime.now(UTC))
        turn.effects.outputs.append((record.partition, letter))

    def _tried(self, do: Callable[[], object], key: BatchKey, turn: _Turn) -> str | None:
        """Does it, as if a failure had changed nothing. Why it could not be done `TRIES` times; None: it was."""
        failure, held = "", self._batches.get(key)
        for _ in range(TRIES):
            mark, before = turn.mark(), None if held is None else held.present()
            try:
                do()
            except Exception as e:
                log.exception("batch %s/%d", *key)
                failure = f"{type(e).__name__}: {e}"
                turn.forget(mark)
                if held is not None and before is not None:
                    held.restore(before)
                else:  # it began with this
                    for known in (self._batches, self._active, turn.touched):
                        known.pop(key, None)
            else:
                return None
        return failure

    def _guarded(self, held: Held, do: Callable[[], None], turn: _Turn) -> None:
        """What fails for one batch ends there: its run is cut off, and what it intended is for the next owner."""
        if held.stuck or (failure := self._tried(do, held.key, turn)) is None:
            return
        held.stuck = True
        self._active.pop(held.key, None)
        if held.run is not None:
            self._runs.halt(held.run)
            held.run = None
        chunk = held.journal.permit.chunk
        if chunk is not None:
            key = batch_id(*held.key).encode()
            self._dead(
                Input(self._topics.chunks, held.partition, 0, key, chunk.encode(), chunk.headers(), 0),
                failure, TRIES, turn,
            )  # fmt: skip

    def _take_chunk(self, partition: int, chunk: Chunk, turn: _Turn) -> None:
        held = self._get((chunk.campaign_id, chunk.batch_number), partition)
        journal, taken, result = core.take_permit(held.journal if held else None, chunk, turn.now)
        if held is None:
            held = self._batches[chunk.campaign_id, chunk.batch_number] = Held(partition, journal, None)
        held.journal = journal
        if taken == "waiting":
            held.waiting = chunk
        if result is not None:
            self._answer(held, result, turn)
        self._touch(held, turn)

    def _take_order(self, partition: int, command: BatchControl, turn: _Turn) -> None:
        held = self._get((command.campaign_id, command.batch_number), partition)
        if held is None:
            return
        held.journal, news = core.order(held.journal, command)
        if not news:
            return
        self._touch(held, turn)
        if held.run is not None and held.journal.control.action is not None:
            self._runs.stop(held.run, core.stopped_by(held.journal.control))
        if command.action == "forget" and not held.journal.permit.active:
            turn.effects.state += [(partition, key, value) for key, value in rows.forgotten(held.journal)]
            del turn.touched[held.key], self._batches[held.key]
            self._active.pop(held.key, None)

    def _take_message(self, message: Message, turn: _Turn) -> None:
        held = self._batches.get(message.batch)
        if held is not None:
            self._guarded(held, lambda: self._take_from(held, message, turn), turn)

    def _take_from(self, held: Held, message: Message, turn: _Turn) -> None:
        if isinstance(message, Known):
            self._take_known(held, message, turn)
        elif held.run != message.run:
            return
        elif isinstance(message, Want):
            self._take_want(held, message, turn)
        elif isinstance(message, Came):
            self._take_outcomes(held, message.outcomes, turn)
            self._settle(message.run, message.outcomes, turn)
            if message.throttled:
                held.journal = core.throttled(held.journal, message.throttled)
        else:
            self._take_drained(held, message, turn)
        self._touch(held, turn)

    def _take_want(self, held: Held, want: Want, turn: _Turn) -> None:
        if held.journal.permit.chunk is not None:
            self._wanted[held.journal.permit.chunk.relay] = want.n
        grant = Grant((), last=True) if held.partition in self._revoking else self._begin(held, want.n, turn)
        turn.after.append(lambda: self._runs.grant(want.run, grant))

    def _begin(self, held: Held, n: int, turn: _Turn) -> Grant:
        held.journal, indices = core.begin(held.journal, n, turn.now, self._spool)
        return Grant(indices, last=not core.may_begin(held.journal, turn.now))

    def _take_outcomes(self, held: Held, outcomes: Sequence[Ended], turn: _Turn) -> None:
        held.journal, facts = core.ended(held.journal, outcomes)
        self._tell(held, facts, turn)

    def _settle(self, run: int, outcomes: Sequence[Ended], turn: _Turn) -> None:
        if outcomes:
            turn.after.append(lambda: self._runs.settled(run, [o.index for o in outcomes]))

    def _take_drained(self, held: Held, message: Drained, turn: _Turn) -> None:
        held.run = None
        if message.stopped == "shutdown":
            self._report(held, turn)
        elif message.stopped != "done" or not core.may_begin(held.journal, turn.now):
            held.ending = (message.stopped, message.detail)

    def _take_known(self, held: Held, known: Known, turn: _Turn) -> None:
        """Addresses for what the last owner left intended, and for a pending resolution."""
        chunk = held.journal.permit.chunk
        if chunk is None or held.looking != known.look:
            return
        held.looking = None
        if held.run is None and (left := core.interrupted(held.journal)):
            outcomes = [left_behind(chunk, i, known.emails.get(i, ""), turn.now, known.fates.get(i)) for i in left]
            self._take_outcomes(held, outcomes, turn)
        else:
            held.journal, facts = core.resolve(held.journal, known.emails, turn.now)
            self._tell(held, facts, turn)
        self._report(held, turn)

    # --- what follows

    def _touch(self, held: Held, turn: _Turn) -> None:
        turn.touched[held.key] = held
        self._active[held.key] = held

    def _look_round(self, turn: _Turn) -> None:
        """Move every batch on that has something to do."""
        for held in list(self._active.values()):
            if held.partition not in self._revoking:
                self._guarded(held, partial(self._look_at, held, turn), turn)

    def _look_at(self, held: Held, turn: _Turn) -> None:
        self._move_on(held, turn)
        if held.journal.permit.active and held.run is not None:
            self._report_when_due(held, turn)
        if not (held.journal.permit.active or held.journal.pending or held.waiting):
            del self._active[held.key]

    def _move_on(self, held: Held, turn: _Turn) -> None:
        permit = held.journal.permit
        if held.waiting is not None and not permit.active:
            chunk, held.waiting = held.waiting, None
            self._take_chunk(held.partition, chunk, turn)
            permit = held.journal.permit
        if permit.active and held.run is None:
            self._start_or_finish(held, turn)
        if held.journal.pending and held.looking is None and permit.chunk is not None:
            self._look_up(held, permit.chunk, core.in_doubt(held.journal, held.journal.pending[0].indices), turn)

    def _start_or_finish(self, held: Held, turn: _Turn) -> None:
        """First settle what a dead owner left, then send what is open, then end the permit."""
        journal, chunk = held.journal, held.journal.permit.chunk
        if chunk is None or held.looking is not None:
            return
        if left := core.interrupted(journal):
            self._look_up(held, chunk, left, turn, core.spools_of(journal, left))
        elif held.ending is not None:
            self._finish(held, *held.ending, turn)
        elif journal.control.action is not None:
            self._finish(held, core.stopped_by(journal.control), None, turn)
        elif core.may_begin(journal, turn.now):
            self._start(held, chunk, turn)
        else:
            self._finish(held, "expired" if turn.now >= chunk.until else "done", None, turn)

    def _start(self, held: Held, chunk: Chunk, turn: _Turn) -> None:
        """The first indices are intended by the transaction that records the permit, which saves one."""
        run = held.run = next(self._ids)
        grant = self._begin(held, first_grant(chunk, self._wanted.get(chunk.relay, 0)), turn)
        turn.touched[held.key] = held
        turn.after.append(lambda: self._runs.start(run, chunk, grant))

    def _look_up(
        self, held: Held, chunk: Chunk, indices: Sequence[int], turn: _Turn, spools: Mapping[int, str] | None = None
    ) -> None:
        look = held.looking = next(self._ids)
        turn.after.append(lambda: self._runs.look_up(look, chunk, indices, spools or {}))

    def _finish(self, held: Held, stopped: Stopped, detail: str | None, turn: _Turn) -> None:
        held.ending = None
        held.journal, result = core.finish(held.journal, turn.now, stopped, detail)
        self._answer(held, result, turn)
        turn.touched[held.key] = held

    def _report_when_due(self, held: Held, turn: _Turn) -> None:
        shown, age = held.shown, self._real() - held.shown_at
        news = shown is None or shown.windows is not held.journal.windows or shown.permit is not held.journal.permit
        if age >= (REPORT_SECONDS if news else HEARTBEAT_SECONDS):
            self._report(held, turn)
            turn.touched[held.key] = held

    def _report(self, held: Held, turn: _Turn) -> None:
        held.journal, result = core.report(held.journal, turn.now)
        self._answer(held, result, turn)

    def _answer(self, held: Held, result: ChunkResult, turn: _Turn) -> None:
        held.shown, held.shown_at = held.journal, self._real()
        out = Output(self._topics.gate_inputs, result.relay.encode(), result.encode(), ChunkResult.headers())
        turn.effects.outputs.append((held.partition, out))

    def _tell(self, held: Held, facts: Sequence[Fact], turn: _Turn) -> None:
        chunk = held.journal.permit.chunk
        if not facts or chunk is None:
            return
        campaign, number = held.key
        tags, key = self._tags(campaign), batch_id(campaign, number).encode()
        for fact in facts:
            value = event_value(
                fact, campaign, number, relay=chunk.relay, sending_domain=chunk.sending_domain, tags=tags
            )
            turn.effects.outputs.append((held.partition, Output(self._topics.mail_events, key, value, EVENT_HEADERS)))

    def _write(self, turn: _Turn) -> None:
        """The rows of what was touched. A batch that has ended leaves memory but for its row."""
        for held in turn.touched.values():
            changed = rows.changes(held.recorded, held.journal, turn.now)
            turn.effects.state += [(held.partition, key, value) for key, value in changed]
            held.recorded = held.journal
            if changed and held.key not in self._active and core.is_ended(held.journal):
                self._ended[held.partition][held.key] = changed[-1][1] or b""
                del self._batches[held.key]

    # --- memory

    def _of(self, partition: int) -> list[Held]:
        return [held for held in self._batches.values() if held.partition == partition]

    def _get(self, key: BatchKey, partition: int) -> Held | None:
        held = self._batches.get(key)
        if held is None and (row := self._ended[partition].get(key)) is not None:
            journal = rows.load(row, ())
            del self._ended[partition][key]  # only now: without it the batch would be taken for a new one
            held = self._batches[key] = Held(partition, journal, rows.without_rows(journal))
        return held
