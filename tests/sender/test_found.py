"""Rows of a partition are put together by batch, and the one that cannot be read is named."""

from __future__ import annotations

import pytest
from journals import NOON, chunk

from sender.found import by_batch, culprit, of_batch
from sender.journal import core, rows


def recorded(campaign: str, size: int = 60) -> dict[bytes, bytes]:
    """Of a batch whose permit is active: a permit row and two windows."""
    journal, _, _ = core.take_permit(None, chunk(1, ((0, size),), size, campaign_id=campaign), NOON)
    return {key: value or b"" for key, value in rows.changes(None, core.begin(journal, size, NOON)[0], NOON)}


def test_each_batch_has_its_rows_by_what_they_are() -> None:
    state = {**recorded("a/b"), **recorded("c"), b"c/1~": b"aside", b"d/7#0": b"lost"}
    batches, nobodys = by_batch(state)
    assert (list(batches), nobodys) == ([("a/b", 1), ("c", 1), ("d", 7)], [])
    found = of_batch(batches["c", 1], state)
    assert (found.permit, found.aside) == ((b"c/1!", state[b"c/1!"]), (b"c/1~", b"aside"))
    assert found.windows == [(key, state[key]) for key in (b"c/1#0", b"c/1#50")]
    assert (found.keys(), found.values()) == ([b"c/1!", b"c/1#0", b"c/1#50"], [value for _, value in found.windows])
    lost = of_batch(batches["d", 7], state)
    assert (lost.permit, lost.keys(), lost.aside) == (None, [b"d/7#0"], None)


def test_keys_of_no_batch_are_said() -> None:
    bad = [b"", b"nonsense", b"\xff", b"c/x!", b"/1!", b"c#0", b"c/1"]
    assert by_batch([*bad, b"c/1!"]) == ({("c", 1): [b"c/1!"]}, bad)


@pytest.mark.parametrize("bad", [b"c/1!", b"c/1#0", b"c/1#50"])
def test_the_row_that_cannot_be_read_is_found(bad: bytes) -> None:
    state = {**recorded("c"), bad: b"{}"}
    found = of_batch(state, state)
    assert found.permit is not None
    row, why = culprit(found.permit, found.windows)
    assert (row, "validation error" in why, "\n" in why) == ((bad, b"{}"), True, False)
