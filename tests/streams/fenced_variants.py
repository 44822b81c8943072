"""Fenced processing with one rule taken out each: the tests show what then goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer

from streams.fenced import Effects, FencedProcessor
from streams.fenced.loading import Loader, Start
from streams.fenced.offsets import Committed
from streams.fenced.transaction import Transactions


class Real(FencedProcessor):
    """The real thing; it also knows whether a role's effects are being committed, and can be held there."""

    committing = False
    hold_until: Path | None = None

    def _commit(self, effects: Effects) -> bool:
        self.committing = bool(effects.outputs or effects.bulk)
        self._hold(effects)
        sent = super()._commit(effects)
        self.committing = False
        return sent

    def _hold(self, effects: Effects) -> None:
        """Between a step and its transaction. Alive: the member's heartbeats go on."""
        if self.committing and self.hold_until is not None:
            print("0 held", len(effects.outputs), flush=True)
            while not self.hold_until.exists():
                self._while_held()
            self.hold_until = None

    def _while_held(self) -> None:
        time.sleep(0.02)


class TimerWithoutOffsets(Real):
    """Rule 1 taken out: offsets only of what was consumed."""

    def _offsets(self, effects: Effects) -> dict[int, int]:
        positions = self._ledger.positions()
        return {p: n for p, n in super()._offsets(effects).items() if n != positions[p]}


class PollsBeforeCommit(Real):
    """Rule 2 taken out: a revocation may go through between a step and its commit."""

    def _while_held(self) -> None:
        self._consumer.poll(0.02)

    def _commit(self, effects: Effects) -> bool:
        self._computed = self._ledger.of(effects)
        return super()._commit(effects)

    def _offsets(self, effects: Effects) -> dict[int, int]:
        return self._computed if effects.touched() else super()._offsets(effects)


class OffsetsBeforeFlush(Real):
    """The other half of rule 2 taken out."""

    def _new_transactions(self) -> Transactions:
        transactions = super()._new_transactions()
        transactions.flush = lambda: None  # type: ignore[method-assign]
        return transactions


class _CommittedEndFirst(Loader):
    def state_ends(self, partitions: list[int], deadline: float, idle: Callable[[], None]) -> dict[int, int]:  # noqa: ARG002
        return self._ends

    def load(self, member: Consumer, partitions: list[int], idle: Callable[[], None]) -> list[Start]:
        deadline = time.monotonic() + 30
        marks = self._watermarks(self._state, partitions, deadline, idle, read_committed=True)
        self._ends = {p: high for p, (low, high) in marks.items() if high > low}
        states = self._read(self._ends, deadline, idle)
        print("0 state was read", flush=True)
        self._read = lambda *_: states  # type: ignore[method-assign]
        return super().load(member, partitions, idle)


class ReadsToCommittedEnd(Real):
    """Rule 3 taken out: first the changelog, to the end that a read-committed consumer is told, then offsets."""

    def _new_loader(self) -> Loader:
        return _CommittedEndFirst(self._kafka, self._group, self._input, self._state, 60)


class _Careless(Loader):
    def _start(
        self,
        partition: int,
        committed: Committed | None,
        marks: tuple[int, int],
        rows: int,  # noqa: ARG002
        changelog: bool,
    ) -> int:
        return super()._start(partition, committed, marks, 0, changelog)


class StartsOver(Real):
    """Rule 4 taken out: without a committed offset everything is read again."""

    def _new_loader(self) -> Loader:
        return _Careless(self._kafka, self._group, self._input, self._state, 60)


VARIANTS: dict[str, type[Real]] = {
    "real": Real,
    "timer without offsets": TimerWithoutOffsets,
    "polls before commit": PollsBeforeCommit,
    "offsets before flush": OffsetsBeforeFlush,
    "reads to committed end": ReadsToCommittedEnd,
    "starts over": StartsOver,
}
