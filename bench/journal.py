"""What the journal costs: the sender with it, and the same without journal, transactions and spool, by turns.

    python bench/journal.py [--mails 50000] [--runs 5] [--connections 20]

One sender process, Apache Kafka and Postfix's `smtp-sink` on this machine; permits are issued here, five batches at a
time; both ways one event goes out for each mail. Medians and their ratio to bench/results/journal.json, and where the
time goes: microseconds of processor a mail of the sender's two threads and of Kafka, and those for which the thread
that sends had no processor (`kept_out`: others had it) or slept (`asleep`: for Python's lock, or for replies).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests"), str(ROOT / "tests" / "sender"),
                str(ROOT / "tests" / "flow")]  # fmt: skip

import tree  # noqa: E402 - beside this file, which is run as __main__
from sending import Gate, people  # noqa: E402 - of tests/sender: this file runs as __main__
from whole_pipeline import PARAGRAPH, cpu_seconds, peak_mb, sink  # noqa: E402

from schemas import topics  # noqa: E402
from schemas.campaign import ResolvedTemplate  # noqa: E402
from schemas.chunk import ChunkResult  # noqa: E402
from streams import process  # noqa: E402
from streams.brokers.jars import default_home  # noqa: E402
from streams.brokers.local import LocalBroker  # noqa: E402
from streams.table import TopicReader  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "journal.json"
AIM = 0.15
WARM = 400_000
"""Mails of each before the clock starts: so many it takes until Java's compiler is done with Kafka."""
AT_ONCE = 5
BATCH = 5000
LETTER = ResolvedTemplate(
    subject="Your payment, {{ name }}",
    text="Dear {{ name }},\n\n" + "\n\n".join(PARAGRAPH * 2 for _ in range(3)) + "\n",
    html="<html><body><p>Dear {{ name }},</p>" + "".join(f"<p>{PARAGRAPH * 2}</p>\n" for _ in range(5))
    + '<p><a href="https://bore.example/pay?who={{ email }}">Pay now</a></p></body></html>\n',
)  # fmt: skip


Threads = dict[str, tuple[float, float]]
"""By thread: seconds on a processor, and ready to run without one."""


def threads(pid: int) -> Threads:
    """Those of a process, as the kernel counts."""
    found: Threads = {}
    for directory in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # one that has ended
            ran, waited, _ = (directory / "schedstat").read_text().split()
            found[directory.name] = int(ran) / 1e9, int(waited) / 1e9
    return found


@dataclass
class Way:
    """A sender of one kind, and the gate that this program plays for it."""

    gate: Gate
    worker: subprocess.Popen[bytes]
    connections: int
    answers: TopicReader
    broker: int

    def run(self, mails: int) -> dict[str, float]:
        """Five permits at a time until so many are sent."""
        first = len(self.gate.pointers) + 1
        numbers, open_ = list(range(first, first + mails // BATCH)), set[str]()
        for number in numbers:  # their recipients, before the clock starts
            self.gate.plan(people(BATCH, f"n{number}.example"), number, part=2500, template=LETTER)
        accepted, began, cpu = 0, time.monotonic(), cpu_seconds(self.worker.pid)
        kafka, before = cpu_seconds(self.broker), threads(self.worker.pid)
        while numbers or open_:
            while numbers and len(open_) < AT_ONCE:
                number = numbers.pop(0)
                each = max(1, self.connections // AT_ONCE)
                open_.add(self.gate.permit((), number, connections=each).permit_id)
            for record in self.answers.read(0.02):
                result = ChunkResult.decode(record.value or b"")
                if result.final and result.permit_id in open_:
                    open_.discard(result.permit_id)
                    accepted += result.accepted
            if time.monotonic() - began > 120 + mails / 500:
                raise SystemExit(f"no answer to {sorted(open_)}")
        if accepted != mails:
            raise SystemExit(f"{accepted} of {mails} were accepted")
        seconds = time.monotonic() - began
        used, kafka = cpu_seconds(self.worker.pid) - cpu, cpu_seconds(self.broker) - kafka
        shares = sorted(
            (tuple(now - was for now, was in zip(times, before.get(thread, (0.0, 0.0)), strict=True))
             for thread, times in threads(self.worker.pid).items()), reverse=True,
        )  # fmt: skip
        (sends, kept_out), (commits, _) = shares[:2]
        parts = {"sends": sends, "commits": commits, "kafka": kafka, "kept_out": kept_out,
                 "asleep": seconds - sends - kept_out}  # fmt: skip
        return {"mails_per_second": mails / seconds, "cpu_seconds_per_1000": used / mails * 1000,
                **{f"us_{name}": part / mails * 1e6 for name, part in parts.items()}}  # fmt: skip


@contextmanager
def way(broker: LocalBroker, name: str, port: int, directory: Path, connections: int) -> Iterator[Way]:
    """A worker that is ready."""
    kafka = broker.kafka
    gate = Gate(kafka, f"{name}.", 12)
    log = directory / f"{name}.log"
    argv = [sys.executable, str(ROOT / "bench" / "sending" / "one_sender.py"), kafka.bootstrap, f"{name}.", str(port)]
    worker = process.start([*argv, str(directory / name), name, str(connections)], log)
    answers = TopicReader(kafka, gate.name(topics.GATE_INPUTS))
    try:
        yield Way(gate, worker, connections, answers, broker.pid or 0)
    except SystemExit as e:
        raise SystemExit(f"{name}: {e}\n{process.tail(log)}") from None
    finally:
        process.stop(worker, 20)
        answers.close()
        gate.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mails", type=int, default=50_000, help=f"of each run; a multiple of {BATCH}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    tree.add_option(parser)
    args = parser.parse_args()
    tree.use(plain=args.plain)
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(LocalBroker(directory / "kafka", home=default_home()))
        port, _ = stack.enter_context(sink(directory, simulator=False))
        ways = {n: stack.enter_context(way(broker, n, port, directory, args.connections)) for n in found}
        for one in ways.values():
            for _ in range(WARM // args.mails):
                one.run(args.mails)
        for _ in range(args.runs):
            for name, one in ways.items():
                found[name].append(one.run(args.mails))
                print(name, json.dumps({k: round(v, 4) for k, v in found[name][-1].items()}), flush=True)
        peak = {name: peak_mb(one.worker.pid) for name, one in ways.items()}
    write(args, found, peak)


def write(args: argparse.Namespace, found: dict[str, list[dict[str, float]]], peak: dict[str, float]) -> None:
    medians: dict[str, dict[str, Any]] = {
        name: {
            "mails_per_second": round(statistics.median(r["mails_per_second"] for r in runs)),
            "cpu_seconds_per_1000": round(statistics.median(r["cpu_seconds_per_1000"] for r in runs), 4),
            **{k: round(statistics.median(r[k] for r in runs), 1) for k in runs[0] if k.startswith("us_")},
            "peak_mb": peak[name],
            "runs": [round(r["mails_per_second"]) for r in runs],
        }
        for name, runs in found.items()
    }
    cost = 1 - medians["with"]["mails_per_second"] / medians["without"]["mails_per_second"]
    document = {
        "python": platform.python_version(), "cores": os.cpu_count(), "mails": args.mails,
        "connections": args.connections, "compiled": not args.plain, **medians,
        "journal_costs": round(cost, 3), "aim": AIM,
    }  # fmt: skip
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
