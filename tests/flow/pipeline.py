"""The whole pipeline as real processes on a broker, mailing a simulated provider on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from waiting import eventually

from console.access import Access, broker_directory
from console.clock import clock_of
from console.installing import install
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_PROGRESS, CAMPAIGN_REQUESTS, DOMAIN_COMMANDS, Topic
from simulator.process import SimulatorProcess
from simulator.record import RecordEntry
from streams import process
from streams.brokers.lock import Running, lock
from streams.clients import Kafka, Record, produce_all
from streams.clock import ScaledClock
from streams.fenced import Fenced, Input
from streams.lockfile import LockFile
from streams.settings import load
from streams.table import GlobalTable, read_topic

ENDED = frozenset({"completed", "cancelled", "rejected", "failed"})


class Pipeline:
    """Settings, topics and worker processes under one prefix. Everything stops when it is left."""

    def __init__(
        self,
        kafka: Kafka,
        prefix: str,
        directory: Path,
        provider: SimulatorProcess | None = None,
        *,
        speed: float = 1.0,
        start: str | None = None,
        relay: Mapping[str, Any] | None = None,
        more: str = "",
        assume: str = "healthy",
        timezone: str = "UTC",
        partitions: int = 4,
    ) -> None:
        self.directory = directory
        self.provider = provider
        self.config = directory / "rampa.toml"
        port = provider.port if provider is not None else process.free_port()
        own = {"host": "127.0.0.1", "port": port, "tls": "none", "connections": 5, **(relay or {})}
        bootstrap = "embedded" if kafka.embedded else kafka.bootstrap
        lines = [
            f"data = {json.dumps(str(directory / 'var'))}",
            "[kafka]", f'bootstrap = "{bootstrap}"', f'topic_prefix = "{prefix}"', f"partitions = {partitions}",
            "[clock]", f"speed = {speed}", *([f'start = "{start}"'] if start else []),
            "[warmup]", f'assume = "{assume}"',
            "[relays.main]", *[f"{name} = {json.dumps(value)}" for name, value in own.items()],
            '[domains."bore.example"]', 'relay = "main"', f'timezone = "{timezone}"',
            more,
        ]  # fmt: skip
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.settings = load(self.config, {})
        self._broker = self._told(kafka) if kafka.embedded else None
        self.access = Access(self.settings, kafka)
        self.installation = install(self.settings, kafka)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._table: GlobalTable[CampaignProgress] | None = None

    @property
    def clock(self) -> ScaledClock:
        return clock_of(self.installation)

    def _told(self, kafka: Kafka) -> LockFile:
        """Processes find the embedded broker as those of `rampa up` do: they must know of which kind it is."""
        held = lock(broker_directory(self.settings))
        held.note(Running(os.getpid(), kafka.bootstrap).note())
        return held

    def __enter__(self) -> Self:
        self._table = self.access.table(CAMPAIGN_PROGRESS, CampaignProgress)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
        for worker in reversed(self.workers.values()):
            process.stop(worker, 5)
        if self._table is not None:
            self._table.close()
        if self._broker is not None:
            self._broker.release()

    def start(self, *roles: str) -> Self:
        """Start `role` or `role-slot` for each name; without names one of each role."""
        for name in roles or ("planner-1", "gate-1", "sender-1"):
            role, _, slot = name.partition("-")
            argv = [sys.executable, "-m", "console.cli.main", "worker", role, "--slot", slot or "1"]
            self.workers[f"{role}-{slot or '1'}"] = process.start(
                [*argv, "--config", str(self.config)], self.directory / f"{role}-{slot or '1'}.log"
            )
        return self

    def signal(self, name: str, number: signal.Signals) -> None:
        self.workers[name].send_signal(number)
        if number == signal.SIGKILL:
            self.workers[name].wait(10)

    def restart(self, name: str) -> None:
        self.start(name)

    def stop(self, name: str, deadline: float = 20.0) -> int:
        return process.stop(self.workers[name], deadline)

    def put(self, topic: Topic, key: str | None, value: Any) -> None:
        """Write one record as a stranger would: bytes as they are, anything else as JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        record = Record(self.access.name(topic), body, None if key is None else key.encode())
        produce_all(self.access.kafka.producer(linger_ms=0), [record])

    def submit(self, request: Mapping[str, Any], key: str | None = None) -> None:
        self.put(CAMPAIGN_REQUESTS, key, dict(request))

    def command(self, campaign_id: str, action: str, **more: Any) -> None:
        self.put(CAMPAIGN_COMMANDS, campaign_id, {"campaign_id": campaign_id, "action": action, **more})

    def domain_command(self, domain: str, action: str, **more: Any) -> None:
        self.put(DOMAIN_COMMANDS, domain, {"domain": domain, "action": action, **more})

    def _tend(self) -> None:
        """As every supervisor does: who left because its work went to another, as load alone can cause, comes back."""
        for name, worker in list(self.workers.items()):
            if worker.poll() == Fenced.exit_code:
                self.start(name)

    def progress(self, campaign_id: str) -> CampaignProgress | None:
        self._tend()
        assert self._table is not None
        return self._table.get(campaign_id)

    def wait(self, campaign_id: str, *states: str, timeout: float = 60.0) -> CampaignProgress:
        """Wait until the campaign is in one of the states (default: it has ended)."""
        wanted = frozenset(states) or ENDED

        def there() -> CampaignProgress | None:
            found = self.progress(campaign_id)
            return found if found is not None and found.state in wanted else None

        found = eventually(there, timeout, lambda: self.say(campaign_id, wanted))
        assert isinstance(found, CampaignProgress)
        return found

    def wait_hold(self, campaign_id: str, reason: str, timeout: float = 40.0) -> CampaignProgress:
        """Wait until a hold of the campaign has this reason."""

        def there() -> CampaignProgress | None:
            found = self.progress(campaign_id)
            return found if found is not None and any(h.reason == reason for h in found.holds) else None

        found = eventually(there, timeout, lambda: self.say(campaign_id, {reason}))
        assert isinstance(found, CampaignProgress)
        return found

    def mails(self) -> list[RecordEntry]:
        self._tend()
        assert self.provider is not None
        return list(self.provider.records())

    def newest(self, topic: Topic, model: Any) -> dict[str, Any]:
        return self.access.newest(topic, model)

    def dead_letters(self, topic: Topic) -> list[dict[str, str]]:
        def plain(r: Input) -> dict[str, str]:
            return {n: v.decode() for n, v in r.headers} | {"value": (r.value or b"").decode("utf-8", "replace")}

        return [plain(r) for r in read_topic(self.access.kafka, self.access.name(topic) + ".dlq")]

    def say(self, campaign_id: str, wanted: Iterable[str]) -> str:
        """What to show when a wait ran out."""
        logs = "\n".join(f"--- {n}\n{process.tail(self.directory / f'{n}.log', 12)}" for n in self.workers)
        return f"{campaign_id} did not reach {sorted(wanted)}: {self.progress(campaign_id)!r}\n{logs}"


def request(campaign_id: str, n: int = 3, **more: Any) -> dict[str, Any]:
    """A small campaign that goes out at once, to `n` addresses in the request."""
    rows = [{"email": f"p{i}@{campaign_id.lower()}.example", "first_name": f"Ana{i}"} for i in range(n)]
    return {
        "campaign_id": campaign_id,
        "from": {"email": "cobros@bore.example", "name": "Bore"},
        "template": {"subject": "Hola {{ first_name }}", "html": "<p>Hola {{ first_name }}</p>"},
        "recipients": {"inline": rows},
        "strategy": {"type": "batch"},
        "schedule": {"window": None, "skip_weekends": False},
        **more,
    }
