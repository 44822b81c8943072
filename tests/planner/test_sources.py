"""Recipient sources: what is read, what is refused, and what a broken row costs."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from planner.errors import SourceChanged, SourceError
from planner.recipients import Broken, Row, Source, open_source
from schemas.request import Recipients
from streams.settings import PlannerSettings


def source(path: Path, **settings: Any) -> Source:
    return open_source(Recipients(uri=path.as_uri()), settings=PlannerSettings(**settings))


def inline(*rows: dict[str, Any]) -> Source:
    return open_source(Recipients(inline=rows), settings=PlannerSettings())


def read(found: Source) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The good rows as objects, and the broken ones' reasons by number."""
    good, broken = [], {}
    numbers = []
    for row in found.rows():
        numbers.append(row.number)
        if isinstance(row, Broken):
            broken[row.number] = row.reason
        else:
            good.append(dict(zip(row.columns, row.values, strict=True)))
    assert numbers == list(range(1, len(numbers) + 1))
    return good, broken


def write(directory: Path, content: bytes | str, name: str = "clients.csv") -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ANA = {"email": "ana@example.com", "first_name": "Ana"}
BOB = {"email": "bob@example.com", "first_name": "Bob"}
PLAIN = "email,first_name\nana@example.com,Ana\nbob@example.com,Bob\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace("\nbob", "\n\n\r\nbob"),
        PLAIN.replace("email", " E-Mail "),
        PLAIN.replace("email", "MAIL"),
        '"email","first_name"\n"ana@example.com","Ana"\n"bob@example.com","Bob"\n',
    ],
)
def test_a_csv_is_read_however_it_is_written(tmp_path: Path, content: str) -> None:
    assert read(source(write(tmp_path, content))) == ([ANA, BOB], {})


def test_quoted_cells_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, 'email,first_name\nana@example.com,"Ana, ""the\nfirst"""\nbob@example.com,5" Bob\n')
    good, broken = read(source(path))
    assert [row["first_name"] for row in good] == ['Ana, "the\nfirst"', '5" Bob']
    assert broken == {}


def test_a_row_with_too_many_or_too_few_cells_costs_that_row_only(tmp_path: Path) -> None:
    good, broken = read(source(write(tmp_path, PLAIN + "c@example.com\nd@example.com,D,x\ne@example.com,E\n")))
    assert [row["email"] for row in good] == ["ana@example.com", "bob@example.com", "e@example.com"]
    assert broken == {3: "has 1 cells where the header has 2", 4: "has 3 cells where the header has 2"}


@pytest.mark.parametrize("rest", ["bob@example.com,Bob\n", 'bob@example.com,"Bob\n', 'bob@example.com,"Bob"\n'])
def test_a_quote_that_is_never_closed_costs_its_line_only(tmp_path: Path, rest: str) -> None:
    path = write(tmp_path, 'email,first_name\nana@example.com,"Ana\n' + rest + "eva@example.com,Eva\n")
    good, broken = read(source(path))
    assert good[-1] == {"email": "eva@example.com", "first_name": "Eva"}
    assert "a quote that this line opens is not closed in it" in broken[1]
    assert len(good) + len(broken) == 3


def test_a_quote_that_swallows_the_rest_of_a_large_file_costs_its_line_only(tmp_path: Path) -> None:
    rows = "".join(f"p{i}@example.com,P{i}\n" for i in range(20_000))
    good, broken = read(source(write(tmp_path, 'email,first_name\nana@example.com,"Ana\n' + rows)))
    assert len(good) == 20_000
    assert list(broken) == [1]


def test_latin_1_bytes_cost_their_row_and_are_named(tmp_path: Path) -> None:
    content = PLAIN.encode() + "eva@example.com,Núria\n".encode("latin-1") + "zoe@example.com,Zoé\n".encode()
    good, broken = read(source(write(tmp_path, content)))
    assert good[-1]["first_name"] == "Zoé"
    assert broken == {3: "is not UTF-8 (byte 0xFA at position 18 of the line); save it as UTF-8"}


def test_utf_16_and_lone_cr_line_ends_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for content, says in ((PLAIN.encode("utf-16"), "UTF-16; save it as UTF-8"),
                          (PLAIN.replace("\n", "\r").encode(), "CR alone")):  # fmt: skip
        with pytest.raises(SourceError, match=says):
            read(source(write(tmp_path, content)))


@pytest.mark.parametrize("size", [100_000, 10_000_000])
@pytest.mark.parametrize("name", ["clients.csv", "clients.jsonl"])
def test_a_long_line_is_an_invalid_row_and_takes_no_memory(tmp_path: Path, size: int, name: str) -> None:
    if name.endswith("csv"):
        content = PLAIN.replace("Ana", "A" * size)
    else:
        content = "\n".join(json.dumps(row) for row in ({**ANA, "first_name": "A" * size}, BOB))
    path = write(tmp_path, content, name)
    del content
    tracemalloc.start()
    good, broken = read(source(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good == [BOB]
    assert f"bytes, more than planner.max_row_bytes = {65536}" in broken[1]
    assert peak < 4_000_000


def test_a_file_of_one_endless_line_is_refused_in_little_memory(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its first line has 20000000 bytes"):
        read(source(write(tmp_path, b"x" * 20_000_000)))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.csv", "first_name,city\nAna,Quito\n", "no e-mail column; its columns are 'first_name', 'city'"),
        ("c.csv", "ana@example.com,Ana\n", "looks like data: put a line with the columns' names"),
        ("c.csv", "email,x,x\na@example.com,1,2\n", "two columns called 'x'"),
        ("c.csv", "\n\n", "its first line is empty"),
        ("c.csv", "email\n", "has no rows"),
        ("c.csv", "", "is empty"),
        ("c.jsonl", '{"name":"Ana"}\n{"city":"Quito"}\n', "no e-mail column; its columns are 'name', 'city'"),
        ("c.jsonl", '[\n{"email":"a@example.com"}\n]\n', "JSON array; write one object a line"),
        ("c.jsonl", "\n\n", "has no rows"),
        ("c.parquet", "PAR1 nonsense", "cannot be read as Parquet"),
        ("c.csv.gz", b"\x1f\x8b\x08nonsense", "is damaged"),
    ],
)
def test_a_file_that_holds_no_recipients_is_refused_with_what_to_do(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    with pytest.raises(SourceError, match=says):
        read(source(write(tmp_path, content, name)))


@pytest.mark.parametrize(
    ("name", "content", "secret"),
    [
        ("passwd", "root:x:0:0:root:/root:/bin/bash\nbin:x:1:1\n", ":x:0"),
        ("token", "hunter2\n", "hunter2"),
        (".env", "API_KEY=hunter2\nA=1\n", "hunter2"),
        ("key", "-----BEGIN PRIVATE KEY-----\nhunter2\n", "BEGIN"),
        ("letter.txt", "Dear Ana, the word for tonight is hunter2, do not tell\n", "hunter2"),
        ("shadow", "root:$6$hunter2$x:19000:0\n", "hunter2"),
        ("long.csv", f"name,{'hunter2' * 6}\n", "hunter2"),
        ("c.csv", "ana@example.com,Ana\n", "ana@"),
        ("m.json", '{"hunter2=": 1}\n', "hunter2"),
        ("m.json", '{"hunter2=": 1}\n{"a": 1}\n' * 60, "hunter2"),
    ],
)
def test_what_does_not_look_like_a_header_is_not_told_to_anybody(
    tmp_path: Path, name: str, content: str, secret: str
) -> None:
    with pytest.raises(SourceError, match="no e-mail column") as caught:
        read(source(write(tmp_path, content, name)))
    assert secret not in str(caught.value)


def test_of_a_header_at_most_20_columns_are_told(tmp_path: Path) -> None:
    names = ["Número de teléfono", "first-name", *(f"c_{i}" for i in range(30))]
    with pytest.raises(SourceError, match=r"its columns are 'Número de teléfono', .*'c_17' \.\.\.; call"):
        read(source(write(tmp_path, ";".join(names) + "\n", "c.csv")))


def test_roots_tell_nothing_of_what_lies_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not lie below"):
        read(source(tmp_path / "nowhere.csv", roots=(tmp_path / "allowed",)))


def test_json_lines_may_have_rows_of_different_columns_and_broken_ones(tmp_path: Path) -> None:
    lines = [
        json.dumps(ANA), "{broken", "[1]", '{"first_name": "Nobody"}', "",
        json.dumps({"E-mail": "bob@example.com", "debts": [{"x": 1}], "vip": None}),
    ]  # fmt: skip
    good, broken = read(source(write(tmp_path, "\ufeff" + "\n".join(lines), "c.jsonl")))
    assert good == [ANA, {"email": "bob@example.com", "debts": [{"x": 1}], "vip": None}]
    assert broken[2].startswith("is not JSON")
    assert broken[3] == "is not a JSON object but a list"
    assert broken[4] == "has no e-mail; its columns are 'first_name'"


def test_latin_1_bytes_in_json_lines_cost_their_row(tmp_path: Path) -> None:
    content = '{"email":"a@example.com","n":"é"}\n'.encode("latin-1") + json.dumps(BOB).encode()
    good, broken = read(source(write(tmp_path, content, "c.ndjson")))
    assert good == [BOB]
    assert "not UTF-8 (byte 0xE9" in broken[1]


def table() -> pa.Table:
    return pa.table(
        {
            "Mail": ["ana@example.com", "bob@example.com"],
            "amount": pa.array([Decimal("12.50"), None], pa.decimal128(9, 2)),
            "due": pa.array([20_000, 20_001], pa.date32()),
            "vip": [True, None],
            "n": [1, 2],
            "city": pa.array(["Quito", "Quito"]).dictionary_encode(),
        }
    )


PARQUET_ROWS = [
    {"email": "ana@example.com", "amount": "12.50", "due": "2024-10-04", "vip": True, "n": 1, "city": "Quito"},
    {"email": "bob@example.com", "amount": None, "due": "2024-10-05", "vip": None, "n": 2, "city": "Quito"},
]


def test_parquet_is_read_by_its_types(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "c.parquet")
    assert read(source(tmp_path / "c.parquet")) == (PARQUET_ROWS, {})


def test_parquet_without_an_email_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"name": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(SourceError, match="no e-mail column; its columns are 'name'"):
        read(source(tmp_path / "c.parquet"))


PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("name", ["clients.csv", "clients"])
def test_compression_and_format_are_told_by_name_or_content(tmp_path: Path, packed: str, name: str) -> None:
    assert read(source(write(tmp_path, PACK[packed](PLAIN.encode()), name + packed)))[0] == [ANA, BOB]
    assert read(source(write(tmp_path, PACK[packed](PLAIN.encode()), name)))[0] == [ANA, BOB]
    as_json = "\n".join(map(json.dumps, (ANA, BOB))).encode()
    name = name.replace("csv", "jsonl")
    assert read(source(write(tmp_path, PACK[packed](as_json), name + packed)))[0] == [ANA, BOB]


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_compressed_parquet_and_several_frames_are_read(tmp_path: Path, packed: str) -> None:
    pq.write_table(table(), tmp_path / "c.parquet")
    content = PACK[packed]((tmp_path / "c.parquet").read_bytes())
    assert read(source(write(tmp_path, content, f"p{packed}")))[0] == PARQUET_ROWS
    head, _, tail = PLAIN.partition("\nbob")
    frames = PACK[packed]((head + "\n").encode()) + PACK[packed](("bob" + tail).encode())
    assert read(source(write(tmp_path, frames, f"c.csv{packed}")))[0] == [ANA, BOB]


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_compressed_file_that_is_cut_off_is_refused(tmp_path: Path, packed: str) -> None:
    rows = "".join(f"p{i}@example.com,{os.urandom(8).hex()}\n" for i in range(5000))
    content = PACK[packed](("email,first_name\n" + rows).encode())
    with pytest.raises(SourceError, match="is damaged"):
        read(source(write(tmp_path, content[: len(content) // 2], f"c.csv{packed}")))


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_what_expands_beyond_measure_takes_little_memory(tmp_path: Path, packed: str) -> None:
    content = PACK[packed](PLAIN.encode() + b"x" * 50_000_000)
    path = write(tmp_path, content, f"c.csv{packed}")
    del content
    tracemalloc.start()
    good, broken = read(source(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good == [ANA, BOB]
    assert "50000000 bytes" in broken[3]
    assert peak < 40_000_000


def test_inline_rows_are_rows_and_none_are_refused() -> None:
    assert read(inline(ANA, {"first_name": "x"}, BOB)) == (
        [ANA, BOB], {2: "has no e-mail; its columns are 'first_name'"},
    )  # fmt: skip
    with pytest.raises(SourceError, match="the list is empty"):
        inline().fingerprint()
    with pytest.raises(SourceError, match="no e-mail column"):
        read(inline({"x": 1}))


# --- where files lie


def test_a_missing_file_a_directory_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, says in ((tmp_path / "none.csv", "no such file"), (tmp_path, "is a directory"),
                       (tmp_path / "pipe", "not a regular file"),
                       (tmp_path / "x" / ("y" * 300), "no such|cannot be")):  # fmt: skip
        with pytest.raises(SourceError, match=says):
            source(path).fingerprint()


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, PLAIN)
    if os.geteuid() == 0:  # root may read everything: ask in root's place whether the file is readable
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        path.chmod(0)
    with pytest.raises(SourceError, match="cannot be read by the user"):
        source(path).fingerprint()


def test_percent_signs_in_a_uri_are_decoded(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN, "mis clientes #1 ñ%.csv")
    assert "%20" in path.as_uri()
    assert read(source(path))[0] == [ANA, BOB]


@pytest.mark.parametrize("uri", ["file://host/data/c.csv", "file://c.csv", "s3://bucket", "s3:///key"])
def test_a_uri_that_names_nothing_is_refused(uri: str) -> None:
    with pytest.raises(SourceError, match="write "):
        open_source(Recipients(uri=uri), settings=PlannerSettings())


def test_roots_confine_files_and_see_through_links(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    allowed.mkdir()
    other.mkdir()
    inside, outside = write(allowed, PLAIN), write(other, PLAIN)
    (allowed / "link.csv").symlink_to(outside)
    (other / "link.csv").symlink_to(inside)
    assert len(read(source(inside, roots=(allowed,)))[0]) == 2
    assert len(read(source(other / "link.csv", roots=(allowed,)))[0]) == 2
    climbing = Recipients(uri=f"file://{allowed}/%2e%2e/other/clients.csv")
    for found in (source(outside, roots=(allowed,)), source(allowed / "link.csv", roots=(allowed,)),
                  open_source(climbing, settings=PlannerSettings(roots=(allowed,)))):  # fmt: skip
        with pytest.raises(SourceError, match=r"does not lie below .*planner\.roots"):
            found.fingerprint()


def change(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"eva@example.com,Eva\n")


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    status = path.stat()
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(path)


@pytest.mark.parametrize("how", [change, replace, Path.unlink])
def test_a_file_that_changes_while_it_is_planned_is_noticed(tmp_path: Path, how: Any) -> None:
    path = write(tmp_path, PLAIN)
    rows = source(path).rows()
    next(rows)
    how(path)
    with pytest.raises(SourceError, match=r"no such file|has changed while it was planned"):
        list(rows)


def test_a_file_that_has_changed_since_it_was_accepted_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN)
    accepted = source(path).fingerprint()
    assert len(list(source(path).rows(accepted))) == 2
    change(path)
    with pytest.raises(SourceChanged, match="has changed since it was accepted"):
        list(source(path).rows(accepted))


def test_rows_are_streamed(tmp_path: Path) -> None:
    path = write(tmp_path, "email,first_name\n" + "".join(f"p{i}@example.com,P\n" for i in range(200_000)))
    tracemalloc.start()
    count = sum(isinstance(row, Row) for row in source(path).rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 5_000_000
