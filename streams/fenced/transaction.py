"""One transaction: records and offsets, all or nothing, refused when this process is no longer the owner.

The embedded broker keeps less of that. It shows what a transaction wrote that was aborted: so there what nobody
repeats goes `ahead`, and a row that is seen has been told. And it may leave a transaction unfinished that has been
committed: see `Transactions.nudge`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from streams.fenced.errors import Fenced, FencedProcessingError, TransactionFailed
from streams.fenced.model import Output, Outputs
from streams.fenced.stuck import StuckGuard

log = logging.getLogger(__name__)

_FENCING = {
    KafkaError._FENCED,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
}
_TRIES = 5
_NOBODY = b"-"
"""A key that no row has."""


class Transactions:
    """Commits one transaction after the other; blocks until each is durable or has failed for good."""

    def __init__(
        self,
        producer: Producer,
        member: Consumer,
        input_topic: str,
        timeout: float,
        at: Callable[[str], None],
        guard: StuckGuard | None = None,
        ahead: Collection[str] = (),
    ) -> None:
        """`ahead`: the topics whose records are on the broker before any other is sent."""
        self._producer = producer
        self._member = member
        self._input = input_topic
        self._timeout = timeout
        self._deadline = 0.0
        self._at = at
        self._guard = guard or StuckGuard()
        self._ahead = frozenset(ahead)

    def commit(
        self,
        outputs: Iterable[Output | Outputs],
        offsets: dict[int, int],
        metadata: Callable[[int], str] = lambda _: "",
    ) -> None:
        """`metadata` says what is committed beside a partition's offset.

        Raises `Fenced` or `TransactionFailed`; after either the process must leave.

        A rebalance in which this member takes part may raise the group's generation between the moment at
        which it is read here and the moment at which the broker checks it. Nothing is handed over before
        this thread polls again, so the same effects are tried under the new generation.
        """
        records = list(outputs)
        positions = [TopicPartition(self._input, p, offset, metadata(p)) for p, offset in offsets.items()]
        for left in reversed(range(_TRIES)):
            with self._guard.within(self._timeout):
                generation = self._try(records, positions, last=left == 0)
            if generation is None:
                return
            log.info("the group's generation changed within a transaction; trying it again")
            self._wait_for_other_generation(generation)

    def _try(self, records: list[Output | Outputs], positions: list[TopicPartition], *, last: bool) -> object | None:
        """None when committed; the generation that was refused when it may be tried again."""
        generation: object = None
        self._deadline = time.monotonic() + self._timeout
        try:
            self._producer.begin_transaction()
            self._at("begun")
            if self._ahead:
                records = self._tell(records)
            self._produce_all(records)
            self.flush()
            self._at("flushed")
            if positions:
                generation = self.generation()
                self._at("generation read")
                self._producer.send_offsets_to_transaction(positions, generation, self._left())
            self._at("offsets sent")
            self._end()
        except KafkaException as e:
            error: KafkaError = e.args[0]
            self._abort(error)
            if error.code() == KafkaError.ILLEGAL_GENERATION and not error.fatal() and not last:
                return generation
            raise refusal(error) from e
        except FencedProcessingError:
            self._abort(None)
            raise
        return None

    def nudge(self, topic: str, partitions: list[int]) -> None:
        """A transaction of one record in each, a tombstone of a key that nobody has.

        The embedded broker finishes a committed transaction only when every other that it shares a partition with
        has been committed too. When that one waits for a third and its process dies meanwhile, nobody is left to
        finish it: readers stop before it, for good. The next transaction in one of its partitions finishes it.
        """
        log.info("%s: partitions %s end in an unfinished transaction; one more there may finish it", topic, partitions)
        self.commit([Output(topic, _NOBODY, None, partition=p) for p in partitions], {})

    def flush(self) -> None:
        """All records are on the broker before the group is asked whether this process is still the owner."""
        left = self._producer.flush(self._left())
        if left:
            raise TransactionFailed(_stuck(left, self._timeout))

    def generation(self) -> object:
        """The group's generation and our member id, as of now; what a broker checks a transaction against.

        Without a member id there would be nothing to check, and brokers let such offsets pass.
        """
        metadata = self._member.consumer_group_metadata()
        if not self._member.memberid():
            raise Fenced("this process is no longer a member of its group; it leaves, and another has its work")
        return metadata

    def _tell(self, records: list[Output | Outputs]) -> list[Output | Outputs]:
        """Sends what goes ahead; returns the others."""
        self._produce_all(r for r in records if r.topic in self._ahead)
        self.flush()
        self._at("told")
        return [r for r in records if r.topic not in self._ahead]

    def _produce_all(self, records: Iterable[Output | Outputs]) -> None:
        """In their order. Of those that are alike there is one a mail, so it is written to be quick."""
        produce = self._producer.produce
        for one in records:
            topic, key, partition = one.topic, one.key, -1 if one.partition is None else one.partition
            headers: list[tuple[str, str | bytes | None]] = list(one.headers)
            for value in one.values if isinstance(one, Outputs) else (one.value,):
                try:
                    produce(topic, value, key, partition, headers=headers)
                except BufferError:
                    self._produce_when_there_is_room(topic, value, key, partition, headers)

    def _produce_when_there_is_room(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int,
        headers: list[tuple[str, str | bytes | None]],
    ) -> None:  # fmt: skip
        while True:
            self._producer.poll(0.05)
            if time.monotonic() > self._deadline:
                raise TransactionFailed(_stuck("some", self._timeout))
            try:
                return self._producer.produce(topic, value, key, partition, headers=headers)
            except BufferError:
                continue

    def _end(self) -> None:
        while True:
            try:
                return self._producer.commit_transaction(self._left())
            except KafkaException as e:
                if not e.args[0].retriable() or time.monotonic() > self._deadline:
                    raise

    def _left(self) -> float:
        """What is left of the transaction's time, at least a second: each step gets its chance."""
        return max(1.0, self._deadline - time.monotonic())

    def _abort(self, error: KafkaError | None) -> None:
        """So that readers and the next owner need not wait for the transaction's time-out."""
        if error is not None and error.fatal():
            return
        try:
            self._producer.abort_transaction(2.0)
        except KafkaException as e:
            log.info("the transaction could not be aborted (%s); the next start of this worker does", e)

    def _wait_for_other_generation(self, refused: object) -> None:
        deadline = time.monotonic() + 2.0
        while self.generation() == refused:
            if time.monotonic() > deadline:
                raise Fenced("the group has gone on without this process; it leaves, and another has its work")
            time.sleep(0.005)


def _stuck(records: object, seconds: float) -> str:
    return (
        f"{records} records did not reach the broker within {seconds:.0f} s; the process leaves, and the next "
        "start goes on from what was committed"
    )


def refusal(error: KafkaError) -> FencedProcessingError:
    """Whether another owner is the reason, in words."""
    if error.fatal() or error.code() in _FENCING:
        return Fenced(f"the transaction was refused, another owner has its work ({error}); the process leaves")
    return TransactionFailed(
        f"the transaction failed ({error}); the process leaves, and the next start goes on from what was committed"
    )
