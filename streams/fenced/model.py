"""What a role and the processor say to each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Input:
    """One record of the role's input topic. A value of None is a tombstone. Time in Unix milliseconds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Output(NamedTuple):
    """One record to produce. Without a partition its key chooses (murmur2, as Java clients do)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Outputs(NamedTuple):
    """Records to produce in this order that differ by their values alone; without a partition their key chooses."""

    topic: str
    key: bytes | None
    values: Sequence[bytes]
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


@dataclass(slots=True)
class Effects:
    """What one transaction carries.

    state:    (partition, key, value) rows for the changelog; a value of None deletes the key.
    outputs:  (partition of the input topic that caused it, record).
    bulk:     (partition of the input topic that caused them, records that are alike); cheaper where there are many.
    consumed: partition -> next offset to commit; None means all inputs given to `step` so far.
              A partition that is touched and not named keeps its committed offset.
    token:    the role's own; comes back in `committed`.
    """

    state: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)
    outputs: list[tuple[int, Output]] = field(default_factory=list)
    consumed: dict[int, int] | None = None
    token: object = None
    bulk: list[tuple[int, Outputs]] = field(default_factory=list)

    def touched(self) -> set[int]:
        """The partitions that these effects belong to."""
        touched = {row[0] for row in self.state}
        touched.update(partition for partition, _ in self.outputs)
        touched.update(partition for partition, _ in self.bulk)
        return touched


class Role(Protocol):
    """Decides; never blocks. All calls come from the thread that is in `FencedProcessor.run`.

    A role may have an attribute `full`: while it is true nothing is fetched, and `step` goes on being
    called without inputs.
    """

    def assigned(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        """The partition is ours; `state` is what was committed. Before any input of it."""

    def revoking(self, partition: int) -> None:
        """About to lose it, as planned: finish what is begun, begin nothing.

        `step` is called until `busy` is false or the drain deadline has passed.
        """

    def lost(self, partition: int) -> None:
        """Gone, after `revoking` or abruptly: drop all memory of it and stop what it does outside."""

    def step(self, inputs: Sequence[Input], now: float) -> Effects | None:
        """What follows from the inputs and the time (Unix seconds).

        Called at least every `poll` seconds, also without inputs and while nothing is owned; soon after `wake`.
        None commits nothing: the inputs given stay uncommitted until later effects say otherwise. Effects
        without rows and outputs commit the offsets alone.
        """

    def committed(self, effects: Effects) -> None:
        """The transaction of these effects is durable."""

    def busy(self, partition: int) -> bool:
        """Whether it has begun or uncommitted work that a planned hand-over should wait for."""


@dataclass(frozen=True, slots=True)
class FencedSettings:
    """Times in seconds, and what is special about a role.

    commit_interval:  least time between two transactions under load; when idle the first input goes at once.
    gather:           the same for what `wake` was told of without haste, when it is longer.
    poll:             longest time between two calls of `step`.
    slice:            longest time that `wake` waits for; also what an idle process costs.
    drain:            how long a planned hand-over, or a planned stop, waits for work that is busy.
    max_poll_interval: the same for a member whose thread hangs; must exceed `drain` and `load_timeout`.
    commit_timeout:   how long a transaction may wait for the broker before the process leaves.
    load_timeout:     how long an assignment may take, waiting behind a dead owner's transaction included.
    max_batch:        inputs given to one `step` at most.
    told:             topics of facts that nobody repeats once the state says that they were told; see `transaction`.
    """

    commit_interval: float = 0.03
    gather: float = 0.1
    poll: float = 0.1
    slice: float = 0.01
    drain: float = 10.0
    max_poll_interval: float = 120.0
    commit_timeout: float = 10.0
    load_timeout: float = 90.0
    max_batch: int = 1000
    told: Collection[str] = ()

    def __post_init__(self) -> None:
        if max(self.drain, self.load_timeout) >= self.max_poll_interval:
            raise ValueError("max_poll_interval must exceed drain and load_timeout")

    def due(self, begun: float, stepped: float, *, hurried: bool, woken: bool) -> float:
        """When the next step is due. `begun`: of the last transaction, `stepped`: of the last step, by the same clock.

        hurried: there are inputs, or a wake-up that has no time. woken: there is a wake-up.
        """
        if hurried:
            return begun + self.commit_interval
        idle = stepped + self.poll
        return min(idle, begun + max(self.gather, self.commit_interval)) if woken else idle
