"""The whole pipeline: from a request on a topic to the last mail, with journal, spool and events.

    python bench/whole_pipeline.py [MAILS ...] [--connections 20] [--runs 3] [--simulator] [--senders 1] [--plain]

Apache Kafka, planner, gate, sender and the receiving server (Postfix's `smtp-sink`, else our simulator) are processes
of this machine. Figures: mails a second from the request to the campaign's end, and from the first mail to the last;
CPU seconds of each process for 1000 mails, beside a budget for two cores. A campaign of 20,000 goes before and does
not count: it connects, and lets the broker's compiler do its work. Median of the runs to
bench/results/whole_pipeline.json, after each size, so that what was measured is there when a later one fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests"), str(ROOT / "tests" / "flow")]

import tree  # noqa: E402 - beside this file, which is run as __main__
from pipeline import Pipeline  # noqa: E402 - of tests/flow: this file runs as __main__
from waiting import eventually  # noqa: E402

from simulator.process import SimulatorProcess  # noqa: E402
from simulator.settings import Settings as Offered  # noqa: E402
from streams import process  # noqa: E402
from streams.brokers.jars import default_home  # noqa: E402
from streams.brokers.local import LocalBroker  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "whole_pipeline.json"
PARAGRAPH = (
    "Your payment for March is due on the 15th. You can pay it at the counter, by transfer or with the link "
    "below; if you have paid already, please take this as our thanks and ignore the rest of this letter. "
)
TEXT = "Dear {{ first_name }},\n\n" + "\n\n".join(PARAGRAPH * 2 for _ in range(3)) + "\n\nYou owe {{ amount }}.\n"
HTML = (
    "<html><body><p>Dear {{ first_name }} {{ last_name }},</p>"
    + "".join(f"<p>{PARAGRAPH * 2}</p>\n" for _ in range(5))
    + '<p>{{ amount }}: <a href="https://bore.example/pay?who={{ email }}">Pay now</a></p></body></html>\n'
)
BUDGET = {"planner": 0.015, "gate": 0.015, "sender": 0.045, "sink": 0.04, "kafka": 0.015}
"""CPU seconds for 1000 mails."""
AIM_CPU, AIM_RATE, AIM_MB = 0.13, 15_000, 200
"""CPU seconds for 1000 mails in all; mails a second while it sends; resident MB of a sender."""
WARM_UP = 20_000
STRATEGY = """
[strategies.bench]
type = "batch"
batch_size = %d
interval_minutes = 0
max_batches_per_day = 1000000
concurrent_batches = 5
"""


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.write("email,first_name,last_name,amount\n")
        for i in range(rows):
            out.write(f"user{i}@mailbox{i % 50}.example.com,Ana{i % 997},Perez{i % 991},{i % 100000}.50\n")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


@contextmanager
def sink(directory: Path, *, simulator: bool) -> Iterator[tuple[int, int]]:
    """(port, process id) of what takes the mail."""
    program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if simulator or program is None:
        with SimulatorProcess(directory / "provider", record=False, settings=Offered(chunking=True)) as provider:
            yield provider.port, provider.pid
        return
    port = process.free_port()
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    running = subprocess.Popen([program, *user, f"127.0.0.1:{port}", "1000"])
    try:
        eventually(lambda: not process.port_is_free(port), what="smtp-sink listens")
        yield port, running.pid
    finally:
        running.terminate()
        running.wait()


def run_one(p: Pipeline, name: str, rows: int, directory: Path, pids: dict[str, int]) -> dict[str, Any]:
    path = directory / f"{name}.csv"
    write_csv(path, rows)
    before = {who: cpu_seconds(pid) for who, pid in pids.items()}
    began = time.monotonic()
    p.submit({
        "campaign_id": name, "from": {"email": "cobros@bore.example", "name": "Bore"},
        "template": {"subject": "Your payment, {{ first_name }}", "text": TEXT, "html": HTML},
        "recipients": {"uri": f"file://{path}"}, "strategy": {"type": "bench"},
        "schedule": {"window": None, "skip_weekends": False},
    })  # fmt: skip
    first = planned = None
    while True:
        progress = p.progress(name)
        now = time.monotonic()
        if progress is not None:
            if planned is None and progress.state not in {"planning", "requested"}:
                planned = now
            if first is None and progress.accepted:
                first = (now, progress.accepted)
            if progress.state in {"completed", "failed", "rejected"}:
                break
        if now - began > 120 + rows / 500:
            raise SystemExit(p.say(name, {"completed"}))
        time.sleep(0.02)
    if progress.accepted != rows:
        raise SystemExit(f"{name}: {progress!r}")
    seconds = now - began
    cpu = {who: round((cpu_seconds(pid) - before[who]) / rows * 1000, 4) for who, pid in pids.items()}
    assert first is not None
    sending = (rows - first[1]) / (now - first[0]) if rows > first[1] else 0.0
    return {
        "mails": rows, "aims_met": aims_met(sending, cpu, {w: peak_mb(pid) for w, pid in pids.items()}),
        "seconds": round(seconds, 2), "mails_per_second": round(rows / seconds),
        "sending_per_second": round(sending), "seconds_to_first_report": round(first[0] - began, 2),
        "cpu_seconds_per_1000": cpu, "cpu_seconds_per_1000_in_all": round(sum(cpu.values()), 4),
        "budget_per_1000": {who: BUDGET[who.partition("-")[0]] for who in cpu}, "budget_per_1000_in_all": AIM_CPU,
        "peak_mb": {who: peak_mb(pid) for who, pid in pids.items()},
    }  # fmt: skip


def aims_met(sending: float, cpu: dict[str, float], peak: dict[str, float]) -> dict[str, bool]:
    """What was aimed at, and whether it was reached."""
    most = max(mb for who, mb in peak.items() if who.startswith("sender"))
    return {
        f"{AIM_RATE} mails a second while it sends": sending >= AIM_RATE,
        f"{AIM_CPU} CPU seconds for 1000 mails in all": sum(cpu.values()) <= AIM_CPU,
        f"a sender under {AIM_MB} MB": most < AIM_MB,
    }


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run in the middle by its speed, with all speeds beside it."""
    runs = sorted(runs, key=lambda r: r["mails_per_second"])
    speeds = [r["mails_per_second"] for r in runs]
    return {**runs[len(runs) // 2], "runs": speeds, "median": round(statistics.median(speeds))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mails", nargs="*", type=int, default=[200_000])
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--batch", type=int, default=5000)
    parser.add_argument("--senders", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--simulator", action="store_true", help="mail to our simulator (CHUNKING), not to smtp-sink")
    parser.add_argument("--out", type=Path, default=RESULTS)
    tree.add_option(parser)
    args = parser.parse_args()
    tree.use(plain=args.plain)
    relay = {"connections": args.connections, "messages_per_connection": 100_000}
    with (
        tempfile.TemporaryDirectory() as made,
        LocalBroker(Path(made) / "kafka", home=default_home()) as broker,
        sink(Path(made), simulator=args.simulator) as (port, sink_pid),
    ):
        directory = Path(made)
        with Pipeline(
            broker.kafka, "bench.", directory, relay={**relay, "port": port}, more=STRATEGY % args.batch, partitions=12
        ) as p:
            senders = [f"sender-{n}" for n in range(1, args.senders + 1)]
            p.start("planner-1", "gate-1", *senders)
            pids = {name: worker.pid for name, worker in p.workers.items()} | {"sink": sink_pid}
            if broker.pid is not None:
                pids["kafka"] = broker.pid
            run_one(p, "warm-up", WARM_UP, directory, pids)
            found = []
            for n in args.mails:
                runs = [run_one(p, f"bench-{n}-{k}", n, directory, pids) for k in range(args.runs)]
                found.append(median(runs))
                print(json.dumps(found[-1], indent=1), flush=True)
                write(args, found)


def write(args: argparse.Namespace, found: list[dict[str, Any]]) -> None:
    document = {
        "python": platform.python_version(), "cores": os.cpu_count(), "connections": args.connections,
        "batch": args.batch, "compiled": not args.plain,
        "senders": args.senders, "sink": "simulator" if args.simulator else "smtp-sink",
        "results": found,
    }  # fmt: skip
    args.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
