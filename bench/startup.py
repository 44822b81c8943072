"""How long people wait: `rampa --help`, and from `rampa up` on the embedded broker to a first campaign's end.

Run: python bench/startup.py [RUNS]. Results: bench/results/startup.json.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RAMPA = [sys.executable, "-m", "console.cli.main"]
RESULTS = Path(__file__).parent / "results" / "startup.json"


def help_seconds() -> float:
    """One `rampa --help`."""
    started = time.perf_counter()
    subprocess.run([*RAMPA, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def stack_seconds() -> tuple[float, float]:
    """From the start of `rampa up` until it says that it is up, and until three people have been mailed."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        subprocess.run([*RAMPA, "init"], cwd=home, check=True, stdout=subprocess.DEVNULL)
        started = time.perf_counter()
        up = subprocess.Popen([*RAMPA, "up"], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert up.stdout is not None
        try:
            while "rampa is up" not in up.stdout.readline():
                assert up.poll() is None, "rampa up ended"
            ready = time.perf_counter() - started
            submit = [*RAMPA, "campaign", "submit", "campaign.json", "--watch"]
            subprocess.run(submit, cwd=home, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return ready, time.perf_counter() - started
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    helps = [help_seconds() for _ in range(runs)]
    stacks = [stack_seconds() for _ in range(runs)]
    result = {
        "runs": runs,
        "help_seconds": round(statistics.median(helps), 3),
        "stack_ready_seconds": round(statistics.median(s[0] for s in stacks), 2),
        "first_campaign_completed_seconds": round(statistics.median(s[1] for s in stacks), 2),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
