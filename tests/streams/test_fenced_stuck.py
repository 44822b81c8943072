"""A transaction that does not return ends the process."""

from __future__ import annotations

import subprocess
import sys

from waiting import eventually

from streams.fenced.stuck import StuckGuard

HANGS = """
import time
from streams.fenced.stuck import StuckGuard
with StuckGuard(grace=0.1).within(0.1):
    time.sleep(60)
"""


def test_what_hangs_ends_the_process_with_the_code_that_starts_it_again() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "did not return in time" in done.stderr


def test_what_ends_in_time_is_left_alone_and_what_follows_is_watched_again() -> None:
    left: list[str] = []
    guard = StuckGuard(left.append, grace=0.0)
    for _ in range(3):
        with guard.within(30):
            assert not left
    with guard.within(0.0):
        eventually(lambda: left, 10)
    assert len(left) == 1
