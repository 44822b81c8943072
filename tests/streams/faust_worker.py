"""A worker process for the tests of Faust apps: takes each key once.

    faust_worker.py '{"bootstrap": ..., "prefix": ..., "slot": ..., "data": ...}'

A key that is new gets a row and one record on `<prefix>out`; a known one gets nothing. A value `poison` makes
the handler fail, `refuse` is refused.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from schemas.records import ClockRecord, InstallationRecord
from schemas.topics import Topic
from streams.clients import Kafka
from streams.clock import REAL
from streams.context import Context
from streams.faust_app import Handled, Life, Refused, Rows, add_agent
from streams.faust_group import ensure_changelog, prepare_group
from streams.faust_guard import GuardedApp
from streams.faust_run import run_app
from streams.fenced.model import Input, Output
from streams.outbox import Outbox
from streams.settings import KafkaSettings, Settings

IN = Topic("in", "key", (), (), (), "inputs", dead_letters=True)
PARTITIONS = 4


def context(options: dict[str, str]) -> Context:
    kafka = KafkaSettings(bootstrap=options["bootstrap"], topic_prefix=options["prefix"])
    installation = InstallationRecord(
        id="test", partitions=PARTITIONS, clock=ClockRecord(epoch_real=0, epoch_virtual=0), product_version="0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return Context(
        Settings(kafka=kafka), Kafka(options["bootstrap"]), REAL, installation, options["slot"], Path(options["data"])
    )


def build(ctx: Context, app: GuardedApp, outbox: Outbox) -> Life:
    life = Life(ctx, app, outbox)
    rows = Rows(app, "seen", PARTITIONS)

    async def take(record: Input) -> Handled:
        key = (record.key or b"").decode()
        if record.value == b"poison":
            raise RuntimeError("this one always fails")
        if record.value == b"refuse":
            raise Refused("this one is refused", {"why": "a test"})
        if rows.get(key) is not None:
            return Handled()
        value = f"{ctx.slot} {record.partition} {record.offset}".encode()
        outputs = [
            Output(f"{ctx.settings.kafka.topic_prefix}out", record.key, value),
            rows.row(record.partition, key, value),
        ]
        return Handled(outputs, lambda: rows.apply(key, value))

    add_agent(life, IN, take)
    return life


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    ctx = context(json.loads(sys.argv[1]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ensure_changelog(ctx.kafka, f"{ctx.group('faust')}-seen-changelog", PARTITIONS)
    prepare_group(ctx.kafka, ctx.group("faust"), [ctx.topic(IN)])
    run_app(ctx, lambda app, outbox: build(ctx, app, outbox), "faust", stop)


if __name__ == "__main__":
    main()
