"""A worker process for the tests of fenced processing: counts inputs by key, emits every count.

    fenced_worker.py '{"bootstrap": ..., "embedded": ..., "prefix": ..., "slot": ..., ...}'

Each input adds one to its key's count (a state row) and emits `[partition, offset, count]` to `<prefix>.out`.
With `timer`, a partition, it also counts and emits `["timer", slot, n]` there at the first call of `step`
without inputs: a transaction that consumed nothing. With `bulk` the records of a partition go out as alike.

`variant` takes one rule out. `stop_at` names a point at which the process suspends itself (SIGSTOP), the first
time that it passes it with effects; `hold` a file that it waits for between a step and its transaction;
`await_rebalance` waits for the group's next generation after one was read for the first transaction;
`linger_ms` keeps records in the producer until they are flushed. The exit code is that of the error.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from fenced_variants import VARIANTS

from streams.clients import Kafka
from streams.fenced import Effects, FencedProcessingError, FencedProcessor, FencedSettings, Input, Output, Outputs


def say(*words: object) -> None:
    print(f"{time.time():.3f}", *words, flush=True)


class Counter:
    """The role. What it holds in memory is only what was committed."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options
        self.counts: dict[int, dict[bytes, int]] = {}
        self.timer_due = "timer" in options

    def assigned(self, partition: int, state: Mapping[bytes, bytes]) -> None:
        self.counts[partition] = {k: int(v) for k, v in state.items()}
        say("assigned", partition, "with", sum(self.counts[partition].values()))

    def revoking(self, partition: int) -> None:
        say("revoking", partition)

    def lost(self, partition: int) -> None:
        del self.counts[partition]
        say("lost", partition)

    def step(self, inputs: Sequence[Input], now: float) -> Effects | None:  # noqa: ARG002
        if not inputs:
            return self._timer()
        effects = Effects()
        counts: dict[tuple[int, bytes], int] = {}
        for i in inputs:
            key = i.key or b""
            n = counts.get((i.partition, key), self.counts[i.partition].get(key, 0)) + 1
            counts[i.partition, key] = n
            effects.outputs.append((i.partition, self._out(i.partition, [i.partition, i.offset, n])))
        effects.state = [(p, k, b"%d" % n) for (p, k), n in counts.items()]
        return self._in_bulk(effects) if self.options.get("bulk") else effects

    def _in_bulk(self, effects: Effects) -> Effects:
        for partition in sorted({p for p, _ in effects.outputs}):
            values = [output.value or b"" for p, output in effects.outputs if p == partition]
            effects.bulk.append((partition, Outputs(self.options["prefix"] + ".out", None, values, (), partition)))
        effects.outputs = []
        return effects

    def _timer(self) -> Effects | None:
        partition = self.options.get("timer")
        if partition not in self.counts or not self.timer_due:
            return None
        self.timer_due = False
        n = self.counts[partition].get(b"timer", 0) + 1
        out = self._out(partition, ["timer", self.options["slot"], n])
        return Effects([(partition, b"timer", b"%d" % n)], [(partition, out)])

    def _out(self, partition: int, value: object) -> Output:
        return Output(self.options["prefix"] + ".out", None, json.dumps(value).encode(), partition=partition)

    def committed(self, effects: Effects) -> None:
        for partition, key, value in effects.state:
            if partition in self.counts:  # always so, but for the variants
                self.counts[partition][key] = int(value or b"0")
        say("committed", len(effects.outputs) + sum(len(alike.values) for _, alike in effects.bulk))

    def busy(self, partition: int) -> bool:  # noqa: ARG002
        return False


@dataclass(frozen=True, slots=True)
class Lingering(Kafka):
    """A factory whose transactional producer sends nothing until it is flushed."""

    linger_ms: int = 0

    def transactional(self, transactional_id: str, transaction_timeout_ms: int = 10_000, **overrides: Any) -> Producer:
        overrides["linger_ms"] = self.linger_ms
        return Kafka.transactional(self, transactional_id, transaction_timeout_ms, **overrides)


def processor(options: Mapping[str, Any]) -> FencedProcessor:
    variant = VARIANTS[options.get("variant", "real")]
    prefix, slot = options["prefix"], options["slot"]

    class Stopping(variant):  # type: ignore[misc, valid-type]
        stopped = False

        def _at(self, point: str) -> None:
            if point == "generation read" and options.get("await_rebalance") and self.committing and not self.stopped:
                self.stopped = True
                old = self._consumer.consumer_group_metadata()
                say("reading")
                while self._consumer.consumer_group_metadata() == old:
                    time.sleep(0.02)
            if point == options.get("stop_at") and self.committing and not self.stopped:
                self.stopped = True
                say("suspended", point)
                os.kill(os.getpid(), signal.SIGSTOP)
                say("woken", point)

    made = Stopping(
        Lingering(options["bootstrap"], embedded=options["embedded"], linger_ms=options.get("linger_ms", 0)),
        Counter(options),
        group=prefix,
        input_topic=prefix + ".in",
        state_topic=prefix + ".state",
        transactional_id=f"{prefix}-{slot}",
        settings=FencedSettings(**options.get("settings", {})),
    )
    if "hold" in options:
        made.hold_until = Path(options["hold"])
    return made


def main() -> int:
    options = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(created).3f log %(message)s")
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    try:
        processor(options).run(lambda: bool(stopping))
    except FencedProcessingError as e:
        say("ended by", type(e).__name__, e)
        return e.exit_code
    say("stopped")
    return 0


if __name__ == "__main__":
    os._exit(main())  # at once, as a role's main does: nothing may linger in the producer
