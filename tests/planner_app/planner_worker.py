"""A planner process for tests: planner_worker.py '{"bootstrap": ..., "prefix": ..., "slot": ..., "data": ...}'."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path

from planner_world import context

from planner import app
from streams.clients import Kafka

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    given = json.loads(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kafka = Kafka(given["bootstrap"], embedded=given["embedded"])
    app.run(context(kafka, given["prefix"], Path(given["data"]), given["slot"]), stop)
