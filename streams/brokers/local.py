"""Apache Kafka on this machine: one KRaft node, durable in a data directory, no containers.

It listens on 127.0.0.1 only. Acknowledged records survive `kill -9` of the broker and of us; what a loss of
power takes is what the operating system had not yet written, as with any single Kafka node.

    python -m streams.brokers.local fetch|start|stop|status [--data DIR] [--port N] [--home DIR]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from streams import process
from streams.brokers.child import ChildBroker
from streams.brokers.jars import classpath, default_home, fetch, find_java
from streams.brokers.lock import running
from streams.clients import Kafka
from streams.errors import BrokerStartFailed, StreamsError
from streams.lockfile import LockFile

SESSION_TIMEOUT_MS = 6_000
QUICK = ("-XX:TieredStopAtLevel=1",)
"""JVM options for short lives (tests): half the CPU to start, less throughput later."""

_JVM = ("-Xms128m", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError")
_LOG4J = Path(__file__).with_name("log4j2.properties")
_RECORDS = "records"


class LocalBroker(ChildBroker):
    """Apache Kafka as a child process; clients can work 3-8 s after its start, a second later the first time.

    `home` has the jars, `data_dir` everything else: records, settings, log, lock. Without a `port` it takes
    the one that it had at its last start, or any free one. With `bound` false it lives on without us.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        home: Path | None = None,
        heap: str = "512m",
        jvm_options: tuple[str, ...] = (),
        start_timeout: float = 90.0,
        bound: bool = True,
    ) -> None:
        super().__init__(data_dir.absolute(), port, start_timeout)
        self.home = (home or default_home()).absolute()
        self._wanted_port = self._port
        self._jvm = (f"-Xmx{heap}", *_JVM, *jvm_options)
        self._bound = bound
        self._java = self._jars = ""

    @property
    def kafka(self) -> Kafka:
        """Clients for it."""
        return Kafka(self.bootstrap, session_timeout_ms=SESSION_TIMEOUT_MS)

    def start(self) -> Kafka:
        """Start it and return when clients can work; another start of this object uses the same port.

        Raises BrokerAlreadyRunning, BrokerNotInstalled, BrokerStartFailed.
        """
        kafka = super().start()
        self._wanted_port = self._port  # its clients know it by that
        return kafka

    def _find(self) -> None:
        self._java, self._jars = find_java(), classpath(self.home)

    def _configure(self) -> None:
        remembered = self.directory / "ports.json"
        before: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            before = json.loads(remembered.read_text(encoding="ascii"))
        self._port = self._choose_port(self._wanted_port, before.get("port", 0))
        controller = self._choose_port(0, before.get("controller", 0))
        remembered.write_text(json.dumps({"port": self._port, "controller": controller}), encoding="ascii")
        settings = server_properties(self._port, controller)
        (self.directory / "server.properties").write_text(settings, encoding="ascii")

    @staticmethod
    def _choose_port(wanted: int, before: int) -> int:
        if wanted:
            if not process.port_is_free(wanted):
                raise BrokerStartFailed(
                    f"Port {wanted} on 127.0.0.1 is taken. Stop what listens there, or set kafka.port to another."
                )
            return wanted
        return before if before and process.port_is_free(before) else process.free_port()

    def _format(self) -> None:
        if (self.directory / _RECORDS / "meta.properties").exists():
            return
        done = subprocess.run(
            [*self._command(QUICK), "kafka.tools.StorageTool", "format",
             "--cluster-id", new_cluster_id(), "--config", "server.properties"],
            cwd=self.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BrokerStartFailed(
                f"Apache Kafka could not format {self.directory / _RECORDS}: {done.stdout}{done.stderr}".strip()
            )

    def _launch(self, held: LockFile) -> subprocess.Popen[bytes]:
        self._configure()
        self._format()
        return process.start(
            [*self._command(self._jvm), "kafka.Kafka", "server.properties"],
            self.log,
            cwd=self.directory,
            bound=self._bound,
            keep_open=[held.fd],
        )

    def _command(self, options: tuple[str, ...]) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={_LOG4J.absolute().as_uri()}"
        return [self._java, *options, "-cp", self._jars, log4j]


def server_properties(port: int, controller: int) -> str:
    """The broker's settings. The directory of records is relative: the broker runs in its data directory."""
    return f"""\
# Written at each start; changes are lost.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={_RECORDS}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# One node: nothing to replicate to, and few partitions load fast.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# An installation that was off for a month must find its place again (default: 7 days).
offsets.retention.minutes=525600
# A restart takes 4 s instead of 13: the controller forgets the previous incarnation sooner.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# A small heap: the default takes 128 MB of it for compaction alone.
log.cleaner.dedupe.buffer.size=33554432
num.network.threads=2
num.io.threads=4
"""


def new_cluster_id() -> str:
    """A random id as Kafka writes it: 16 bytes, URL-safe, and no dash in front, which reads as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text


def stop_running(data_dir: Path, deadline: float = 30.0) -> bool:
    """Stop the broker that runs on `data_dir`, whoever started it. False when none does."""
    found = running(data_dir)
    if found is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    end = time.monotonic() + deadline
    while running(data_dir) is not None:
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGKILL)
            end = time.monotonic() + deadline
        time.sleep(0.05)
    return True


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit status 0 done, 1 failed (or, for status, not running)."""
    parser = argparse.ArgumentParser(prog="python -m streams.brokers.local", description="Apache Kafka here")
    parser.add_argument("command", choices=["fetch", "start", "stop", "status"])
    parser.add_argument("--home", type=Path, default=default_home(), help="where the jars are")
    parser.add_argument("--data", type=Path, help="where the records are (default: HOME/data)")
    parser.add_argument("--port", type=int, default=9092)
    options = parser.parse_args(argv)
    data: Path = options.data or options.home / "data"
    try:
        return _run(options.command, options.home, data, options.port)
    except StreamsError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(command: str, home: Path, data: Path, port: int) -> int:
    status = 0
    if command == "fetch":
        said = f"Apache Kafka's jars are in {fetch(home)}"
    elif command == "start":
        said = f"Apache Kafka runs at {LocalBroker(data, port, home=home, bound=False).start().bootstrap}"
    elif command == "stop":
        said = "stopped" if stop_running(data) else f"no broker runs on {data}"
    else:
        found = running(data)
        said = f"process {found.pid} at {found.bootstrap}" if found else f"no broker runs on {data}"
        status = 0 if found else 1
    sys.stdout.write(f"{said}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
