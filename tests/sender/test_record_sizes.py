"""The largest batch, shattered as badly as it can be, stays far below what a broker takes in one record (1 MB)."""

from __future__ import annotations

from journals import HOUR, NOON, chunk

from schemas.chunk import SendError
from sender.journal import core, rows
from sender.journal.values import Ended, EndKind

LARGEST = 10_000
"""Recipients of a batch at most (schemas/strategy.py)."""
BOUND = 600_000
"""Bytes: what leaves room for keys, headers, and the protocol's own."""
WORDS = "550 5.1.1 " + "x" * 500


def test_a_batch_of_ten_thousand_of_which_every_second_failed_fits_into_its_records() -> None:
    permit = chunk(ranges=((0, LARGEST),), size=LARGEST)
    journal, _, _ = core.take_permit(None, permit, NOON)
    journal, begun = core.begin(journal, LARGEST, NOON)
    kinds: tuple[EndKind, ...] = ("failed", "in_doubt")
    ends = [Ended(i, kinds[i % 2], NOON, i % 7 + 1, f"p{i}@x.example", text=WORDS) for i in begun]
    journal, _ = core.ended(journal, ends)
    journal, result = core.finish(journal, NOON, "error", WORDS)
    assert (len(result.failed), len(result.in_doubt)) == (LARGEST // 2, LARGEST // 2)
    assert len(result.encode()) < BOUND
    assert max(len(value or b"") for _, value in rows.changes(None, journal, NOON)) < BOUND
    ended, _ = core.ended(core.begin(core.take_permit(None, permit, NOON)[0], LARGEST, NOON)[0], [
        Ended(i, ("failed" if i % 2 else "accepted"), NOON, i % 7 + 1, f"p{i}@x.example", text=WORDS) for i in begun
    ])  # fmt: skip
    ended, _ = core.finish(ended, NOON, "done")
    assert core.is_ended(ended)
    assert max(len(value or b"") for _, value in rows.changes(None, ended, NOON)) < BOUND


def test_a_permit_for_every_second_of_ten_thousand_that_is_answered_as_unsent_fits_too() -> None:
    ranges = tuple((i, i + 1) for i in range(0, LARGEST, 2))
    permit = chunk(ranges=ranges, size=LARGEST, until=NOON)
    journal, taken, result = core.take_permit(None, permit, NOON + HOUR)
    assert taken == "answered"
    assert result is not None
    assert len(permit.encode()) < BOUND
    assert len(result.encode()) < BOUND
    assert max(len(value or b"") for _, value in rows.changes(None, journal, NOON)) < BOUND


def test_the_last_errors_of_a_report_are_bounded_however_much_a_server_says() -> None:
    journal, _ = core.begin(core.take_permit(None, chunk(), NOON)[0], 10, NOON)
    journal, _ = core.ended(journal, [Ended(i, "failed", NOON, text="5" * 300_000) for i in range(10)])
    _, result = core.finish(journal, NOON, "error", "5" * 300_000)
    assert all(isinstance(e, SendError) and len(e.error) <= 1001 for e in result.errors)
    assert len(result.encode()) < 20_000


def test_a_report_can_be_written_whatever_octets_a_server_says() -> None:
    half = b"nicht m\xf6glich".decode(errors="surrogateescape")
    journal, _ = core.begin(core.take_permit(None, chunk(), NOON)[0], 10, NOON)
    journal, _ = core.ended(journal, [Ended(i, "failed", NOON, text=half) for i in range(10)])
    _, result = core.finish(journal, NOON, "relay_down", half)
    assert b'"detail":"nicht m?glich"' in result.encode()
