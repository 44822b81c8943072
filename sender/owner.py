"""The owner of batches: a role of fenced processing whose state is the journal.

All that has gathered since the last transaction goes into the next one: outcomes with their events, new
intentions, permits and orders (`sender.turn`). What is done about a batch is `sender.conduct`; here is when,
and what happens when that fails: it ends at that batch.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic

from pydantic import ValidationError

from schemas.chunk import BatchControl, Chunk
from schemas.identity import batch_id
from sender.aside import Shelf
from sender.batches import Batches
from sender.conduct import Conduct
from sender.held import Held, decode
from sender.traffic import BatchKey, Came, Message, Readable, Runs, Want
from sender.turn import Topics, Turn, Voice
from streams.clock import Clock
from streams.fenced import Effects, Input

__all__ = ["Owner", "Topics"]

log = logging.getLogger(__name__)

GATHERED_FULL = 20_000
"""Messages of runs that wait; with more, no new inputs are taken."""
TAKEN_AT_ONCE = 5_000
SPOOL_SECONDS = 5.0
"""How often it is tried to read the spool of a process that was suspended when its work was taken over."""
TRIES = 3
"""How often the handling of something may fail before it is a dead letter and its batch left to the next owner."""


class Owner:
    """The role. `post` may be called from any thread; everything else only by fenced processing."""

    def __init__(
        self, runs: Runs, clock: Clock, topics: Topics, *, tags: Callable[[str], Mapping[str, str]],
        wake: Callable[[bool], None] = lambda _: None, real: Callable[[], float] = monotonic, spool: str | None = None,
        each_step: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`tags` gives a campaign's tags (none when it is not known); `wake` lets `step` be called, soon when it
        is given True;
        `real` is a clock in seconds that only goes forward; `spool` is where runs record what they put on a wire;
        `each_step` is called whenever `step` is, also while a hand-over waits."""
        self._runs = runs
        self._clock = clock
        self._voice = Voice(topics, tags, real)
        self._wake = wake
        self._each_step = each_step
        self._inbox: deque[Message | Readable] = deque()
        self._tried_spools = float("-inf")
        self._batches = Batches()
        self._conduct = Conduct(runs, self._batches, spool=spool, real=real)
        self._shelf = Shelf(self._batches)
        self.unsettled = False
        """Whether a run was halted whose batch was put aside here: what it had begun is known to our spool alone."""
        self.cut_off = False
        """The same of a batch that went to another owner."""

    # --- the other thread

    def post(self, message: Message | Readable) -> None:
        """Something for the next step."""
        self._inbox.append(message)
        self._wake(not isinstance(message, Came | Want))

    # --- fenced processing

    @property
    def full(self) -> bool:
        return len(self._inbox) > GATHERED_FULL

    def assigned(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        self._conduct.leaving.discard(partition)
        self._batches.load(partition, state)
        self._wake(True)

    def revoking(self, partition: int) -> None:
        self._conduct.leaving.add(partition)
        for held in self._batches.of(partition):
            if held.run is not None:
                self._runs.stop(held.run, "shutdown")

    def lost(self, partition: int) -> None:
        for held in self._batches.unload(partition):
            if held.run is not None:
                self._runs.halt(held.run)
                self.cut_off = True
        self._conduct.leaving.discard(partition)

    def busy(self, partition: int) -> bool:
        return any(held.run is not None for held in self._batches.of(partition))

    def step(self, inputs: Sequence[Input], now: float) -> Effects | None:  # noqa: ARG002 - the clock is ours
        self._each_step()
        turn = Turn(self._clock.now(), self._voice)
        for _ in range(min(len(self._inbox), TAKEN_AT_ONCE)):
            self._take_message(self._inbox.popleft(), turn)
        self._shelf.look(turn)
        for record in inputs:
            self._take_input(record, turn)
        self._look_round(turn)
        self._try_spools()
        self._write(turn)
        self._shelf.write(turn)
        self._batches.lay_down()
        if self._inbox:
            self._wake(True)
        return turn.effects() or (Effects() if inputs else None)

    def committed(self, effects: Effects) -> None:
        for action in effects.token if isinstance(effects.token, list) else ():
            action()

    # --- what comes in

    def _take_input(self, record: Input, turn: Turn) -> None:
        """A record that cannot be used is a dead letter; the partition goes on."""
        try:
            value = decode(record.value)
        except (ValidationError, ValueError, KeyError) as e:
            turn.dead(record, str(e), 1)
            return
        key = value.campaign_id, value.batch_number
        if key in self._batches.aside:
            if isinstance(value, Chunk):
                self._shelf.answer(key, value, turn)
            else:
                self._shelf.order(key, value, record, turn)
            return
        failure = self._tried(lambda: self._batches.get(key, record.partition), key, turn)
        failure = failure or self._tried(lambda: self._take_value(record.partition, value, turn), key, turn)
        if failure is None:
            return
        turn.dead(record, failure, TRIES)
        if isinstance(value, Chunk):
            self._put_aside(key, record.partition, failure, turn, value)

    def _take_value(self, partition: int, value: Chunk | BatchControl, turn: Turn) -> None:
        if isinstance(value, Chunk):
            self._conduct.take_chunk(partition, value, turn)
        else:
            self._conduct.take_order(partition, value, turn)

    def _take_message(self, message: Message | Readable, turn: Turn) -> None:
        if isinstance(message, Readable):
            for key, partition in self._batches.awaiting(message.spool):
                self._tried(partial(self._batches.get, key, partition), key, turn)
            for one in list(self._batches.held.values()):
                self._guarded(one, partial(self._conduct.read_late, one, message.spool, turn), turn)
            return
        held = self._batches.held.get(message.batch)
        if held is not None:
            self._guarded(held, lambda: self._conduct.take_message(held, message, turn), turn)

    def _look_round(self, turn: Turn) -> None:
        """Move every batch on that has something to do; of one that is being given up only say that it lives."""
        for held in list(self._batches.active.values()):
            leaving = held.partition in self._conduct.leaving
            look = self._conduct.stay_heard if leaving else self._conduct.look_at
            self._guarded(held, partial(look, held, turn), turn)

    def _try_spools(self) -> None:
        """Now and then: whether the processes have died by now whose spools may tell of those in doubt."""
        now = self._voice.real()
        if now - self._tried_spools < SPOOL_SECONDS:
            return
        self._tried_spools = now
        if names := self._batches.awaited():
            self._runs.try_spools(sorted(names))

    # --- what fails

    def _tried(self, do: Callable[[], object], key: BatchKey, turn: Turn) -> str | None:
        """Does it, as if a failure had changed nothing. Why it could not be done `TRIES` times; None: it was."""
        failure, held = "", self._batches.held.get(key)
        for _ in range(TRIES):
            mark, before = turn.part(key).mark(), None if held is None else held.present()
            try:
                do()
            except Exception as e:
                log.exception("batch %s/%d", *key)
                failure = f"{type(e).__name__}: {e}"
                turn.part(key).forget(mark)
                if held is not None and before is not None:
                    held.restore(before)
                else:  # it began with this
                    self._batches.forget(key)
                    turn.touched.pop(key, None)
            else:
                return None
        return failure

    def _guarded(self, held: Held, do: Callable[[], None], turn: Turn) -> None:
        """What fails for one batch ends there: its run is cut off, and what it intended is for the next owner."""
        if self._batches.held.get(held.key) is not held:
            return
        if (failure := self._tried(do, held.key, turn)) is not None:
            self._bury(held, failure, TRIES, turn)

    def _write(self, turn: Turn) -> None:
        """The rows of what was touched. Of a batch whose rows cannot be made nothing goes out in this turn."""
        for held in list(turn.touched.values()):
            try:
                self._batches.write(held, turn)
            except Exception as e:
                log.exception("the rows of batch %s/%d", *held.key)
                self._bury(held, f"its rows cannot be made: {type(e).__name__}: {e}", 1, turn)

    def _bury(self, held: Held, failure: str, attempts: int, turn: Turn) -> None:
        chunk = held.journal.permit.chunk
        if chunk is not None:
            key, topic = batch_id(*held.key).encode(), self._voice.topics.chunks
            letter = Input(topic, held.partition, 0, key, chunk.encode(), chunk.headers(), 0)
            turn.dead(letter, failure, attempts)
        active = chunk if held.journal.permit.active else None
        self._put_aside(held.key, held.partition, failure, turn, active)

    def _put_aside(self, key: BatchKey, partition: int, why: str, turn: Turn, chunk: Chunk | None) -> None:
        """Nothing more is done for the batch by this owner; its run is cut off and its permit is answered."""
        held = self._batches.held.get(key)
        if held is not None and held.run is not None:
            self._runs.halt(held.run)
            self.unsettled = True
        turn.parts.pop(key, None)
        turn.touched.pop(key, None)
        self._shelf.put(key, partition, f"it cannot be handled: {why}", held, turn)
        if chunk is not None:
            self._shelf.answer(key, chunk, turn)
