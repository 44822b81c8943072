"""The loop of fenced processing: poll, step, transaction, in one thread.

How the rules hold:

- *Every transaction carries an offset of every partition that it touches*: `offsets.Ledger.of`.
- *Flush before the offsets; generation read and commit finished before a revocation goes on*:
  `Transactions` flushes first. Rebalance callbacks run inside `poll` only, in the thread that also steps and
  commits, and no poll lies between a step and the end of its transaction; the thread is the lock.
- *On assignment committed offsets, then the changelog's end, then the changelog*: `loading.Loader`.
- *State without a committed offset stops the process*: `offsets.starting_offset`; and the consumer's
  `auto.offset.reset` is `error`.
- *A planned stop finishes as a member*, everything paused: a consumer that is being closed sends no heartbeats.

After any failed transaction the process leaves by `Fenced` or `TransactionFailed`: what is in memory may no
longer be what was committed, and the next start reads that.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.clients import Kafka
from streams.fenced.errors import Fenced
from streams.fenced.loading import Loader
from streams.fenced.model import Effects, FencedSettings, Input, Output, Outputs, Role
from streams.fenced.offsets import Ledger, offset_gone
from streams.fenced.pausing import Pauses
from streams.fenced.records import as_input
from streams.fenced.startup import check_topics, until_answered
from streams.fenced.times import seconds_since_boot
from streams.fenced.transaction import Transactions, refusal

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 2_000_000
"""The client's own limit; above the broker's (1 MB), so that a dead letter, whose headers make it larger than
the record that it was, depends on its topic's `max.message.bytes` alone."""
SLEPT = "this process did nothing for longer than its session, its work may be another's by now; it leaves"
_LEAST_WAIT = 0.001
"""librdkafka counts in milliseconds: for less it would not wait at all, and the loop would spin."""


class FencedProcessor:
    """Runs a role over one input topic. `run` blocks; `wake` and `last_commit_age` may be called anywhere."""

    def __init__(
        self,
        kafka: Kafka,
        role: Role,
        *,
        group: str,
        input_topic: str,
        state_topic: str,
        transactional_id: str,
        settings: FencedSettings | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = seconds_since_boot,
    ) -> None:
        self._kafka = kafka
        self._role = role
        self._group = group
        self._input = input_topic
        self._state = state_topic
        self._id = transactional_id
        self._settings = settings or FencedSettings()
        self._clock = clock
        self._monotonic = monotonic
        self._ledger = Ledger()
        self._inbox: list[Input] = []
        self._wake = threading.Event()
        self._hurried = False
        self._failure: BaseException | None = None
        self._pauses = Pauses(input_topic)
        self._finish_until: float | None = None
        self._stepped = 0.0
        self._begun = 0.0
        self._sure_until = self._member_until = float("-inf")
        self._consumer: Consumer
        self._transactions: Transactions

    @property
    def session_timeout(self) -> float:
        """Seconds after which a silent member's partitions go to another."""
        return self._kafka.session_timeout_ms / 1000

    def wake(self, *, soon: bool = True) -> None:
        """Let `step` be called, within `slice` seconds when idle; without `soon` it may gather more. Thread-safe."""
        if soon:
            self._hurried = True
        self._wake.set()

    def last_commit_age(self) -> float:
        """Seconds since the group last confirmed that this process is its member; infinite before.

        Counted from before the confirmation was asked for. An idle process asks each third of the session
        time-out, by committing its positions once more. Thread-safe.
        """
        return self._monotonic() - self._sure_until + self.session_timeout

    def surely_owner(self) -> bool:
        """Whether the group cannot have given this process's partitions to another yet: its last confirmation is
        younger than the session time-out. As cheap as reading a clock. Thread-safe."""
        return self._monotonic() < self._sure_until

    def run(self, stop: Callable[[], bool]) -> None:
        """Works until `stop()`, then hands over: finishes what is busy, commits, leaves the group.

        Waits for a broker that is away at the start. Raises the errors of `streams.fenced.errors`.
        """
        if not self._start(stop):
            return
        try:
            while not stop():
                self._turn()
            self._finish()
        except BaseException as e:
            self._failure = self._failure or e
            raise
        finally:
            self._leave()

    def _at(self, point: str) -> None:
        """Called at each point of a turn, for tests that stop or disturb a process exactly there."""

    # --- start and end

    def _start(self, stop: Callable[[], bool]) -> bool:
        """False when stopped before it could start."""
        producer = self._kafka.transactional(self._id, message_max_bytes=MAX_RECORD_BYTES)
        settings = self._settings
        self._consumer = self._kafka.consumer(
            self._group,
            max_poll_interval_ms=int(settings.max_poll_interval * 1000),
            fetch_wait_max_ms=100,
        )
        self._producer = producer
        self._transactions = self._new_transactions()
        self._loader = self._new_loader()
        say = functools.partial(log.warning, "%s waits for Kafka at %s: %s", self._id, self._kafka.bootstrap)
        if not (
            until_answered(lambda: producer.init_transactions(5.0), stop, say)
            and until_answered(lambda: check_topics(self._consumer, self._input, self._state), stop, say)
        ):
            self._consumer.close()
            return False
        self._consumer.subscribe(
            [self._input], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        return True

    def _new_transactions(self) -> Transactions:
        timeout, ahead = self._settings.commit_timeout, self._settings.told if self._kafka.embedded else ()
        return Transactions(self._producer, self._consumer, self._input, timeout, self._at, ahead=ahead)

    def _new_loader(self) -> Loader:
        timeout, nudge = self._settings.load_timeout, self._transactions.nudge
        return Loader(self._kafka, self._group, self._input, self._state, timeout, nudge)

    def _leave(self) -> None:
        """Hands over by the revocation that closing causes; after a failure without finishing anything."""
        failed_before = self._failure is not None
        try:
            self._consumer.close()
        except (KafkaException, RuntimeError) as e:
            log.info("closing the consumer: %s", e)
        for partition in self._ledger.partitions():
            self._drop(partition)
        if self._failure is not None and not failed_before:
            raise self._failure

    def _finish(self) -> None:
        """Ends what is busy before the group is left: a member still, so nobody takes the partitions meanwhile."""
        self._inbox, self._finish_until = [], self._monotonic() + self._settings.drain
        for partition in self._ledger.partitions():
            self._role.revoking(partition)
        while any(map(self._role.busy, self._ledger.partitions())) and self._monotonic() < self._finish_until:
            self._turn()

    # --- one turn

    def _turn(self) -> None:
        full = getattr(self._role, "full", False) or self._finish_until is not None
        self._pauses.follow(self._consumer, self._ledger.partitions(), pause=full)
        self._gather()
        self._step()

    def _gather(self) -> None:
        """Polls until a step is due (`FencedSettings.due`)."""
        settings = self._settings
        while True:
            now = self._monotonic()
            hurried = bool(self._inbox) or self._hurried
            due = settings.due(self._begun, self._stepped, hurried=hurried, woken=self._wake.is_set())
            wait = 0.0 if now >= due else max(_LEAST_WAIT, min(settings.slice, due - now))
            if len(self._inbox) >= settings.max_batch:
                return
            message = self._poll(wait)
            if message is not None:
                self._accept(message)
            elif now >= due:
                return

    def _poll(self, timeout: float) -> Message | None:
        """One message: it was taken after any rebalance callback of that call, which a batch cannot promise."""
        message = self._consumer.poll(timeout)
        if self._failure is not None:
            raise self._failure
        return message

    def _accept(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._on_error(error)
            return
        record = as_input(message)
        if self._finish_until is None and self._ledger.expects(record.partition, record.offset):
            self._inbox.append(record)

    def _step(self) -> None:
        inputs, self._inbox = self._inbox, []
        self._hurried = False
        self._wake.clear()
        for record in inputs:
            self._ledger.give(record.partition, record.offset)
        self._stepped = self._monotonic()
        effects = self._role.step(inputs, self._clock())
        self._at("stepped")
        sent = effects is not None and self._commit(effects)
        if effects is not None:
            self._role.committed(effects)
        if not sent and self._ledger.partitions() and self.last_commit_age() > self.session_timeout / 3:
            self._transact([], self._ledger.positions())

    def _commit(self, effects: Effects) -> bool:
        """Whether there was anything to commit."""
        records: list[Output | Outputs] = [Output(self._state, k, value, partition=p) for p, k, value in effects.state]
        records += [output for _, output in effects.outputs]
        records += [alike for _, alike in effects.bulk]
        offsets = self._offsets(effects)
        self._ledger.note_state(p for p, _, _ in effects.state)
        if records or offsets:
            self._transact(records, offsets)
        return bool(records or offsets)

    def _offsets(self, effects: Effects) -> dict[int, int]:
        return self._ledger.of(effects)

    def _transact(self, records: list[Output | Outputs], offsets: dict[int, int]) -> None:
        self._begun = self._monotonic()
        if self._kafka.embedded and self._ledger.partitions() and self._begun > self._member_until:
            raise Fenced(SLEPT)  # that broker would take it: it does not look whose the partitions are by now
        self._transactions.commit(records, offsets, self._ledger.metadata)
        self._ledger.commit(offsets)
        self._sure_until = self._member_until = self._begun + self.session_timeout
        self._at("committed")

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise offset_gone(self._input, self._group, error.str())
        if error.fatal():
            raise refusal(error)
        log.warning("%s: %s; going on", self._input, error.str())

    # --- rebalances: called inside `poll` and `close`, in the same thread

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        with self._keeping_failure():
            partitions = [tp.partition for tp in assigned]
            if not partitions:
                return
            began = self._monotonic()
            log.info("%s is given %s", self._id, partitions)
            starts = self._loader.load(consumer, partitions, self._while_loading)
            genesis = {s.partition: s.offset for s in starts if s.committed is None}
            if genesis:
                self._transact([], genesis)
            for start in starts:
                had_state = start.committed is not None and start.committed.has_state
                self._ledger.assign(start.partition, start.offset, has_state=had_state)
                self._role.assigned(start.partition, start.state)
                if self._finish_until is not None:  # no longer ours to begin with
                    self._role.revoking(start.partition)
            positions = [self._tp(s.partition, s.offset) for s in starts]
            consumer.incremental_assign(positions)
            consumer.resume(positions)  # a pause outlives the assignment that it was asked for
            now = self._monotonic()
            self._member_until = now + self.session_timeout
            log.info("%s owns %s, after %.2f s", self._id, partitions, now - began)

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        with self._keeping_failure():
            partitions = [tp.partition for tp in revoked if self._ledger.owns(tp.partition)]
            self._forget_inputs(partitions)
            if self._failure is None:
                self._drain(partitions)
        self._on_lost(consumer, revoked)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        with self._keeping_failure():
            for tp in lost:
                self._drop(tp.partition)
            consumer.incremental_unassign(lost)
            log.info("%s no longer owns %s", self._id, [tp.partition for tp in lost])

    def _drain(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._role.revoking(partition)
        waiting, self._inbox = self._inbox, []
        deadline = self._finish_until or self._monotonic() + self._settings.drain
        self._step()  # at least once: what has gathered is committed before it is handed over
        while any(map(self._role.busy, partitions)) and self._monotonic() < deadline:
            self._wake.wait(self._settings.slice)
            self._step()
        self._inbox = waiting

    def _drop(self, partition: int) -> None:
        self._forget_inputs([partition])
        self._pauses.forget(partition)
        if self._ledger.owns(partition):
            self._ledger.drop(partition)
            self._role.lost(partition)

    def _forget_inputs(self, partitions: list[int]) -> None:
        self._inbox = [i for i in self._inbox if i.partition not in partitions]

    def _while_loading(self) -> None:
        """What is owned already goes on while an assignment waits."""
        due = self._wake.is_set() or self._monotonic() >= self._stepped + self._settings.poll
        if due and self._ledger.partitions():
            waiting, self._inbox = self._inbox, []
            self._step()
            self._inbox = waiting

    def _tp(self, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._input, partition, offset)

    @contextmanager
    def _keeping_failure(self) -> Iterator[None]:
        """An error inside a callback stops the process when `poll` returns; the first one counts."""
        try:
            yield
        except Exception as e:  # noqa: BLE001 - whatever it is, it is raised again outside of librdkafka
            self._failure = self._failure or e
