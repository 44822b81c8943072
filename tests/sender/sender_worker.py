"""A sender process for the tests: sender_worker.py BOOTSTRAP PREFIX SLOT SMTP_PORT DIRECTORY [embedded]."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from sending import context, settings

from sender.app import run
from streams.clients import Kafka
from streams.fenced import FencedProcessingError


def main() -> int:
    bootstrap, prefix, slot, port, directory, *kind = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        run(
            context(Kafka(bootstrap, embedded="embedded" in kind), settings(int(port), prefix), slot, Path(directory)),
            stop,
        )
    except FencedProcessingError as e:
        print("ended by", type(e).__name__, e, flush=True)
        return e.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
