"""The whole pipeline under the product's own supervisor, with the processes that `rampa up` would start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pipeline import Pipeline, request

from console.stack import Stack
from simulator.process import SimulatorProcess
from simulator.record import RecordReader
from streams import process
from streams.clients import Kafka
from streams.restarts import Policy
from streams.supervisor import ChildStatus, Supervisor

QUICKLY = Policy(first_delay=0.2, longest_delay=1.0)
"""The supervisor's own pauses grow to half a minute when a worker dies again and again, as it does here on purpose."""
SETTINGS = """warm = true

[strategies.flood]
type = "batch"
batch_size = %(batch)d
interval_minutes = 0
max_batches_per_day = 1000000
concurrent_batches = 8

[roles]
planner = %(planners)d
gate = %(gates)d
sender = %(senders)d
"""


class Supervised(Pipeline):
    """`planners`, `gates` and `senders` processes, started again whenever they end. `batch`: recipients of each."""

    def __init__(
        self, kafka: Kafka, prefix: str, directory: Path, provider: SimulatorProcess, *, relay: Mapping[str, Any],
        planners: int = 2, gates: int = 2, senders: int = 3, batch: int = 500, partitions: int = 6,
    ) -> None:  # fmt: skip
        roles = {"planners": planners, "gates": gates, "senders": senders}
        own = {"messages_per_connection": 1000, **relay}
        more = SETTINGS % {**roles, "batch": batch}
        super().__init__(kafka, prefix, directory, provider, relay=own, partitions=partitions, more=more)
        self.batch = batch
        self.mailed: Counter[str] = Counter()
        """By address: how often the provider took a message to it, as far as `look` has read."""
        self._reader: RecordReader = provider.reader()
        self._supervisor: Supervisor | None = None

    def up(self) -> Self:
        """Start every process of every role."""
        children = Stack(self.settings, self.config).children()
        self._supervisor = Supervisor(children, self.directory / "logs", policy=QUICKLY, stop_timeout=15)
        self._supervisor.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._supervisor is not None:
            for worker in self.status():
                self.send(worker, signal.SIGCONT)
            self._supervisor.stop()
        super().__exit__(*exc)

    def status(self) -> list[ChildStatus]:
        """How each process stands."""
        assert self._supervisor is not None
        return self._supervisor.status()

    def one(self, name: str) -> ChildStatus:
        """How the process of that name stands, such as sender-1."""
        return next(s for s in self.status() if s.name == name)

    def owns(self, name: str) -> bool:
        """Whether the sender or gate that runs under that name now has partitions, by its log."""
        words = f"rampa-{name.partition('-')[0]}-"
        last = [line for line in self.one(name).log.read_text(errors="replace").splitlines() if words in line][-1:]
        return any(" owns [" in line for line in last)

    @staticmethod
    def send(worker: ChildStatus, number: signal.Signals) -> None:
        """A signal to the process as it was then; one that has ended meanwhile gets none."""
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def look(self) -> Counter[str]:
        """Read on in the provider's record."""
        for entry in self._reader.new():
            self.mailed.update(entry.recipients)
        return self.mailed

    def of(self, campaign_id: str) -> int:
        """How many messages of a campaign the provider has taken."""
        end = f"@{campaign_id}.example"
        return sum(n for address, n in self.look().items() if address.endswith(end))

    def flood(self, campaign_id: str, people: int, **more: Any) -> None:
        """Submit a campaign to p0, p1 ... of a domain of its own, all at once."""
        path = self.directory / f"{campaign_id}.csv"
        with path.open("w", encoding="ascii") as out:
            out.write("email,first_name\n")
            out.writelines(f"p{i}@{campaign_id}.example,Ana{i}\n" for i in range(people))
        self.submit(
            request(campaign_id, 0, recipients={"uri": path.as_uri()}, strategy={"type": "flood"}, **more), campaign_id
        )

    def rampa(self, *words: str) -> str:
        """What the command prints. Fails the test when it fails."""
        argv = [sys.executable, "-m", "console.cli.main", *words, "--config", str(self.config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def listed(self, campaign_id: str, state: str) -> list[str]:
        """The addresses that `rampa campaign recipients` lists in that state."""
        lines = self.rampa("campaign", "recipients", campaign_id, "--state", state, "--json").splitlines()
        return sorted(json.loads(line)["email"] for line in lines)

    def say(self, campaign_id: str, wanted: Iterable[str]) -> str:
        said = [f"{campaign_id} did not reach {sorted(wanted)}: {self.progress(campaign_id)!r}"]
        said += [f"--- {s.name}: {s}\n{process.tail(s.log, 12)}" for s in self.status()]
        return "\n".join(said)
