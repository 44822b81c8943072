"""What the brokers that we start ourselves have in common: a child process that holds a directory's lock."""

from __future__ import annotations

import re
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from streams import process
from streams.brokers.lock import Running, lock
from streams.brokers.ready import wait_until_ready
from streams.clients import Kafka
from streams.lockfile import LockFile

_TROUBLE = re.compile(r"\b(ERROR|FATAL|WARN)\b|Exception|Error:|Caused by")


def last_words(text: str, most: int = 8) -> str:
    """The last lines of a broker's log that say of trouble, without where in its code; its last ones when none does."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("\t", "    at "))]
    found = [line for line in lines if _TROUBLE.search(line)] or lines
    return "\n".join(found[-most:]) or "(nothing)"


class ChildBroker(ABC):
    """A broker as a child process: up when the context is entered, gone when it is left or we die.

    `directory` holds its lock and its log, `broker.log`.
    """

    stop_within = 30.0
    """Seconds that a clean stop may take."""

    def __init__(self, directory: Path, port: int | None, start_timeout: float) -> None:
        self.directory = directory
        self.log = directory / "broker.log"
        self._port = port or 0
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: LockFile | None = None

    @property
    def bootstrap(self) -> str:
        """Its address; known once it was started."""
        return f"127.0.0.1:{self._port}"

    @property
    @abstractmethod
    def kafka(self) -> Kafka:
        """Clients for it."""

    @property
    def pid(self) -> int | None:
        """Its process, or None when it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Kafka:
        """Start it and return when clients can work.

        Raises BrokerAlreadyRunning, BrokerNotInstalled, BrokerStartFailed.
        """
        self._find()
        self._lock = lock(self.directory)
        before = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._process = self._launch(self._lock)
            self._lock.note(Running(self._process.pid, self.bootstrap).note())
            self._lock.release()  # from now on the broker's process alone holds it
            wait_until_ready(
                self.kafka,
                time.monotonic() + self._start_timeout,
                died=lambda: not self.running,
                explain=lambda: f"Its log is {self.log}; it says:\n{last_words(process.tail(self.log, 200, before))}",
            )
        except BaseException:
            self.kill()
            raise
        return self.kafka

    @abstractmethod
    def _find(self) -> None:
        """What it needs on this machine. Raises BrokerNotInstalled."""

    @abstractmethod
    def _launch(self, held: LockFile) -> subprocess.Popen[bytes]:
        """Its process, which takes `held` over. Raises BrokerStartFailed."""

    def stop(self, deadline: float | None = None) -> None:
        """Shut it down cleanly; kill it when that takes longer than `deadline` seconds (default: `stop_within`)."""
        if self._process is not None:
            process.stop(self._process, self.stop_within if deadline is None else deadline)
            self._process = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
