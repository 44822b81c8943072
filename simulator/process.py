"""The simulator as a child process, for tests, demo and benches.

with SimulatorProcess(directory, rules=[LimitConnections(most=3)]) as provider:
    ...  # mail to provider.host, provider.port
    taken = list(provider.records())
provider.stats["peak_connections"]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from simulator.errors import StartError
from simulator.record import RecordEntry, RecordReader, read_record
from simulator.rules import Rule, dump_rules
from simulator.settings import DEFAULTS, Settings


class SimulatorProcess:
    """One server process with its files in `directory`; it dies with the thread that started it.

    The record outlives the process: a new one on the same directory appends to it. `port` 0 takes a
    free port, which later starts of the same object keep. `record` False only counts.
    """

    def __init__(
        self,
        directory: Path,
        *,
        rules: Iterable[Rule] = (),
        settings: Settings = DEFAULTS,
        port: int = 0,
        record: bool = True,
        maildir: bool = False,
        start_seconds: float = 20.0,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.stats: dict[str, Any] = {}
        self.record_path = directory / "record.jsonl"
        self.maildir_path = directory / "maildir"
        self._directory = directory
        self._rules = tuple(rules)
        self._settings = settings
        self._record = record
        self._maildir = maildir
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, for signals.

        Raises:
            StartError: it does not run.
        """
        if self._process is None:
            raise StartError("The simulator does not run; call start().")
        return self._process.pid

    def start(self) -> None:
        """Starts the process and waits until it listens.

        Raises:
            StartError: it ended or did not listen in time; the message has its error output.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        port_file = self._directory / "port"
        port_file.unlink(missing_ok=True)
        with (self._directory / "simulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(port_file), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        deadline = time.monotonic() + self._start_seconds
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise StartError(f"The simulator did not start: {self._log()}")
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def _command(self, port_file: Path) -> list[str]:
        rules, settings = self._directory / "rules.json", self._directory / "settings.json"
        rules.write_bytes(dump_rules(self._rules))
        settings.write_text(self._settings.model_dump_json())
        command = [sys.executable, "-m", "simulator", "--host", self.host, "--port", str(self.port)]
        command += ["--port-file", str(port_file), "--rules", str(rules), "--settings", str(settings)]
        command += ["--die-with-parent", str(os.getpid())]
        command += ["--record", str(self.record_path)] if self._record else []
        return command + (["--maildir", str(self.maildir_path)] if self._maildir else [])

    def _log(self) -> str:
        return (self._directory / "simulator.log").read_text(errors="replace").strip() or "no error output"

    def stop(self, seconds: float = 10.0) -> dict[str, Any]:
        """Ends the process by SIGTERM (SIGKILL after `seconds`); gives its figures, also kept in `stats`."""
        process, self._process = self._process, None
        if process is None:
            return self.stats
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a suspended one would not hear
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        self.stats = json.loads(output) if output else {}
        return self.stats

    def kill(self) -> None:
        """Ends the process by SIGKILL, as a crash would; there are no figures then."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def suspend(self) -> None:
        """Stops it in its tracks (SIGSTOP): connections stay open and silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Lets it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def records(self) -> Iterator[RecordEntry]:
        """All that was taken so far, by the server's own record; raises RecordError."""
        return read_record(self.record_path)

    def reader(self) -> RecordReader:
        """For reading what is new, again and again."""
        return RecordReader(self.record_path)
