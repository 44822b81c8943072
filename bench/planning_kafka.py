"""Planning a million recipients, from CSV to records on topics, by a planner process on a real broker.

    python bench/planning_kafka.py [ROWS ...] [--broker apache|embedded] [--out bench/results/planning_kafka.json]

Starts a broker and `rampa`'s planner as a process of its own, submits one campaign a size, and measures from the
request's acknowledgement to the last batch on `gate.inputs`. Memory is the planner's peak resident set (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "planner_app")]

from planner_world import REQUEST, World  # noqa: E402

from schemas.topics import CAMPAIGN_REQUESTS, GATE_INPUTS  # noqa: E402
from streams.brokers.embedded import EmbeddedBroker  # noqa: E402
from streams.brokers.jars import default_home  # noqa: E402
from streams.brokers.local import LocalBroker  # noqa: E402
from streams.table import TopicReader  # noqa: E402


def write_csv(path: Path, rows: int) -> int:
    with path.open("w", encoding="utf-8") as out:
        out.write("email,first_name,last_name,amount,due\n")
        for i in range(rows):
            amount, due = f"{i % 100000}.50", f"2026-03-{i % 28 + 1:02d}"
            out.write(f"user{i}@mailbox{i % 50}.example.com,Ana{i % 997},Perez{i % 991},{amount},{due}\n")
    return path.stat().st_size


def memory_mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_one(world: World, planner: subprocess.Popen[bytes], rows: int, directory: Path) -> dict[str, Any]:
    path = directory / f"rows-{rows}.csv"
    size = write_csv(path, rows)
    reader = TopicReader(world.kafka, world.prefix + GATE_INPUTS.name, from_beginning=False)
    while not reader.at_end:
        reader.read(0.1)
    before = cpu_seconds(planner.pid)
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": f"bench-{rows}", "recipients": {"uri": f"file://{path}"}})
    started = time.monotonic()
    batches = recipients = 0
    while True:
        for record in reader.read(0.1):
            told = json.loads(record.value or b"{}")
            if told["kind"] == "batch_planned":
                batches += 1
                recipients += told["size"]
            elif told["campaign"]["campaign_id"] == f"bench-{rows}":
                took = time.monotonic() - started
                reader.close()
                path.unlink()
                assert recipients == rows, (recipients, rows)
                return {
                    "rows": rows,
                    "csv_mb": round(size / 1e6, 1),
                    "seconds": round(took, 2),
                    "rows_per_second": round(rows / took),
                    "batches": batches,
                    "planner_cpu_seconds": round(cpu_seconds(planner.pid) - before, 2),
                    "planner_peak_mb": memory_mb(planner.pid, "VmHWM"),
                    "planner_mb_after": memory_mb(planner.pid, "VmRSS"),
                }
        if time.monotonic() - started > 300:
            raise SystemExit(f"{rows} rows were not planned within 300 s; {world.log()[-3000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--broker", choices=["apache", "embedded"], action="append")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "planning_kafka.json")
    args = parser.parse_args()
    results: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "target": {"seconds": 30, "planner_mb": 300, "rows": 1_000_000},
        "brokers": {},
    }
    for name in args.broker or ["apache", "embedded"]:
        with tempfile.TemporaryDirectory() as directory:
            where = Path(directory)
            broker = (
                EmbeddedBroker(where / "broker")
                if name == "embedded"
                else LocalBroker(where / "broker", home=default_home())
            )
            with broker:
                world = World(broker.kafka, "bench.", where / "planner")
                planner = world.process()
                try:
                    run_one(world, planner, 1000, where)  # until it is up
                    idle = memory_mb(planner.pid, "VmRSS")
                    found = [run_one(world, planner, rows, where) for rows in args.rows]
                finally:
                    world.close()
        results["brokers"][name] = {"planner_idle_mb": idle, "runs": found}
        for one in found:
            print(name, json.dumps(one))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
