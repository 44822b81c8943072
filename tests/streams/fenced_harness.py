"""Topics, worker processes and what came out of them, for the tests of fenced processing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from confluent_kafka import TopicPartition
from confluent_kafka.cimpl import NewTopic
from waiting import eventually

from streams.clients import Kafka, Record, produce_all
from streams.fenced import Input
from streams.table import read_topic

SCRIPT = Path(__file__).with_name("fenced_worker.py")


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition; fail by name when it does not come true."""
    eventually(condition, seconds, what)


class Worker:
    """One process of `fenced_worker.py` and what it has said."""

    def __init__(self, field: Field, slot: str, options: dict[str, Any]) -> None:
        self.slot = slot
        kafka = {"bootstrap": field.kafka.bootstrap, "embedded": field.kafka.embedded}
        self.log = field.directory / f"{field.prefix}-{slot}-{uuid.uuid4().hex[:6]}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(SCRIPT),
                    json.dumps({**kafka, "prefix": field.prefix, "slot": slot, **options}),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])},
            )

    def said(self) -> list[str]:
        """Its lines, without time and log lines."""
        lines = [line.partition(" ")[2] for line in self.log.read_text().splitlines()]
        return [line for line in lines if not line.startswith("log ")]

    def has_said(self, start: str) -> bool:
        return any(line.startswith(start) for line in self.said())

    def time_of(self, start: str) -> float:
        """When it first said that, in Unix seconds."""
        lines = (line.split(" ", 1) for line in self.log.read_text().splitlines())
        return next(float(stamp) for stamp, text in lines if text.startswith(start))

    def wait_said(self, start: str, seconds: float = 30.0) -> None:
        until(lambda: self.has_said(start) or self.ended, f"{self.slot} says {start!r}; it said {self.said()}", seconds)
        assert self.has_said(start), self.log.read_text()

    def owns(self) -> set[int]:
        owned: set[int] = set()
        for line in self.said():
            word, number = [*line.split(), "", ""][:2]
            if word == "assigned":
                owned.add(int(number))
            elif word == "lost":
                owned.discard(int(number))
        return owned

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def suspended(self) -> bool:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def exit_code(self, seconds: float = 30.0) -> int:
        return self.process.wait(seconds)

    def stop(self) -> int:
        """A planned stop."""
        self.process.terminate()
        return self.exit_code()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)


class Field:
    """Fresh topics `<prefix>.in`, `.out` and `.state`, and the workers on them."""

    def __init__(self, kafka: Kafka, directory: Path, partitions: int = 2) -> None:
        self.kafka = kafka
        self.directory = directory
        self.partitions = partitions
        self.prefix = f"fenced-{uuid.uuid4().hex[:8]}"
        self.workers: list[Worker] = []
        self.admin = kafka.admin()
        topics = [
            NewTopic(self.prefix + suffix, partitions, 1, config={"cleanup.policy": policy})
            for suffix, policy in ((".in", "delete"), (".out", "delete"), (".state", "compact"))
        ]
        for future in self.admin.create_topics(topics).values():
            future.result(20)

    def worker(self, slot: str, **options: Any) -> Worker:
        self.workers.append(Worker(self, slot, options))
        return self.workers[-1]

    def put(self, *records: tuple[int, str]) -> None:
        """Inputs as (partition, key)."""
        rows = [Record(self.prefix + ".in", b"x", key.encode(), partition) for partition, key in records]
        produce_all(self.kafka.producer(linger_ms=0), rows)

    def read(self, suffix: str) -> Iterator[Input]:
        return read_topic(self.kafka, self.prefix + suffix)

    def outputs(self) -> list[Any]:
        """All committed outputs."""
        return [json.loads(i.value or b"") for i in self.read(".out")]

    def state(self) -> dict[tuple[int, str], int]:
        """The newest committed count of each key."""
        return {(i.partition, (i.key or b"").decode()): int(i.value or b"0") for i in self.read(".state")}

    def inputs(self) -> list[TopicPartition]:
        """The input partitions."""
        return [TopicPartition(self.prefix + ".in", p) for p in range(self.partitions)]

    def members(self) -> int:
        """How many members the group has."""
        return len(self.admin.describe_consumer_groups([self.prefix])[self.prefix].result(10).members)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
