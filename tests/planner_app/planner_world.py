"""A planner with topics of its own, for tests: in this process, or as processes that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka.cimpl import NewTopic
from waiting import eventually

from schemas.records import ClockRecord, InstallationRecord
from schemas.topics import Topic, all_topics
from streams.clients import Kafka, Record, produce_all
from streams.clock import ScaledClock
from streams.context import Context
from streams.fenced.model import Input
from streams.settings import Settings
from streams.table import TopicReader

SCRIPT = Path(__file__).with_name("planner_worker.py")
PARTITIONS = 3
REQUEST: dict[str, Any] = {
    "campaign_id": "c1",
    "from": {"email": "cobros@bore.example", "name": "Bore"},
    "template": {"subject": "Hola {{ first_name }}", "text": "Hola {{ first_name }}"},
    "recipients": {"inline": [{"email": "ana@example.com", "first_name": "Ana"}]},
    "strategy": {"type": "batch"},
}


def settings(bootstrap: str, prefix: str) -> Settings:
    return Settings.model_validate({
        "kafka": {"bootstrap": bootstrap, "topic_prefix": prefix, "partitions": PARTITIONS},
        "relays": {"main": {"host": "127.0.0.1"}, "other": {"host": "127.0.0.1"}},
        "domains": {"bore.example": {"relay": "main", "timezone": "America/Bogota"}},
    })  # fmt: skip


def context(kafka: Kafka, prefix: str, data: Path, slot: str = "0") -> Context:
    installation = InstallationRecord(
        id="test", partitions=PARTITIONS, clock=ClockRecord(epoch_real=0, epoch_virtual=0), product_version="0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return Context(settings(kafka.bootstrap, prefix), kafka, ScaledClock(), installation, slot, data)


class World:
    """Topics, and what is written to and read from them."""

    def __init__(self, kafka: Kafka, prefix: str, data: Path) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.data = data
        self.processes: list[subprocess.Popen[bytes]] = []
        self._readers: dict[str, tuple[TopicReader, list[Input]]] = {}
        admin = kafka.admin()
        new = [NewTopic(prefix + t.name, t.partitions or PARTITIONS, 1, config=t.config()) for t in all_topics()]
        for future in admin.create_topics(new).values():
            future.result(30)

    def put(self, topic: Topic, value: Any, key: str | None = None, partition: int | None = None) -> None:
        """Write as anybody would: a value of bytes as it is, any other as JSON."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        record = Record(self.prefix + topic.name, data, key.encode() if key is not None else None, partition)
        produce_all(self.kafka.producer(linger_ms=0), [record])

    def put_all(self, topic: Topic, values: list[Any]) -> None:
        """Write many, under no key."""
        records = [Record(self.prefix + topic.name, json.dumps(value).encode()) for value in values]
        produce_all(self.kafka.producer(linger_ms=0), records)

    def read(self, topic: Topic | str) -> list[Input]:
        """Everything on a topic, but perhaps for what has come in the last moments."""
        name = topic if isinstance(topic, str) else topic.name
        if name not in self._readers:
            self._readers[name] = TopicReader(self.kafka, self.prefix + name), []
        reader, found = self._readers[name]
        while (new := reader.read(0.02)) or not reader.at_end:
            found += new
        return list(found)

    def values(self, topic: Topic | str) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.read(topic) if record.value is not None]

    def wait(self, topic: Topic | str, condition: Any, timeout: float = 30.0) -> list[dict[str, Any]]:
        """The values of a topic, once they are as `condition` wants them."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = self.values(topic)
            return bool(condition(found))

        eventually(look, timeout, f"{topic}: {found[-3:]}", every=0.1)
        return found

    def progress(self, campaign_id: str) -> dict[str, Any]:
        found = [p for p in self.values("campaign.progress") if p.get("campaign_id") == campaign_id]
        return found[-1] if found else {}

    def process(self, slot: str = "0", *, stall: int = 0) -> subprocess.Popen[bytes]:
        """A planner as a process. With `stall` its plans stop after that batch, until `go_on`."""
        options: dict[str, object] = {
            "bootstrap": self.kafka.bootstrap,
            "prefix": self.prefix,
            "slot": slot,
            "data": str(self.data),
            "stall": stall,
        }
        options["embedded"] = self.kafka.embedded
        root = SCRIPT.parents[2]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests"), str(SCRIPT.parent)))}
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / f"planner-{slot}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, str(SCRIPT), json.dumps(options)], stderr=log, env=env)
        self.processes.append(process)
        return process

    def go_on(self) -> None:
        """Plans that stalled are to go on."""
        (self.data / "go-on").touch()

    def log(self, slot: str = "0") -> str:
        """What a planner process has said."""
        return (self.data / f"planner-{slot}.log").read_text()

    def has_planners(self, *slots: str) -> bool:
        """Whether these processes have taken up their partitions."""
        return all("Worker ready" in self.log(slot) for slot in slots)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
        for reader, _ in self._readers.values():
            reader.close()
