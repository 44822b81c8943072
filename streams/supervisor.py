"""Starts worker processes, starts them again when they end, stops them in reverse order.

Each worker's output goes to a log file of its own. One thread starts and watches all of them; the workers are
killed by the kernel when that thread, and so the supervisor, ends in whatever way. Use it from any thread
(`start`, `stop`, or as a context), as a program (`run`), or from asyncio (`serve`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from streams import finishing, process
from streams.restarts import DEFAULT_POLICY, Policy, decide, describe_end

_log = logging.getLogger(__name__)
_TELL = 10.0  # seconds between two words on one that finishes
_TICK = 0.1  # seconds between looks at the children
_LOG_LIMIT = 32 * 1024 * 1024  # bytes: a longer log is put aside as NAME.log.1


@dataclass(frozen=True, slots=True)
class Child:
    """A worker process; `env` is added to ours."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """How a worker stands: `since` and `next_start` in seconds from now (into the past, into the future)."""

    name: str
    state: Literal["running", "waiting", "stopped"]
    pid: int | None
    since: float
    starts: int
    last_end: str | None
    next_start: float | None
    log: Path


@dataclass(slots=True)
class _Worker:
    child: Child
    log: Path
    process: subprocess.Popen[bytes] | None = None
    changed: float = 0.0
    starts: int = 0
    failures: int = 0
    last_end: str | None = None
    due: float | None = None
    shown: int = 0
    cut_at: int = field(default_factory=lambda: _LOG_LIMIT)

    @property
    def finishing(self) -> Path:
        """Where it says that it still finishes."""
        return self.log.with_suffix(".finishing")


class Supervisor:
    """Keeps `children` running from `start` to `stop`; their logs are `logs/NAME.log`.

    `stop_timeout` is how long each may take to end after SIGTERM, or after it last said that it still finishes
    (`streams.finishing`), before it is killed. `report` is told when a worker ends again and again; `finishing` the
    name of one that finishes and how many messages it waits for, now and then. `echo`, which may be set at any time,
    gets every new line of every log with the worker's name before it.
    """

    def __init__(
        self,
        children: Sequence[Child],
        logs: Path,
        *,
        policy: Policy = DEFAULT_POLICY,
        stop_timeout: float = 30.0,
        report: Callable[[str], None] = _log.error,
        finishing: Callable[[str, int], None] = lambda _name, _messages: None,
        echo: Callable[[str], None] | None = None,
    ) -> None:
        self.echo = echo
        self._policy = policy
        self._stop_timeout = stop_timeout
        self._report = report
        self._finishing = finishing
        self._workers = [_Worker(child, logs / f"{child.name}.log") for child in children]
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start all children, in order. Raises OSError when a log cannot be written."""
        self._thread = threading.Thread(target=self._main, name="supervisor", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.stop()
            raise self._failure

    def request_stop(self) -> None:
        """Ask for the end, without waiting; asking twice kills what has not ended yet."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def stop(self) -> None:
        """Stop all children in reverse order, each finishing what it does; returns when all have ended."""
        self._stopping.set()
        while not self.wait(0.5):  # so that a signal's handler runs meanwhile
            pass

    def hurry(self) -> None:
        """Kill now what has not ended yet. Does not wait."""
        self._hurry.set()
        self._stopping.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody asked for the end and all children have ended; False when it takes longer."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def run(self) -> None:
        """Run until SIGTERM or SIGINT. Call it in the main thread."""
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            while not self.wait(0.5):
                pass
        finally:
            self.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    async def serve(self) -> None:
        """The same for asyncio: run until SIGTERM, SIGINT or cancellation."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        try:
            await asyncio.to_thread(self.start)
            await asyncio.to_thread(self.wait)
        finally:
            await asyncio.shield(asyncio.to_thread(self.stop))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def status(self) -> list[ChildStatus]:
        """How each child stands now, in the order of starting."""
        now = time.monotonic()
        return [_status(replace(worker), now) for worker in self._workers]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.request_stop()

    def _main(self) -> None:
        try:
            for worker in self._workers:
                self._launch(worker)
            self._started.set()
            while not self._stopping.wait(_TICK):
                self._look(time.monotonic())
        except BaseException as error:  # noqa: BLE001 - raised in `start`, or at least said; then all are stopped
            self._failure = error
            if self._started.is_set():
                self._report(f"The supervisor failed and stops all workers: {error!r}")
        finally:
            try:
                for worker in reversed(self._workers):
                    self._end(worker)
                self._show()
            finally:
                self._started.set()

    def _look(self, now: float) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is not None:
                self._on_end(worker, worker.process.returncode, now)
            elif worker.due is not None and now >= worker.due:
                self._launch(worker)
        self._show()
        for worker in self._workers:
            if worker.shown > worker.cut_at:
                _cut(worker)

    def _launch(self, worker: _Worker) -> None:
        _put_aside(worker.log)
        worker.shown = worker.log.stat().st_size if worker.log.exists() and not worker.starts else worker.shown
        env = {**os.environ, **worker.child.env, finishing.ENV: str(worker.finishing)}
        worker.process = process.start(worker.child.argv, worker.log, env=env)
        worker.starts += 1
        worker.due, worker.changed = None, time.monotonic()

    def _on_end(self, worker: _Worker, returncode: int, now: float) -> None:
        lived = now - worker.changed
        decision = decide(worker.failures, lived, self._policy)
        worker.process, worker.changed = None, now
        worker.failures, worker.due = decision.failures, now + decision.delay
        worker.last_end = describe_end(returncode)
        name = worker.child.name
        _log.warning("%s ended (%s) after %.1f s; next start in %.1f s", name, worker.last_end, lived, decision.delay)
        if decision.report:
            self._report(
                f"{name} ended {decision.failures} times in a row, the last time after {lived:.1f} s "
                f"({worker.last_end}). It is started again, at longest every {self._policy.longest_delay:g} s. "
                f"Its log, {worker.log}, ends:\n{process.tail(worker.log)}"
            )

    def _end(self, worker: _Worker) -> None:
        running = worker.process
        if running is not None:
            self._let_finish(worker, running)
            if running.poll() is None:
                running.kill()
                running.wait()
            worker.last_end = describe_end(running.returncode)
        with contextlib.suppress(OSError):
            worker.finishing.unlink()
        worker.process, worker.due, worker.changed = None, None, time.monotonic()

    def _let_finish(self, worker: _Worker, running: subprocess.Popen[bytes]) -> None:
        """SIGTERM; returns when it has ended, or should have."""
        heard, told = finishing.Heard(worker.finishing), float("-inf")
        if running.poll() is None:
            running.terminate()
        deadline = time.monotonic() + self._stop_timeout
        while running.poll() is None and time.monotonic() < deadline and not self._hurry.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(_TICK)
            if (messages := heard.news()) is not None:
                now = time.monotonic()
                deadline = now + self._stop_timeout
                if now - told >= _TELL:
                    told = now
                    self._finishing(worker.child.name, messages)

    def _show(self) -> None:
        echo = self.echo
        for worker in self._workers:
            for line in _new_lines(worker):
                if echo is not None:
                    echo(f"{worker.child.name} | {line}")


def _status(worker: _Worker, now: float) -> ChildStatus:
    state: Literal["running", "waiting", "stopped"] = (
        "running" if worker.process is not None else "waiting" if worker.due is not None else "stopped"
    )
    return ChildStatus(
        name=worker.child.name,
        state=state,
        pid=worker.process.pid if worker.process is not None else None,
        since=now - worker.changed if worker.changed else 0.0,
        starts=worker.starts,
        last_end=worker.last_end,
        next_start=max(0.0, worker.due - now) if worker.due is not None else None,
        log=worker.log,
    )


def _put_aside(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_name(f"{log.name}.1"))


def _cut(worker: _Worker) -> None:
    """Put a log aside whose worker writes to it: copied, then emptied, since the worker appends to the file that it
    has open. What it writes in between is lost."""
    aside = worker.log.with_name(f"{worker.log.name}.1")
    part = aside.with_name(f"{aside.name}.part")
    try:
        shutil.copyfile(worker.log, part)
        part.replace(aside)
        os.truncate(worker.log, 0)
    except OSError as error:
        worker.cut_at = worker.shown + _LOG_LIMIT
        _log.warning("%s cannot be put aside: %s", worker.log, error)
    else:
        worker.shown, worker.cut_at = 0, _LOG_LIMIT


def _new_lines(worker: _Worker) -> Iterator[str]:
    """Whole lines that were not shown yet."""
    with contextlib.suppress(OSError), worker.log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size < worker.shown:
            worker.shown = 0
        stream.seek(worker.shown)
        whole, newline, _rest = stream.read(size - worker.shown).rpartition(b"\n")
        worker.shown += len(whole) + len(newline)
        yield from whole.decode("utf-8", "replace").splitlines()
