"""From rows to records: nobody lost, nobody twice, the same every time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.batches import PlannedBatch, batches, checksum, encode_parts
from planner.recipients.base import Row
from planner.recipients.clean import Clean, Cleaner
from planner.resolve import content_hash, resolve_campaign
from schemas.batch import MAX_PART_BYTES, BatchRecipients
from schemas.campaign import Campaign, SourceFingerprint
from schemas.request import CampaignRequest
from streams.settings import Settings

NOW = datetime(2026, 2, 2, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {"relays": {"main": {"host": "relay.example"}}, "domains": {"bore.example": {"relay": "main"}}}
)


def campaign(**strategy: Any) -> Campaign:
    request = CampaignRequest.model_validate(
        {
            "campaign_id": "c",
            "from": {"email": "a@bore.example"},
            "template": {"subject": "x", "text": "x"},
            "recipients": {"inline": [{"email": "a@x.co"}]},
            "strategy": strategy or {"type": "ramp_up"},
        }
    )
    return resolve_campaign(
        request, content_hash=content_hash(request), created_at=NOW, settings=SETTINGS, templates=lambda _: None,
        fingerprint=SourceFingerprint(kind="inline", size=1, changed=""), now=NOW,
    )  # fmt: skip


def clean(rows: list[dict[str, Any]]) -> list[Clean]:
    cleaner = Cleaner("c", max_row_bytes=10_000_000)
    return list(cleaner.clean(Row(n, tuple(row), list(row.values())) for n, row in enumerate(rows, 1)))


def one_batch(members: list[Clean]) -> PlannedBatch:
    return PlannedBatch("c", 1, len(members), 1, NOW, tuple(members), checksum(members))


def read_back(batch: PlannedBatch) -> list[dict[str, Any]]:
    """What a sender finds: nulls are variables that the row lacks."""
    found: list[dict[str, Any]] = []
    for number, (key, value, start, count) in enumerate(encode_parts(batch, "w7")):
        assert len(value) <= MAX_PART_BYTES
        assert key == f"c/{batch.number}#w7#{number}".encode()
        part = BatchRecipients.decode(value)
        assert part.encode() == value
        assert (part.part, part.start, len(part.rows)) == (number, start, count)
        assert part.start == len(found)
        assert part.columns[0] == "email"
        found += [dict(zip(part.columns, row, strict=True)) for row in part.rows]
    return [{k: v for k, v in row.items() if v is not None} for row in found]


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{i}@example.com", "n": i} for i in range(count)]


def test_4200_recipients_become_the_46_batches_of_the_plan() -> None:
    made = list(batches(campaign(), clean(people(4200))))
    assert [b.number for b in made] == list(range(1, 47))
    assert [b.size for b in made][:6] == [25, 25, 50, 50, 75, 75]
    assert made[-1].sending_day == 23
    assert [row for b in made for row in read_back(b)] == people(4200)


def test_planning_again_gives_the_same_batches() -> None:
    first, second = (list(batches(campaign(), clean(people(500)))) for _ in range(2))
    assert first == second
    assert [encode_parts(b, "w") for b in first] == [encode_parts(b, "w") for b in second]


def test_the_last_batch_is_what_remains_and_no_recipients_are_no_batch() -> None:
    assert [b.size for b in batches(campaign(type="batch"), clean(people(1001)))] == [500, 500, 1]
    assert list(batches(campaign(), [])) == []


def test_a_batch_is_streamed_before_the_next_recipient_is_asked_for() -> None:
    asked = 0

    def endless() -> Any:
        nonlocal asked
        while True:
            asked += 1
            yield Clean(("email",), orjson.dumps([f"p{asked}@example.com"]))

    stream = batches(campaign(type="batch"), endless())
    assert next(stream).size == 500
    assert asked == 500


def test_the_checksum_tells_other_rows_other_columns_and_another_order() -> None:
    base = checksum(clean(people(3)))
    assert base == checksum(clean(people(3)))
    assert base != checksum(clean(people(2)))
    assert base != checksum(clean(list(reversed(people(3)))))
    assert base != checksum(clean([{"email": p["email"], "m": p["n"]} for p in people(3)]))


def test_a_batch_of_large_rows_is_cut_into_parts_that_a_broker_takes() -> None:
    rows = [{"email": f"p{i}@example.com", "text": "é" * 60_000} for i in range(40)]
    batch = one_batch(clean(rows))
    assert read_back(batch) == rows
    assert 9 < len(encode_parts(batch, "w")) <= 14


def test_rows_that_share_no_column_do_not_multiply() -> None:
    rows = [{"email": f"p{i}@example.com", **{f"{i}_{j}": "" for j in range(100)}} for i in range(300)]
    batch = one_batch(clean(rows))
    assert read_back(batch) == rows
    total = sum(len(value) for _, value, _, _ in encode_parts(batch, "w"))
    assert total < 60 * MAX_PART_BYTES


def test_a_row_as_large_as_a_part_fits_beside_others() -> None:
    rows = [{"email": f"p{i}@example.com", "text": "x" * size} for i, size in enumerate([520_000, 5, 522_000, 400_000])]
    assert read_back(one_batch(clean(rows))) == rows


values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30) | st.just("é" * 20_000)
objects = st.lists(
    st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), values, max_size=4), max_size=60
)


@settings(deadline=None)
@given(objects)
def test_whatever_the_rows_are_they_come_back_in_order(found: list[dict[str, Any]]) -> None:
    rows = [{**row, "email": f"p{i}@example.com"} for i, row in enumerate(found)]
    members = clean(rows)
    if not members:
        return
    batch = one_batch(members)
    expected = [{k: v for k, v in row.items() if v is not None} for row in rows]
    assert read_back(batch) == expected
    assert [{k: v for k, v in zip(batch.columns, row, strict=True) if v is not None} for row in batch.rows] == expected
