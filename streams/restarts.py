"""When a worker that ended is started again: pure decisions."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """When a worker that ended is started again. Seconds."""

    first_delay: float = 0.2
    longest_delay: float = 30.0
    healthy_after: float = 60.0
    report_after: int = 5


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Restart:
    """What is done about a worker that ended: start it again after `delay` seconds, and perhaps say so."""

    failures: int
    delay: float
    report: bool


def decide(failures: int, lived: float, policy: Policy = DEFAULT_POLICY) -> Restart:
    """What to do when a worker ended that had lived for `lived` seconds, after `failures` short lives in a row.

    Each short life doubles the wait; a life of `healthy_after` seconds forgets those before it.
    """
    failures = 1 if lived >= policy.healthy_after else failures + 1
    delay = min(policy.longest_delay, policy.first_delay * 2.0 ** min(failures - 1, 60))
    return Restart(failures, delay, report=failures == policy.report_after)


def describe_end(returncode: int) -> str:
    """A process's end in words: `exit status 3`, `killed by SIGKILL`."""
    if returncode >= 0:
        return f"exit status {returncode}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-returncode).name}"
    return f"killed by signal {-returncode}"
