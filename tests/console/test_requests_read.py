"""A request in a file is judged as the intake judges records: `plan` and `submit` refuse what it would refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from console.cli.main import app
from console.errors import ConsoleError
from console.requests import _placed, read_request
from planner import intake
from schemas.command import Origin
from schemas.request import CampaignRequest
from streams.clock import REAL

WRITTEN = (
    '{"from": {"email": "a@b.example"}, "template": {"subject": "s", "text": "t"},'
    ' "recipients": {"inline": [{"email": "a@x.example", "x": %s}]}}'
)
UNREADABLE = {
    '"\\ud800"': "not JSON: no low surrogate",
    "[" * 5000: "not JSON: depth limit exceeded",
    "[" * 300 + "]" * 300: "Invalid JSON: recursion limit exceeded",
    "[" * 195 + "]" * 195: "its lists and objects are nested too deeply",
    "NaN": "not JSON: unexpected character",
    "-Infinity": "not JSON: no digit after sign",
    "1e999": "not JSON: number is infinity",
    "-1e999": "not JSON: number is infinity",
    "1" * 400 + ".5": "not JSON: number is infinity",
    '"\\udc00\\ud800"': "not JSON: ",
    '"\t"': "not JSON: ",
    "01": "not JSON: ",
    "1" + "0" * 30: "Integer exceeds 64-bit range",
}
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a request with one odd value among its recipients' variables, beside settings that know its domain."""

    def write(odd: str) -> Path:
        file = tmp_path / "c.json"
        file.write_text(WRITTEN % odd)
        return file

    (tmp_path / "rampa.toml").write_text(
        '[kafka]\nbootstrap = "embedded"\n[relays.main]\ntype = "maildir"\npath = "mail"\n'
        '[domains."b.example"]\nrelay = "main"\n'
    )
    return write


def said_by(file: Path, *words: str) -> str:
    """What a command says that refuses the request."""
    config = str(file.parent / "rampa.toml")
    result = CliRunner().invoke(app, [*words, str(file), "--config", config], catch_exceptions=False)
    assert result.exit_code == 1
    return result.stderr


@pytest.mark.parametrize(("odd", "says"), UNREADABLE.items(), ids=[f"{odd[:9]}{len(odd)}" for odd in UNREADABLE])
def test_what_the_intake_cannot_read_is_refused_in_its_words(write: Write, odd: str, says: str) -> None:
    file = write(odd)
    planned, submitted = said_by(file, "plan"), said_by(file, "campaign", "submit")
    assert planned == submitted
    assert says in planned
    told = intake.read_request(file.read_bytes(), Origin(topic="t", partition=0, offset=0), REAL.now())
    assert isinstance(told, intake.Refusal)
    assert says in told.problems[0].problem
    assert len(planned.encode()) < 300, "it does not show the whole request"


_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=())),
        st.sampled_from([1e308, 2**64, 10**5000]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8,
)  # fmt: skip
_objects = st.dictionaries(st.text(max_size=3), _values, max_size=3)


@st.composite
def _odd_json(draw: st.DrawFn) -> str:
    """JSON as Python writes it (with NaN, lone surrogates, numbers of any size), often with something broken in it."""
    with _digits(0):
        text = json.dumps(draw(_objects), ensure_ascii=draw(st.booleans()))
    at = draw(st.integers(0, len(text)))
    there = draw(st.sampled_from(["", "", "1e999", "\\ud800", "\ufeff", "\0", "\t", "[" * 1100, "NaN", "01", ",", '"']))
    return (text[:at] + there + text[at + draw(st.integers(0, 2)) :]).encode(errors="ignore").decode()


@contextmanager
def _digits(most: int) -> Iterator[None]:
    """Python reads and writes numbers of so many digits (0: of any number of them)."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(most)
    yield
    sys.set_int_max_str_digits(before)


def _read(value: bytes) -> object:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as e:
        return str(e)


@given(_odd_json())
def test_placing_recipients_makes_nothing_readable_and_changes_nothing_else(text: str) -> None:
    """The intake reads the same values, or cannot read it for the same reason at the same place."""
    before, after = _read(text.encode()), _read(_placed(text, Path("c.json"), None))
    if isinstance(before, dict) and isinstance(after, dict):
        before.setdefault("recipients", {})
    assert before == after


def test_what_is_unusual_and_can_be_read_is_read_as_it_is(write: Write) -> None:
    for odd in ("18446744073709551615", "[" * 150 + "]" * 150, '"\\ud83d\\ude00"', "1e-7"):
        inline = read_request(write(odd)).recipients.inline
        assert inline is not None
        assert inline[0]["x"] == orjson.loads(odd)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_json_does_not_know_is_no_request_in_toml_either(tmp_path: Path, number: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"max_retries = {number}\n")
    with pytest.raises(ConsoleError, match="inf or nan"):
        read_request(file)


def test_toml_that_is_nested_too_deeply_is_an_error_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("x = " + "[" * 5000)
    with pytest.raises(ConsoleError, match="nested too deeply"):
        read_request(file)


def test_a_request_in_toml_is_read_with_its_time(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(
        b'from = {email = "a@b.example"}\r\ntemplate = {subject = "s", text = "t"}\r\n'
        b'recipients = {uri = "r.csv"}\r\nschedule = {start_at = 2026-03-02T08:00:00Z}\r\n'
    )
    request = read_request(file)
    assert request.recipients.uri == (tmp_path / "r.csv").as_uri()
    assert request.schedule.start_at is not None


def test_a_request_that_no_record_can_hold_is_refused_with_its_size_and_what_to_do(write: Write) -> None:
    file = write("1")
    request = json.loads(file.read_text())
    request["recipients"]["inline"] = [{"email": f"person{i}@mail.example"} for i in range(30_000)]
    file.write_text(json.dumps(request))
    size = len(CampaignRequest.model_validate(request).encode())
    assert size > intake.MAX_REQUEST_BYTES
    for words in (("plan",), ("campaign", "submit")):
        said = said_by(file, *words)
        assert f"recipients.inline: the request has {size:,} bytes, and 900,000 are the most" in said
        assert "--recipients FILE" in said
    clients = file.parent / "clients.csv"
    clients.write_text("email\nana@mail.example\n")
    assert read_request(file, clients).recipients.inline is None


def test_a_large_request_without_recipients_of_its_own_is_not_told_to_move_them(write: Write) -> None:
    file = write("1")
    request = json.loads(file.read_text())
    request["template"]["html"] = "x" * 950_000
    request["recipients"] = {"uri": "file:///clients.csv"}
    file.write_text(json.dumps(request))
    said = said_by(file, "campaign", "submit")
    assert "template: the request has 950," in said
    assert "recipients" not in said
