"""The whole of rampa on one machine: broker, topics, and a process for each role."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from console.access import OWN_BROKERS, broker_directory, kafka_of
from console.errors import ConsoleError
from console.installing import install
from console.mending import Mender
from schemas.records import InstallationRecord
from streams import lockfile
from streams.brokers.child import ChildBroker
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.local import LocalBroker
from streams.clients import Kafka, wait_for_broker
from streams.errors import LockTaken
from streams.lockfile import LockFile
from streams.settings import Settings
from streams.supervisor import Child, Supervisor


class Stack:
    """Started when entered, stopped in reverse order when left."""

    def __init__(self, settings: Settings, config: Path | None, say: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self.config = config
        self.say = say
        self.kafka: Kafka | None = None
        self.installation: InstallationRecord | None = None
        self.supervisor: Supervisor | None = None
        self.troubles: list[str] = []
        self._broker: ChildBroker | None = None
        self._mender: Mender | None = None
        self._lock: LockFile | None = None

    @property
    def logs(self) -> Path:
        """Where the roles write their logs."""
        return self.settings.data / "logs"

    def __enter__(self) -> Self:
        try:
            self._lock = _only_one(self.settings.data)
            self._start_broker()
            self.kafka = kafka_of(self.settings)
            wait_for_broker(self.kafka, 60, self.say)
            self.installation = install(self.settings, self.kafka)
            told = self.troubles.append
            self.supervisor = Supervisor(self.children(), self.logs, report=told, finishing=self._finishing)
            self.supervisor.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Roles first, each finishing what is on the wire, then the broker."""
        if self.supervisor is not None:
            self.supervisor.stop()
            self.supervisor = None
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def hurry(self) -> None:
        """Let `stop` wait for nothing: roles are killed, and what is on the wire is in doubt. For another thread, or
        the handler of a signal."""
        if (supervisor := self.supervisor) is not None:
            supervisor.hurry()

    def mend_broker(self) -> None:
        """Start the local broker again when its process has died, as often as it takes. Call it now and then.

        Raises ConsoleError when the embedded broker has died: what it held is gone, and starting it empty would
        make as if nothing had been sent.
        """
        if self._mender is not None:
            self._mender.look()
        elif self._broker is not None and not self._broker.running:
            raise ConsoleError(
                "The embedded broker has ended, and with it everything that it held in memory. Start again; for "
                'what must survive set kafka.bootstrap = "local".'
            )

    def _finishing(self, name: str, messages: int) -> None:
        self.say(
            f"{name} waits for the replies to {messages} messages on the wire; "
            "Ctrl-C once more ends at once and leaves them in doubt"
        )

    def children(self) -> list[Child]:
        """One child a process; the planner first, the sender last."""
        roles = self.settings.roles
        wanted = (("planner", roles.planner), ("gate", roles.gate), ("sender", roles.sender))
        return [self._child(role, n) for role, count in wanted for n in range(1, count + 1)]

    def _child(self, role: str, n: int) -> Child:
        argv = [sys.executable, "-m", "console.cli.main", "worker", role, "--slot", str(n)]
        if self.config is not None:
            argv += ["--config", str(self.config)]
        return Child(f"{role}-{n}", argv, {})

    def _start_broker(self) -> None:
        kind = self.settings.kafka.bootstrap
        if kind not in OWN_BROKERS:
            return
        directory = broker_directory(self.settings)
        port = self.settings.kafka.port or None
        if kind == "embedded":
            self._broker = EmbeddedBroker(directory, port=port)
        else:
            self._broker = LocalBroker(directory, port=port)
        self.say(f"starting the {kind} broker")
        self._broker.start()
        if kind == "local":
            self._mender = Mender(self._broker, self.troubles.append)


def _only_one(data: Path) -> LockFile:
    """Hold the data directory for this process's life. Raises ConsoleError when another one has it."""
    try:
        held = lockfile.take(data / "up.lock")
    except LockTaken as e:
        raise ConsoleError(
            f'rampa is already up on the data directory "{data}"'
            + (f" (process {e.note})" if e.note else "")
            + ". Use that one, stop it first, or set another `data` in the settings."
        ) from None
    held.note(str(os.getpid()))
    return held
