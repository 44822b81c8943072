"""A planner process for tests: planner_worker.py '{"bootstrap": ..., "prefix": ..., "slot": ..., "data": ...}'."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from planner_world import context

from planner import app
from planner.batches import PlannedBatch
from planner.writer import Writer
from schemas.campaign import Campaign
from streams.clients import Kafka
from streams.table import TopicReader


def lose_tables(*_: object) -> None:
    """SIGUSR1: from now on no topic can be followed."""

    def read(_: TopicReader, timeout: float) -> NoReturn:
        raise OSError("the test took it away")

    TopicReader.read = read  # type: ignore[method-assign, assignment]


def stall(number: int, until: Path) -> None:
    """Every plan stops when the gate has been told of its batch `number`, until that file is there."""
    write = Writer.batch

    def batch(writer: Writer, campaign: Campaign, planned: PlannedBatch) -> None:
        write(writer, campaign, planned)
        if planned.number == number:
            writer.flush()
            while not until.exists():
                time.sleep(0.02)

    Writer.batch = batch  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGUSR1, lose_tables)
    given = json.loads(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if given["stall"]:
        stall(given["stall"], Path(given["data"]) / "go-on")
    kafka = Kafka(given["bootstrap"], embedded=given["embedded"])
    app.run(context(kafka, given["prefix"], Path(given["data"]), given["slot"]), stop)
