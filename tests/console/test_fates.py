"""Where a recipient is, from what the sender recorded and what the gate decided."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.fates import fate, letters_of
from schemas.journal import ACCEPTED, DEFERRED, FAILED, IN_DOUBT, INTENDED, OPEN, SUPPRESSED, JournalEntry

ROW = {"open": [[0, 2]], "cancelled": [[2, 4]], "dropped": [[4, 6]], "error": "no such template"}


@pytest.mark.parametrize(
    ("letter", "index", "state"),
    [
        (OPEN, 0, "waiting"), (FAILED, 1, "waiting"), (IN_DOUBT, 1, "waiting"),
        (OPEN, 2, "cancelled"), (FAILED, 3, "cancelled"),
        (OPEN, 4, "failed"), (OPEN, 9, "waiting"), (FAILED, 9, "failed"), (INTENDED, 9, "in_flight"),
        (ACCEPTED, 0, "accepted"), (ACCEPTED, 2, "accepted"), (SUPPRESSED, 4, "suppressed"), (IN_DOUBT, 9, "in_doubt"),
    ],
)  # fmt: skip
def test_what_was_mailed_stays_and_the_rest_is_as_the_gate_says(letter: str, index: int, state: str) -> None:
    assert fate(letter, index, ROW)[0] == state


@pytest.mark.parametrize("letter", [OPEN, DEFERRED])
def test_who_is_permitted_is_in_flight_as_the_sum_of_the_campaign_says(letter: str) -> None:
    row = {"open": [[3, 5]], "permit": {"ranges": [[0, 3]]}}
    assert fate(letter, 2, row) == ("in_flight", "permitted; not yet on the wire")
    assert fate(letter, 3, row)[0] == "waiting"
    assert fate(ACCEPTED, 1, row)[0] == "accepted"
    assert fate(INTENDED, 1, row) == ("in_flight", "")
    assert fate(FAILED, 1, row)[0] == "failed"


def test_those_given_up_with_their_chunk_have_its_error() -> None:
    assert fate(OPEN, 5, ROW) == ("failed", "no such template")


def test_without_a_row_of_the_gate_the_journal_alone_counts() -> None:
    assert fate(FAILED, 0, {}) == ("failed", "")


def test_a_row_of_the_journal_that_cannot_be_read_tells_nothing() -> None:
    row = JournalEntry(
        campaign_id="c", batch_number=2, start=50, states="ad", rounds=[0, 0], attempts=[1, 1], permit_id="main:1",
        at=datetime(2026, 2, 2, tzinfo=UTC),
    ).encode()  # fmt: skip
    assert letters_of(b"c/2#50", row) == {(2, 50): "a", (2, 51): "d"}
    assert letters_of(b"c/2#50", b"?") == letters_of(b"c/2#0", row) == letters_of(b"c/2~", b"?") == {}
    assert letters_of(b"c/2!", b"[]") == {}
