"""How long planning takes, and in how much memory: recipients in a CSV to encoded records, without Kafka.

    python bench/planning.py [--sizes 10000,100000,1000000]

Each size runs in a process of its own. Prints a table and writes `bench/results/planning.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "planning.json"
sys.path.insert(0, str(ROOT))


def write_csv(path: Path, rows: int) -> None:
    """Recipients as a collection campaign has them: an address and six variables."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,first_name,last_name,amount,due_on,city,status\n")
        for i in range(rows):
            file.write(
                f"person{i}@mail{i % 997}.example.com,Nombre{i % 500},Apellido {i % 1000},"
                f"{i % 9000}.50,2026-03-{i % 28 + 1:02d},Bogotá,waitlist\n"
            )


def measure(path: Path) -> dict[str, float]:
    """Plans the file in this process."""
    from planner.batches import batches, encode_parts
    from planner.recipients import open_source
    from planner.recipients.clean import Cleaner
    from planner.resolve import content_hash, resolve_campaign
    from schemas.request import CampaignRequest
    from streams.settings import Settings

    settings = Settings.model_validate(
        {"relays": {"main": {"host": "relay.example"}}, "domains": {"bore.example": {"relay": "main"}}}
    )
    request = CampaignRequest.model_validate(
        {
            "from": {"email": "cobros@bore.example"},
            "template": {"subject": "Hola {{ first_name }}", "text": "{{ amount }} {{ due_on }} {{ city }}"},
            "recipients": {"uri": path.as_uri()},
            "strategy": {"type": "batch"},
        }
    )
    idle = peak_mb()
    begin, cpu = time.perf_counter(), time.process_time()
    source = open_source(request.recipients, settings=settings.planner)
    now = datetime.now(UTC)
    campaign = resolve_campaign(
        request,
        content_hash=content_hash(request),
        created_at=now,
        settings=settings,
        templates=lambda _: None,
        fingerprint=source.fingerprint(),
        now=now,
    )
    cleaner = Cleaner.of(campaign, max_row_bytes=settings.planner.max_row_bytes)
    planned = mailed = parts = size = 0
    for batch in batches(campaign, cleaner.clean(source.rows(campaign.source.fingerprint))):
        planned += 1
        mailed += batch.size
        for _key, value, _start, _count in encode_parts(batch, "w"):
            parts += 1
            size += len(value)
    seconds = time.perf_counter() - begin
    assert mailed == cleaner.recipients
    return {
        "recipients": mailed,
        "batches": planned,
        "parts": parts,
        "encoded_mb": round(size / 1e6, 1),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "microseconds_each": round(seconds / mailed * 1e6, 2),
        "idle_mb": round(idle, 1),
        "peak_mb": round(peak_mb(), 1),
    }


def peak_mb() -> float:
    """The most memory that this process has held resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    results = []
    print(f"{'recipients':>10} {'batches':>8} {'seconds':>8} {'us each':>8} {'peak MB':>8} {'(idle)':>8}")
    with tempfile.TemporaryDirectory(prefix="rampa-bench-") as directory:
        for rows in map(int, options.sizes.split(",")):
            path = Path(directory) / f"{rows}.csv"
            write_csv(path, rows)
            command = [sys.executable, __file__, "--measure", str(path)]
            result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            path.unlink()
            results.append(result)
            print(
                f"{result['recipients']:>10} {result['batches']:>8} {result['seconds']:>8.2f} "
                f"{result['microseconds_each']:>8.2f} {result['peak_mb']:>8.0f} {result['idle_mb']:>8.0f}"
            )
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULTS.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
