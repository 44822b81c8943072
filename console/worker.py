"""One worker process: a role with its settings, broker, clock and stop signal."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from console.access import data_id, kafka_of, sending_settings_of, settings_of
from console.asked import Asked
from console.clock import clock_of
from console.errors import ConsoleError, WrongUsage
from console.installing import install
from streams import lockfile
from streams.clients import wait_for_broker
from streams.context import Context
from streams.errors import LockTaken

ROLES = ("planner", "gate", "sender")
PREDECESSOR_MAY_TAKE = 10.0
"""Real seconds in which a process that is just ending may still hold its slot."""


def run_worker(role: str, slot: str, config: Path | None, bootstrap_wait: float = 300.0) -> int:
    """Run a role until SIGTERM or SIGINT. Returns 0 when it was stopped. Raises WrongUsage for a role there is not.

    A second signal ends the process at once, with 130, as if it were killed: what is on the wire is in doubt then.

    Ends the process with 3 when another one took over or a transaction failed (start again), and with 4 when an
    operator has to decide."""
    from streams.fenced import FencedProcessingError

    if role not in ROLES:
        raise WrongUsage(f"{role!r} is not a role of this release; known: {', '.join(ROLES)}")
    logging.basicConfig(
        level=os.environ.get("RAMPA_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    log = logging.getLogger(f"rampa.{role}")
    runner = _runner(role)
    stop = threading.Event()
    asked = Asked(stop.set, _at_once)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.once_more())
    faulthandler.register(signal.SIGUSR1)  # where every thread is, into the log: `kill -USR1 PID`
    context = _context(role, slot, config, bootstrap_wait, log)
    try:
        runner(context, stop)
    except FencedProcessingError as e:
        log.warning("leaving: %s", e)
        # At once: nothing that other threads still hold may reach a wire.
        logging.shutdown()
        os._exit(e.exit_code)
    return 0


def _at_once() -> None:
    os._exit(130)


def _context(role: str, slot: str, config: Path | None, wait: float, log: logging.Logger) -> Context:
    settings = sending_settings_of(config) if role == "sender" else settings_of(config)
    data = settings.data / role / slot
    hold_slot(data, role, slot)
    kafka = kafka_of(settings)
    wait_for_broker(kafka, wait, log.warning)
    record = install(settings, kafka)
    own = data_id(settings.data)
    return Context(settings, kafka, clock_of(record), record, f"{own}-{slot}", data)


def hold_slot(data: Path, role: str, slot: str, patience: float = PREDECESSOR_MAY_TAKE) -> None:
    """Take a role's slot of a data directory for as long as this process lives.

    Two processes with one slot would have one transactional id and put each other out without end. Raises
    ConsoleError when another holds it still after `patience` seconds.
    """
    try:
        held = lockfile.take(data / "worker.lock", patience)
    except LockTaken as e:
        raise ConsoleError(
            f"{role} {slot!r} of this data directory runs already (process {e.note or 'unknown'}); `rampa up` starts "
            "slot 1 of each role. Give a further process a slot of its own: --slot NAME."
        ) from None
    held.note(str(os.getpid()))


def _runner(role: str) -> Callable[[Context, threading.Event], None]:
    if role == "planner":
        from planner.app import run
    elif role == "gate":
        from sender.gate.app import run
    else:
        from sender.app import run
    return run
