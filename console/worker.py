"""One worker process: a role with its settings, broker, clock and stop signal."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from console.access import data_id, kafka_of, settings_of
from console.clock import clock_of
from console.errors import ConsoleError
from console.installing import install
from streams.clients import wait_for_broker
from streams.context import Context

ROLES = ("planner", "gate", "sender")
FENCED_EXIT = 3


def run_worker(role: str, slot: str, config: Path | None, bootstrap_wait: float = 300.0) -> int:
    """Run a role until SIGTERM or SIGINT. Returns the exit code: 0 stopped, 3 another process took over."""
    from streams.fenced import Fenced

    logging.basicConfig(
        level=os.environ.get("RAMPA_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    log = logging.getLogger(f"rampa.{role}")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    context = _context(role, slot, config, bootstrap_wait, log)
    try:
        _runner(role)(context, stop)
    except Fenced as e:
        log.warning("another process owns these partitions now, leaving: %s", e)
        # At once: nothing that other threads still hold may reach a wire.
        logging.shutdown()
        os._exit(FENCED_EXIT)
    return 0


def _context(role: str, slot: str, config: Path | None, wait: float, log: logging.Logger) -> Context:
    settings = settings_of(config)
    kafka = kafka_of(settings)
    wait_for_broker(kafka, wait, log.warning)
    record = install(settings, kafka)
    own = data_id(settings.data)
    data = settings.data / role / slot
    data.mkdir(parents=True, exist_ok=True)
    return Context(settings, kafka, clock_of(record), record, f"{own}-{slot}", data)


def _runner(role: str) -> Callable[[Context, threading.Event], None]:
    if role == "planner":
        from planner.app import run
    elif role == "gate":
        from sender.gate.app import run
    elif role == "sender":
        from sender.app import run
    else:
        raise ConsoleError(f"{role!r} is not a role of this release; known: {', '.join(ROLES)}")
    return run
