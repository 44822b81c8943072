"""Dead letters keep the original and say why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.deadletter import MAX_ERROR_BYTES, Attempts, dead_letter
from streams.fenced import Input

AT = datetime(2026, 2, 2, 14, 0, 0, 123456, UTC)


def record(
    value: bytes | None = b"\xff{", headers: tuple[tuple[str, bytes], ...] = (), partition: int = 3, offset: int = 42
) -> Input:
    return Input("chunks", partition, offset, b"\x00key", value, headers, 0)


def test_a_dead_letter_keeps_key_and_bytes_and_says_where_and_why() -> None:
    letter = dead_letter("chunks", record(headers=(("schema", b"Chunk/1"),)), "not JSON", 1, at=AT)
    assert (letter.topic, letter.key, letter.value, letter.partition) == ("chunks.dlq", b"\x00key", b"\xff{", None)
    assert letter.headers == (
        ("schema", b"Chunk/1"),
        ("error", b"not JSON"),
        ("topic", b"chunks"),
        ("partition", b"3"),
        ("offset", b"42"),
        ("attempts", b"1"),
        ("at", b"2026-02-02T14:00:00.123Z"),
    )


def test_a_letter_that_was_replayed_says_the_newest_reason_once() -> None:
    first = dead_letter("chunks", record(), "old", 3, at=AT)
    again = dead_letter("chunks", record(headers=first.headers), "new", 3, at=AT)
    assert [v for k, v in again.headers if k == "error"] == [b"new"]
    assert len({k for k, _ in again.headers}) == len(again.headers)


def test_extra_headers_are_added_and_cannot_hide_ours() -> None:
    letter = dead_letter("chunks", record(), "e", 1, at=AT, extra={"batch": "c/7", "error": "another"})
    assert dict(letter.headers)["batch"] == b"c/7"
    assert dict(letter.headers)["error"] == b"e"


def test_the_time_is_told_in_utc() -> None:
    bogota = timezone(timedelta(hours=-5))
    letter = dead_letter("chunks", record(), "e", 1, at=AT.astimezone(bogota))
    assert dict(letter.headers)["at"] == b"2026-02-02T14:00:00.123Z"


@given(st.text())
def test_an_error_of_any_length_is_cut_between_characters(error: str) -> None:
    long = error * 500 if len(error) > 20 else error + "é" * 5000
    header = dict(dead_letter("t", record(), long, 1, at=AT).headers)["error"]
    assert len(header) <= MAX_ERROR_BYTES
    header.decode()


@pytest.mark.parametrize("value", [None, b""])
def test_a_tombstone_stays_a_tombstone_and_nothing_stays_nothing(value: bytes | None) -> None:
    assert dead_letter("t", record(value), "e", 1, at=AT).value == value


def test_the_third_failure_of_a_record_is_its_last() -> None:
    attempts, one, other = Attempts(), record(), record(offset=43)
    assert [attempts.fail(one), attempts.fail(other), attempts.fail(one)] == [1, 1, 2]
    assert not attempts.exhausted(one)
    assert attempts.fail(one) == 3
    assert attempts.exhausted(one)
    assert not attempts.exhausted(other)
    attempts.forget(one)
    assert not attempts.exhausted(one)


def test_failures_of_a_partition_are_forgotten_with_it() -> None:
    attempts = Attempts(limit=1)
    attempts.fail(record(partition=3))
    attempts.fail(record(partition=4))
    attempts.forget_partition("chunks", 3)
    assert not attempts.exhausted(record(partition=3))
    assert attempts.exhausted(record(partition=4))
