"""How fast mail goes out: our transport, Postfix's smtp-source, nodemailer's pool, aiosmtplib.

Each client on one core, the receiver on another, a message of 4 KB in two parts to each recipient; on
loopback, and with a round trip of 20 and 100 ms (bench/sending/delay.py). Runs of the clients alternate;
the medians go to bench/results/send.json and, as a table, to stdout.

    python bench/send.py [--runs 5] [--seconds 3] [--only loopback]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "sending")]

import tree  # noqa: E402 - beside this file, which is run as __main__
from letter import HTML, TEXT, built  # noqa: E402

from simulator.process import SimulatorProcess  # noqa: E402
from simulator.settings import Settings  # noqa: E402

RESULTS = HERE / "results" / "send.json"
POSTFIX = "/usr/sbin:/usr/bin:/usr/local/sbin"
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, SERVER_CORE = CORES[0], CORES[-1]


@dataclass(frozen=True)
class Row:
    """A client and whom it sends to."""

    client: str
    command: tuple[str, ...]
    """`{port}`, `{connections}` and `{count}` are filled in."""
    target: str
    """`smtp-sink` or `simulator`."""


@dataclass(frozen=True)
class Scene:
    """What is between client and receiver."""

    name: str
    connections: int
    round_trip: float


SCENES = (
    Scene("loopback", 10, 0.0),
    Scene("20 ms", 10, 0.02),
    Scene("100 ms", 10, 0.1),
    Scene("100 ms", 50, 0.1),
)


@dataclass(frozen=True)
class Measured:
    """One run."""

    count: int
    seconds: float
    cpu: float
    """Seconds of the client's processor, from the first message to the last where it can tell."""
    rss_mb: float
    """The most that was resident."""


def rows(directory: Path, nodemailer: Path | None) -> list[Row]:
    """All clients that are there."""
    ours = (sys.executable, str(HERE / "sending" / "ours.py"), "{port}", "{connections}", "{count}")
    letter, parts = directory / "letter", directory / "letter.json"
    letter.write_bytes(bytes(built(1)).replace(b"\r\n", b"\n"))
    parts.write_text(json.dumps({"text": TEXT, "html": HTML}))
    source = shutil.which("smtp-source", path=POSTFIX)
    if source is None:
        sys.exit("smtp-source and smtp-sink are missing: run `make packages`")
    made = [
        Row("ours, PIPELINING", (*ours, "PIPELINING"), "smtp-sink"),
        Row("ours, CHUNKING", (*ours, "CHUNKING"), "simulator"),
        Row("ours, PIPELINING", (*ours, "PIPELINING"), "simulator"),
        Row("ours, LOCK_STEP", (*ours, "LOCK_STEP"), "smtp-sink"),
        Row("smtp-source", (source, "-d", "-s", "{connections}", "-m", "{count}", "-f", "cobros@bore.example", "-t",
                            "guest0000001@mailbox.example", "-F", str(letter), "127.0.0.1:{port}"), "smtp-sink"),
        Row("aiosmtplib, EmailMessage",
            (sys.executable, str(HERE / "sending" / "with_aiosmtplib.py"), "{port}", "{connections}", "{count}"),
            "smtp-sink"),
    ]  # fmt: skip
    if nodemailer is not None:
        script = nodemailer / "nodemailer_pool.js"
        made.append(
            Row(
                "nodemailer, pool", ("node", str(script), "{port}", "{connections}", "{count}", str(parts)), "smtp-sink"
            )
        )
    return made


def install_nodemailer(directory: Path) -> tuple[Path | None, str]:
    """(where it is, its version); says loudly when it cannot be had."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        print("!! no node or npm here: the row of nodemailer is LEFT OUT", file=sys.stderr)
        return None, "not installed"
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), "nodemailer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"!! the row of nodemailer is LEFT OUT: npm said {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None, "not installed"
    shutil.copy(HERE / "sending" / "nodemailer_pool.js", directory)
    package = json.loads((directory / "node_modules" / "nodemailer" / "package.json").read_text())
    return directory, package["version"]


def on_core(core: int, *command: str) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def started(port: int, *command: str) -> Iterator[int]:
    """A server on the servers' core, once it listens."""
    process = subprocess.Popen(on_core(SERVER_CORE, *command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def receivers(scene: Scene, directory: Path) -> Iterator[dict[str, int]]:
    """Ports of what messages go to, by name."""
    with ExitStack() as stack:
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        port = free_port()
        sink = shutil.which("smtp-sink", path=POSTFIX) or "smtp-sink"
        ports = {"smtp-sink": stack.enter_context(started(port, sink, *user, f"127.0.0.1:{port}", "500"))}
        simulator = stack.enter_context(SimulatorProcess(directory, settings=Settings(chunking=True), record=False))
        os.sched_setaffinity(simulator.pid, {SERVER_CORE})
        ports["simulator"] = simulator.port
        if scene.round_trip:
            for name, target in ports.items():
                port = free_port()
                delay = (str(HERE / "sending" / "delay.py"), str(port), str(target), str(scene.round_trip))
                ports[name] = stack.enter_context(started(port, sys.executable, *delay))
        yield ports


class Resident(threading.Thread):
    """Looks now and then how much of a process was resident at most (`ru_maxrss` counts what it was forked from)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._mb = 0.0
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.1):
            with suppress(OSError, IndexError, ValueError):  # it may end meanwhile
                self._mb = int(self._status.read_text().split("VmHWM:")[1].split()[0]) / 1024

    def stop(self) -> float:
        """The most that was seen, in MB."""
        self._over.set()
        self.join()
        return self._mb


def measure(row: Row, ports: dict[str, int], connections: int, count: int) -> Measured:
    """One run of one client. Raises RuntimeError when it fails."""
    filled = {"port": str(ports[row.target]), "connections": str(connections), "count": str(count)}
    command = on_core(CLIENT_CORE, *(part.format(**filled) if "{" in part else part for part in row.command))
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    watch = Resident(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    rss_mb = watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{row.client} failed: {command}")
    own: dict[str, Any] = json.loads(said) if said.startswith(b"{") else {}
    return Measured(
        own.get("count", count), own.get("seconds", seconds), own.get("cpu", usage.ru_utime + usage.ru_stime),
        rss_mb,
    )  # fmt: skip


def run_scene(scene: Scene, clients: list[Row], runs: int, seconds: float) -> list[dict[str, Any]]:
    """Medians of alternating runs; each is about `seconds` long, by a first short one that does not count."""
    with tempfile.TemporaryDirectory() as directory, receivers(scene, Path(directory)) as ports:
        counts, found = [], [[] for _ in clients]  # type: tuple[list[int], list[list[Measured]]]
        for row in clients:
            trial = measure(row, ports, scene.connections, 20 * scene.connections)
            again = measure(row, ports, scene.connections, max(20, int(trial.count / trial.seconds * 0.5)))
            counts.append(max(10 * scene.connections, int(again.count / again.seconds * seconds)))
        for _ in range(runs):
            for n, row in enumerate(clients):
                found[n].append(measure(row, ports, scene.connections, counts[n]))
    return [summary(scene, row, measured) for row, measured in zip(clients, found, strict=True)]


def summary(scene: Scene, row: Row, measured: list[Measured]) -> dict[str, Any]:
    rates = [one.count / one.seconds for one in measured]
    return {
        "scene": scene.name,
        "connections": scene.connections,
        "client": row.client,
        "to": row.target,
        "messages": measured[0].count,
        "per_second": round(statistics.median(rates), 1),
        "per_second_of_runs": [round(rate, 1) for rate in rates],
        "cpu_seconds_per_1000": round(statistics.median(one.cpu / one.count * 1000 for one in measured), 4),
        "rss_mb": round(statistics.median(one.rss_mb for one in measured), 1),
    }


def table(results: list[dict[str, Any]]) -> str:
    """What a reader wants to see."""
    lines = [f"{'client':26} {'to':10} {'messages/s':>11} {'CPU s/1000':>11} {'MB':>6}"]
    where = None
    for r in results:
        if where != (r["scene"], r["connections"]):
            where = (r["scene"], r["connections"])
            lines.append(f"-- {r['scene']}, {r['connections']} connections")
        lines.append(
            f"{r['client']:26} {r['to']:10} {r['per_second']:11,.0f} {r['cpu_seconds_per_1000']:11.4f}"
            f" {r['rss_mb']:6.0f}"
        )
    return "\n".join(lines)


def aims(results: list[dict[str, Any]]) -> list[str]:
    """The figures that were aimed at, beside those reached."""
    rate: dict[tuple[str, int, str, str], float] = {
        (r["scene"], r["connections"], r["client"], r["to"]): r["per_second"] for r in results
    }

    def best(scene: str, connections: int) -> float:
        return max(v for k, v in rate.items() if k[:2] == (scene, connections) and k[2] in AHEAD)

    lines = []
    for scene, connections, client, aim in (
        ("loopback", 10, "smtp-source", 1.2),
        ("loopback", 10, "nodemailer, pool", 20.0),
        ("100 ms", 50, "nodemailer, pool", 4.0),
    ):
        other = rate.get((scene, connections, client, "smtp-sink"))
        if other:
            times = best(scene, connections) / other
            mark = "" if times >= aim else "  MISSED"
            lines.append(f"{scene}, {connections} connections: {times:.1f} x {client} (aim {aim:g}){mark}")
    return lines


AHEAD = ("ours, PIPELINING", "ours, CHUNKING")


def main() -> None:
    """Measures all, prints and writes the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--seconds", type=float, default=3.0, help="of each run")
    p.add_argument("--only", help="scenes with this name")
    p.add_argument("--dry", action="store_true", help="print, do not write")
    tree.add_option(p)
    options = p.parse_args()
    tree.use(HERE / "sending", plain=options.plain)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        nodemailer, version = install_nodemailer(Path(made))
        clients = rows(Path(made), nodemailer)
        for scene in SCENES:
            if options.only in (None, scene.name):
                results += run_scene(scene, clients, options.runs, options.seconds)
                print(table(results[-len(clients) :]), flush=True)
    reached = aims(results)
    print("\n".join(reached))
    document = {
        "python": platform.python_version(), "nodemailer": version, "message_octets": len(bytes(built(1))),
        "cores": len(CORES), "compiled": not options.plain, "runs": options.runs, "aims": reached, "results": results,
    }  # fmt: skip
    if not options.dry:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
