"""A local broker that dies is started again, as often as it takes. A scripted broker; time is a parameter."""

from __future__ import annotations

import pytest

from console.mending import Mender
from streams.errors import BrokerStartFailed


class Scripted:
    """A broker whose next starts fail with what is listed, then work."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.running = True
        self.starts: list[float] = []
        self.now = 1000.0

    def start(self) -> None:
        self.starts.append(self.now)
        if self.failures:
            raise self.failures.pop(0)
        self.running = True

    def stop(self) -> None:
        assert not self.running


def until_it_works(broker: Scripted, mender: Mender, step: float = 0.5) -> None:
    for _ in range(1000):
        mender.look()
        if broker.running:
            return
        broker.now += step
    pytest.fail("it was given up")


def test_a_start_that_fails_is_tried_again_ever_less_often_and_said() -> None:
    said: list[str] = []
    broker = Scripted(
        *[BrokerStartFailed(f"It ended while it was starting: trouble {n}") for n in range(8)], OSError(28, "full")
    )
    mender = Mender(broker, said.append, lambda: broker.now)
    broker.now += 120
    broker.running = False
    until_it_works(broker, mender)
    waits = [b - a for a, b in zip(broker.starts, broker.starts[1:], strict=False)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert said[0].startswith("The local broker has ended: the next start is in 0.5 s")
    assert "trouble 3" in said[4]
    assert "full" in said[-2]
    assert said[-1] == "The local broker works again."


@pytest.mark.parametrize(("lived", "wait"), [(5.0, 2.0), (61.0, 0.5)])
def test_one_that_lives_briefly_waits_longer_and_a_long_life_is_forgiven(lived: float, wait: float) -> None:
    broker = Scripted(BrokerStartFailed("once"))
    mender = Mender(broker, lambda _: None, lambda: broker.now)
    broker.now += 120
    broker.running = False
    until_it_works(broker, mender)
    broker.now += lived
    ended, broker.running = broker.now, False
    until_it_works(broker, mender)
    assert broker.starts[-1] - ended == wait


def test_one_that_runs_is_left_alone() -> None:
    said: list[str] = []
    broker = Scripted()
    mender = Mender(broker, said.append, lambda: broker.now)
    mender.look()
    assert (broker.starts, said) == ([], [])
