"""The record: written before the 250, read back as it was written, also while it grows."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.answers import Taken
from simulator.errors import RecordError
from simulator.record import RecordReader, RecordWriter, entry_of, header, read_record
from simulator.stores import MaildirStore, RecordStore

HEAD = b"Received: by x\r\n\twith y\r\nmessage-id:\r\n <1@bore.example>\r\nX-Campaign: c1\r\n\r\n"


def taken(body: bytes = HEAD + b"Hola\r\n") -> Taken:
    """A message for two."""
    return Taken(7, "a@bore.example", ("b@x.example", "ñ@x.example"), body, 1767225600.25, True, False, "anna")


def test_an_entry_says_all_that_is_known_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    store = RecordStore(path, ["X-Campaign", "X-Missing"])
    store.take(taken(), 3)
    store.close()
    (entry,) = read_record(path)
    assert entry == entry_of(taken(), 3, ["X-Campaign", "X-Missing"])
    assert (entry.message_id, entry.size, entry.time) == ("<1@bore.example>", len(HEAD) + 6, 1767225600.25)
    assert (entry.recipients, entry.headers) == (taken().recipients, {"X-Campaign": "c1", "X-Missing": ""})


def test_a_reader_gives_what_is_new_and_leaves_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    reader = RecordReader(path)
    assert list(reader.new()) == []
    writer = RecordWriter(path)
    writer.write(entry_of(taken(), 1))
    with path.open("ab") as file:
        whole = path.read_bytes()
        file.write(whole[:20])
        file.flush()
        assert [one.number for one in reader.new()] == [1]
        assert list(reader.new()) == []
        file.write(whole[20:])
    assert [one.number for one in reader.new()] == [1]
    writer.close()


@pytest.mark.parametrize("line", [b"not JSON", b"[]", b"{}", b'{"recipients": [], "unknown": 1}'])
def test_a_broken_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "record.jsonl"
    RecordStore(path).take(taken(), 1)
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RecordError, match=r"record\.jsonl, line 2: not a record entry"):
        list(read_record(path))


@given(st.lists(st.sampled_from(["a", "ñ", "<1@x>", ":", "-"]), min_size=1, max_size=30), st.booleans())
def test_a_header_is_found_whatever_its_case_and_folds(words: list[str], lower: bool) -> None:
    name = "message-id" if lower else "Message-ID"
    head = f"Subject: Message-ID: no\r\n{name}: {chr(13)}{chr(10)} ".encode() + "\r\n ".join(words).encode()
    assert header(head + b"\r\nTo: x", "Message-ID") == " ".join(words)


def test_no_header_is_taken_from_the_body() -> None:
    assert entry_of(taken(b"Subject: x\r\n\r\nMessage-ID: <no@x>\r\n"), 1).message_id == ""


def test_a_maildir_keeps_each_message_with_its_envelope(tmp_path: Path) -> None:
    store = MaildirStore(tmp_path / "box")
    store.take(taken(), 1)
    store.take(taken(), 2)
    kept = list(mailbox.Maildir(tmp_path / "box", create=False))
    assert len(kept) == 2
    assert kept[0]["Return-Path"] == "<a@bore.example>"
    assert kept[0]["X-Campaign"] == "c1"
    assert kept[0].get_payload() == "Hola\n"
