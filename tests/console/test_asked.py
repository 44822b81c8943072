"""One signal and the next."""

from __future__ import annotations

from console.asked import APART, Asked


def test_the_first_signal_lets_finish_and_the_next_ends_at_once() -> None:
    said: list[str] = []
    now = [100.0]
    asked = Asked(lambda: said.append("finish"), lambda: said.append("hurry"), lambda: now[0])
    asked.once_more()
    asked.once_more()  # the same one, passed on by a wrapper
    assert said == ["finish"]
    now[0] += APART
    asked.once_more()
    assert said == ["finish", "hurry"]
