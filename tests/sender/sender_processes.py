"""Sender processes of a test, on one installation, and the provider that they mail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sending import Gate, recipients_of
from waiting import eventually

from simulator.process import SimulatorProcess
from streams import process
from streams.clients import Kafka


@dataclass
class SenderProcesses:
    """Killed when left."""

    kafka: Kafka
    prefix: str
    directory: Path
    mailbox: SimulatorProcess
    gate: Gate
    """Played by the test."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, slot: str) -> None:
        argv = [sys.executable, str(Path(__file__).with_name("sender_worker.py"))]
        argv += [self.kafka.bootstrap, self.prefix, slot, str(self.mailbox.port), str(self.directory)]
        argv += ["embedded"] if self.kafka.embedded else []
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self.running[slot] = process.start(argv, self.directory / f"{slot}.log", env=environment)

    def log(self, slot: str) -> str:
        return (self.directory / f"{slot}.log").read_text(errors="replace")

    def signal(self, slot: str, number: signal.Signals) -> None:
        self.running[slot].send_signal(number)

    def mailed(self) -> Counter[str]:
        return recipients_of(self.mailbox.records())

    def until_mailed(self, n: int) -> None:
        eventually(lambda: self.mailed().total() >= n, 60, lambda: f"{n} mails; {self.mailed().total()} came")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.running.values():
            if one.poll() is None:
                one.send_signal(signal.SIGCONT)
                one.kill()
                one.wait()
