"""Taking over a partition of `send.journal` with a million past recipients: seconds and memory of a sender.

    python bench/recovery.py [--recipients 1000000] [--batch 500 25]

A sender process is given one partition on Apache Kafka whose journal holds batches that were sent in several commits,
nothing of it compacted yet (the worst case): none of them, all of them ended, or all of them unended (one in doubt
each). Seconds: from being given the partition until it is owned, as the sender logs it. Memory: resident at most until
then. Results to bench/results/recovery.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "sender")]

from confluent_kafka import TopicPartition  # noqa: E402 - after the path
from sending import Gate  # noqa: E402 - of tests/sender: this file runs as __main__
from waiting import eventually  # noqa: E402

from schemas.batch import Pointer  # noqa: E402
from schemas.chunk import Chunk  # noqa: E402
from schemas.topics import CHUNKS, SEND_JOURNAL  # noqa: E402
from sender.journal import core, rows  # noqa: E402
from sender.journal.values import BatchJournal, Ended, EndKind  # noqa: E402
from streams import process  # noqa: E402
from streams.brokers.jars import default_home  # noqa: E402
from streams.brokers.local import LocalBroker  # noqa: E402
from streams.clients import Kafka, Record, produce_all  # noqa: E402
from streams.fenced.offsets import HAS_STATE  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "recovery.json"
AT_ONCE = 125
"""Outcomes a commit, of one batch."""
OWNS = re.compile(r"owns \[0\], after ([0-9.]+) s")
Row = tuple[bytes, bytes | None]


def permit(number: int, size: int, now: datetime) -> Chunk:
    return Chunk(
        permit_id=f"main:{number:012d}", relay="main", campaign_id="past", batch_number=number, batch_size=size,
        ranges=((0, size),), pointers=(Pointer(partition=0, offset=number, start=0, count=size),), content_hash="hash",
        checksum="0" * 64, sending_domain="bore.example", day_timezone="UTC", connections=3,
        until=now + timedelta(hours=1), issued_at=now,
    )  # fmt: skip


def history(number: int, size: int, *, end: bool, now: datetime) -> Iterator[Row]:
    """What the owner of one batch has written, from its permit to its end; or to a last one who is in doubt."""
    recorded: BatchJournal | None = None
    journal, _, _ = core.take_permit(None, permit(number, size, now), now)
    journal, begun = core.begin(journal, size, now, "0" * 16 + "@" + "0" * 36)
    for start in range(0, size, AT_ONCE):
        yield from rows.changes(recorded, journal, now)
        recorded = journal
        kinds: list[EndKind] = ["accepted"] * len(begun[start : start + AT_ONCE])
        if not end and start + AT_ONCE >= size:
            kinds[-1] = "in_doubt"
        outcomes = [Ended(i, kind, now) for i, kind in zip(begun[start:], kinds, strict=False)]
        journal, _ = core.ended(journal, outcomes)
        journal, _ = core.report(journal, now)
    journal, _ = core.finish(journal, now, "done")
    yield from rows.changes(recorded, journal, now)


def fill(kafka: Kafka, gate: Gate, recipients: int, size: int, *, end: bool) -> tuple[int, float]:
    """(records, MB) of the journal."""
    producer, topic, now = kafka.producer(linger_ms=20), gate.name(SEND_JOURNAL), datetime.now(UTC)
    n = mass = 0
    for first in range(1, recipients // size + 1, 50):
        found = [row for k in range(first, first + 50) for row in history(k, size, end=end, now=now)]
        produce_all(producer, [Record(topic, value, key, 0) for key, value in found], timeout=60.0)
        n += len(found)
        mass += sum(len(key) + len(value or b"") for key, value in found)
    consumer = kafka.consumer(f"{gate.prefix}rampa-sender")
    metadata = HAS_STATE if recipients else ""
    eventually(lambda: _committed(consumer, gate.name(CHUNKS), metadata), 30, "the group's offset")
    consumer.close()
    return n, round(mass / 1e6, 1)


def _committed(consumer: Any, topic: str, metadata: str) -> bool:
    try:
        consumer.commit(offsets=[TopicPartition(topic, 0, 0, metadata)], asynchronous=False)
    except Exception as e:  # noqa: BLE001 - the group's coordinator may still be loading
        print(e, file=sys.stderr)
        return False
    return True


def memory(pid: int) -> float:
    """MB resident at most until now."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def take_over(kafka: Kafka, prefix: str, directory: Path) -> dict[str, float]:
    """A sender process, until it owns the partition."""
    log = directory / "sender.log"
    argv = [sys.executable, str(ROOT / "tests" / "sender" / "sender_worker.py"), kafka.bootstrap, prefix, "s1"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "sender")])
    began = time.monotonic()
    worker: subprocess.Popen[bytes] = process.start(
        [*argv, str(process.free_port()), str(directory)], log, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        found = eventually(lambda: OWNS.search(log.read_text(errors="replace")), 300, "the partition is owned")
        assert found is not None
        whole = time.monotonic() - began
        return {"seconds": float(found[1]), "from_start_seconds": round(whole, 2), "peak_mb": memory(worker.pid)}
    finally:
        process.stop(worker, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[500, 25], help="recipients of a batch; each by itself")
    asked = parser.parse_args()
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka", home=default_home()) as broker:
        kafka = Kafka(broker.bootstrap)
        plans = [("nothing", 0, 500)]
        plans += [(kind, asked.recipients, size) for size in asked.batch for kind in ("ended", "unended")]
        for case, n, size in plans:
            directory = Path(name) / f"{case}-{size}"
            directory.mkdir()
            with Gate(kafka, f"{case}{size}.", partitions=1) as gate:
                records, mass = fill(kafka, gate, n, size, end=case == "ended")
                found = take_over(kafka, gate.prefix, directory)
            cases.append({
                "case": case, "recipients": n, "batches": n // size, "records": records, "journal_mb": mass, **found,
            })  # fmt: skip
            print(cases[-1], flush=True)
    result = {
        "what": "a sender is given a partition of send.journal, nothing of it compacted",
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cases": cases,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
