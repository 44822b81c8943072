"""Dead letters in the order in which people look at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from console.deadletters import Letter, newest_last
from streams.deadletter import dead_letter
from streams.fenced.model import Input

FIRST = datetime(2026, 3, 4, 10, tzinfo=UTC)


def test_letters_of_several_partitions_and_topics_are_listed_newest_last() -> None:
    found = [letter(0, 3), letter(0, 60), letter(1, 1), letter(1, 30), letter(2, 2)]
    assert [one.place for one in newest_last(found)] == ["t/1/1", "t/2/2", "t/0/3", "t/1/30", "t/0/60"]
    assert newest_last(reversed(found)) == newest_last(found)


def test_a_letter_without_a_time_comes_first() -> None:
    strange = Letter("t", "t/9/9", None, None, {}, ())
    assert newest_last([letter(0, 1), strange]) == [strange, letter(0, 1)]


def letter(partition: int, seconds: int) -> Letter:
    record = Input("t", partition, seconds, None, b"?", (), 0)
    headers = dead_letter("t", record, "no", 1, at=FIRST + timedelta(seconds=seconds)).headers
    return Letter("t", f"t/{partition}/{seconds}", None, b"?", {k: v.decode() for k, v in headers}, ())
