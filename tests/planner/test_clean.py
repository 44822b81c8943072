"""Who is mailed of those who are listed, and who is not and why."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SourceError
from planner.recipients.base import Broken, Row
from planner.recipients.clean import Cleaner
from planner.recipients.seen import Seen
from planner.recipients.where import text_of
from schemas.batch import MAX_PART_BYTES
from schemas.domain_names import mailbox
from schemas.records import InvalidRow

COLUMNS = ("name", "email", "status")


def cleaned(
    rows: list[Row | Broken], where: dict[str, list[Any]] | None = None, needed: tuple[str, ...] = (), **more: Any
) -> tuple[list[dict[str, Any]], list[InvalidRow], Cleaner]:
    left_out: list[InvalidRow] = []
    cleaner = Cleaner("c", where=where, needed=frozenset(needed), on_invalid=left_out.append, **more)
    good = [dict(zip(c.columns, orjson.loads(c.encoded), strict=True)) for c in cleaner.clean(rows)]
    assert cleaner.recipients == len(good) + cleaner.invalid + cleaner.duplicate
    assert len(left_out) == cleaner.invalid + cleaner.duplicate
    return good, left_out, cleaner


def rows(*values: tuple[Any, ...]) -> list[Row | Broken]:
    return [Row(number, COLUMNS, list(row)) for number, row in enumerate(values, 1)]


def test_the_address_comes_first_and_in_one_spelling() -> None:
    cleaner = Cleaner("c")
    [one] = cleaner.clean(rows(("Ana", " ana@EXAMPLE.com ", "x")))
    assert one.columns == ("email", "name", "status")
    assert orjson.loads(one.encoded) == ["ana@example.com", "Ana", "x"]


def test_each_row_that_is_left_out_is_named_with_its_number_and_reason() -> None:
    given_rows = [
        *rows(("A", "a@x.co", ""), ("B", "nobody", ""), ("C", "a@X.CO ", "")),
        Broken(4, "is broken", "d@x.co"),
    ]
    good, left_out, cleaner = cleaned(given_rows)
    assert [g["email"] for g in good] == ["a@x.co"]
    assert [(r.row, r.kind, r.address) for r in left_out] == [
        (2, "invalid", "nobody"), (3, "duplicate", "a@x.co"), (4, "invalid", "d@x.co"),
    ]  # fmt: skip
    assert left_out[0].reason == "there is no @ in the address"
    assert (cleaner.recipients, cleaner.invalid, cleaner.duplicate) == (4, 2, 1)


def test_two_cases_of_an_address_are_one_person_who_is_mailed_as_he_was_written_first() -> None:
    spellings = ["Ana@x.co", "ana@X.co", "ANA@x.co", "José@x.co", "JOSÉ@x.co", "ana2@x.co"]
    good, left_out, cleaner = cleaned(rows(*(("", spelling, "") for spelling in spellings)))
    assert [g["email"] for g in good] == ["Ana@x.co", "José@x.co", "ana2@x.co"]
    reason = "an earlier row has the same address, capitals aside"
    assert [(r.row, r.kind, r.address, r.reason) for r in left_out] == [
        (2, "duplicate", "ana@x.co", reason), (3, "duplicate", "ANA@x.co", reason),
        (5, "duplicate", "JOSÉ@x.co", reason),
    ]  # fmt: skip
    assert (cleaner.recipients, cleaner.invalid, cleaner.duplicate) == (6, 0, 3)


@given(st.lists(st.sampled_from(["Ana", "ana", "aNa", "İnci", "inci", "STRASSE", "straße", "ΣΑΣ", "σας"]), max_size=9))
def test_whoever_is_found_by_an_address_is_the_one_whom_duplicates_left(local_parts: list[str]) -> None:
    good, left_out, _ = cleaned(rows(*(("", f"{local}@Bücher.example", "") for local in local_parts)))
    mailed = [mailbox(g["email"]) for g in good]
    assert len(set(mailed)) == len(mailed)
    assert {mailbox(row.address) for row in left_out} <= set(mailed)


def test_a_row_that_is_invalid_does_not_make_the_next_one_a_duplicate() -> None:
    short, full = ("email",), ("email", "name")
    good, left_out, _ = cleaned([Row(1, short, ["a@x.co"]), Row(2, full, ["a@x.co", "A"])], needed=("name",))
    assert [g["name"] for g in good] == ["A"]
    assert left_out[0].reason == "lacks variable name"


def test_a_row_lacks_a_variable_when_it_is_null_or_not_there_and_not_when_it_is_empty() -> None:
    good, left_out, _ = cleaned(rows(("", "a@x.co", ""), (None, "b@x.co", None)), needed=("name", "status", "city"))
    assert good == []
    assert [r.reason for r in left_out] == ["lacks variable city"] * 2
    good, left_out, _ = cleaned(rows(("", "a@x.co", ""), (None, "b@x.co", None)), needed=("name", "status"))
    assert [g["email"] for g in good] == ["a@x.co"]
    assert left_out[0].reason == "lacks variables name, status"


def test_where_keeps_rows_by_one_value_or_any_of_a_list() -> None:
    given_rows = rows(("A", "a@x.co", "waitlist"), ("B", "b@x.co", "no-show"), ("C", "c@x.co", "checked-in"))
    assert [g["name"] for g in cleaned(given_rows, {"status": ["waitlist"]})[0]] == ["A"]
    good, left_out, cleaner = cleaned(given_rows, {"status": ["waitlist", "no-show"], "name": ["B", "C"]})
    assert [g["name"] for g in good] == ["B"]
    assert (left_out, cleaner.recipients) == ([], 1)


@pytest.mark.parametrize(
    ("cell", "wanted", "kept"),
    [
        ("5", 5, True), (5, "5", True), (5.0, 5, True), ("5.5", 5.5, True), ("05", 5, False), ("true", True, True),
        ("TRUE", True, True), (True, "true", True), (True, True, True), ("1", True, False), ("", None, True),
        (None, None, True), ("None", None, False), ("x", "X", False), (None, "", True),
    ],
)  # fmt: skip
def test_where_compares_as_text(cell: Any, wanted: Any, kept: bool) -> None:
    good, _, _ = cleaned(rows(("A", "a@x.co", cell)), {"status": [wanted]})
    assert bool(good) is kept


def test_where_on_a_column_that_no_row_has_is_refused() -> None:
    with pytest.raises(SourceError, match="'statu' is not a column of the recipients; did you mean 'status'"):
        cleaned(rows(("A", "a@x.co", "x")), {"statu": ["x"]})


def test_a_row_that_is_too_large_or_cannot_be_json_is_invalid() -> None:
    good, left_out, _ = cleaned(
        rows(
            ("x" * 70_000, "a@x.co", ""),
            (object(), "b@x.co", ""),
            ("ok", 5, ""),
            ("ok", None, ""),
            (1 << 70, "e@x.co", ""),
        )
    )
    assert good == []
    reasons = [r.reason for r in left_out]
    assert "bytes as JSON" in reasons[0]
    assert "not JSON serializable" in reasons[1]
    assert reasons[2] == "the address is not a text but a number"
    assert reasons[3] == "the address is empty"
    assert "64-bit" in reasons[4]


def test_a_row_never_outgrows_a_part_however_large_rows_may_be() -> None:
    good, left_out, _ = cleaned(rows(("x" * 600_000, "a@x.co", ""), ("ok", "b@x.co", "")), max_row_bytes=10_000_000)
    assert [g["email"] for g in good] == ["b@x.co"]
    assert str(MAX_PART_BYTES - 1024)[:3] in left_out[0].reason


def test_an_address_with_a_line_break_is_named_without_harm() -> None:
    _, left_out, _ = cleaned(rows(("A", "a@x.co\r\nBcc: b@x.co", "")))
    assert "line break" in left_out[0].reason
    assert InvalidRow.decode(left_out[0].encode()) == left_out[0]


@given(st.lists(st.text(alphabet="ab@é", max_size=4), max_size=200))
def test_seen_is_a_set(texts: list[str]) -> None:
    seen, plain = Seen(), set()
    for text in texts:
        assert seen.add(text) is (text not in plain)
        plain.add(text)


def test_seen_is_a_set_of_many() -> None:
    seen = Seen()
    assert all(seen.add(f"p{i}@example.com") for i in range(200_000))
    assert not any(seen.add(f"p{i}@example.com") for i in range(200_000))


def test_numbers_and_truth_have_one_text() -> None:
    assert [text_of(v) for v in (True, False, 1, 1.0, 1.5, None, "x")] == ["true", "false", "1", "1", "1.5", "", "x"]
