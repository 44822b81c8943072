"""A role that records what happens to it, and a processor for it in a thread of the test's own process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from fenced_harness import Field

from streams.fenced import Effects, FencedProcessor, FencedSettings, Input, Role
from streams.fenced.times import seconds_since_boot


class Recorder:
    """A role in this process: remembers what it was told."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.seen: list[Input] = []
        self.owned: dict[int, dict[bytes, bytes]] = {}
        self.calls: list[str] = []
        self.full = False
        self.next: list[Effects] = []  # what to answer when it owns something
        self.needs_inputs = False
        self.busy_for: int | None = None
        self.steps = 0
        self.committed_at: list[float] = []

    def assigned(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        self.owned[partition] = dict(state)

    def revoking(self, partition: int) -> None:
        self.calls.append(f"revoking {partition}")

    def lost(self, partition: int) -> None:
        del self.owned[partition]
        self.calls.append(f"lost {partition}")

    def step(self, inputs: Sequence[Input], now: float) -> Effects | None:  # noqa: ARG002
        self.steps += 1
        self.seen += inputs
        if self.busy_for is not None and "revoking 0" in self.calls:
            self.busy_for -= 1
        if self.next and self.owned and (inputs or not self.needs_inputs):
            return self.next.pop(0)
        return Effects() if inputs else None

    def committed(self, effects: Effects) -> None:
        self.committed_at.append(time.monotonic())
        self.calls.append(f"committed {effects.token}")

    def busy(self, partition: int) -> bool:  # noqa: ARG002
        return bool(self.busy_for and self.busy_for > 0)


class Running:
    """A processor in a thread of this process."""

    def __init__(
        self, f: Field, role: Role, clock: Callable[[], float] = seconds_since_boot, **settings: float
    ) -> None:
        self.processor = FencedProcessor(
            f.kafka,
            role,
            group=f.prefix,
            input_topic=f.prefix + ".in",
            state_topic=f.prefix + ".state",
            transactional_id=f.prefix + "-thread",
            settings=FencedSettings(**settings),  # type: ignore[arg-type]
            monotonic=clock,
        )
        self.stopping = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.processor.run(self.stopping.is_set)
        except Exception as e:  # noqa: BLE001 - the test looks at it
            self.error = e

    def stop(self) -> None:
        self.stopping.set()
        self.processor.wake()
        self.thread.join(30)
        assert not self.thread.is_alive()


@contextmanager
def running(f: Field, role: Role, **settings: float) -> Iterator[Running]:
    made = Running(f, role, seconds_since_boot, **settings)
    made.thread.start()
    try:
        yield made
    finally:
        made.stop()
