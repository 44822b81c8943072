"""Packed rows are a dict of rows, in little room."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.packing import PackedRows, Packing

VALUES = st.binary(max_size=60) | st.integers(0, 99).map(lambda n: b'{"kind":"window","states":"%d"}' % n)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.none() | VALUES)), st.integers(0, 150))
def test_packed_rows_are_a_dict_whatever_is_packed_of_them(
    steps: list[tuple[bytes, bytes | None]], unpacked: int
) -> None:
    rows, expected = PackedRows(unpacked), dict[bytes, bytes]()
    for key, value in steps:
        if value is not None:
            rows[key] = expected[key] = value
        elif key in expected:
            del rows[key], expected[key]
        else:
            with pytest.raises(KeyError):
                del rows[key]
    assert (len(rows), dict(rows)) == (len(expected), expected)
    assert list(rows.items()) == list(expected.items())
    for key in (b"a", b"b", b"c", b"d"):
        assert (key in rows, rows.get(key)) == (key in expected, expected.get(key))


@given(st.lists(st.tuples(VALUES, st.integers(0, 30)), max_size=60))
def test_each_value_comes_back_however_many_kinds_there_are(values: list[tuple[bytes, int]]) -> None:
    packing = Packing()
    packed = [packing.pack(value, kind) for value, kind in values]
    assert [packing.unpack(one) for one in packed] == [value for value, _ in values]


def test_kinds_that_begin_with_the_same_value_share_it() -> None:
    packing = Packing()
    packed = [packing.pack(b"the same, for a start", kind) for kind in range(40)]
    assert [packing.unpack(one) for one in packed] == [b"the same, for a start"] * 40


def test_what_another_has_packed_is_refused() -> None:
    packed = Packing().pack(b"something of another's", "kind")
    with pytest.raises(zlib.error):
        Packing().unpack(packed)


def row(n: int) -> bytes:
    what = {"kind": "permit", "campaign_id": "news", "batch_number": n, "permit_id": f"main:{n:012d}", "at": f"12:{n}"}
    return json.dumps({**what, "rounds": [0] * 50, "checksum": "0" * 64}).encode()


def test_many_rows_that_are_alike_take_a_fifth_of_their_room_and_the_last_few_are_as_they_came() -> None:
    rows = PackedRows(50_000)
    for n in range(1000):
        rows[b"%d" % (n % 900)] = row(n)
    assert len(rows) == 900
    assert [rows[b"%d" % n] for n in (0, 99, 100, 899)] == [row(900), row(999), row(100), row(899)]
    kept = sum(map(len, rows._packed.values())) + sum(map(len, rows._recent.values()))
    assert 0 < sum(map(len, rows._recent.values())) <= 50_000
    assert kept - 50_000 < sum(len(row(n)) for n in range(900)) / 5
