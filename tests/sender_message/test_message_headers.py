"""Header fields by themselves: folded lines (RFC 5322), encoded words (RFC 2047), mailboxes, dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.template.errors import RowError
from sender.message.headers import date_header, mailbox_header, one_line, plain_header, text_header

LINES = st.text(st.characters(exclude_categories=["Cs"]), max_size=150).filter(lambda s: not re.search(r"[\r\n\0]", s))
NAMES = st.sampled_from(["Subject", "To", "Reply-To"])
_WORD = re.compile(r"=\?utf-8\?b\?([A-Za-z0-9+/=]*)\?=")


def lines_of(header: bytes) -> list[str]:
    assert header.endswith(b"\r\n")
    return header[:-2].decode("ascii").split("\r\n")


def unfolded(header: bytes) -> str:
    return "".join(lines_of(header)).partition(": ")[2]


@given(NAMES, LINES)
@example("Subject", "ñ" * 300)
@example("Subject", "𝒳" * 90)
@example("Subject", "é" * 20)
@example("To", "word " * 40)
def test_what_is_read_is_the_text_and_no_line_is_too_long(name: str, text: str) -> None:
    said = one_line(text, "it")
    header = text_header(name, said)
    assert str(make_header(decode_header(unfolded(header)))) == said
    lines = lines_of(header)
    assert lines[0].startswith(f"{name}: ")
    assert all(line.startswith(" ") for line in lines[1:])
    assert max(map(len, lines)) <= 76


@given(NAMES, LINES)
@example("Subject", "é" + "x" * 200)
@example("To", "é" * 40)
@example("Reply-To", "xé" * 40)
def test_an_encoded_word_splits_no_character_and_is_as_full_as_it_can_be(name: str, text: str) -> None:
    said = one_line(text + "é", "it")
    words = [decode_header(word.group())[0][0].decode() for word in _WORD.finditer(unfolded(text_header(name, said)))]
    assert "".join(words) == said
    for n, word in enumerate(words):
        room = min(75, 76 - len(name) - 2) if n == 0 else 75
        assert len("=?utf-8?b??=") + 4 * -(-len(word.encode()) // 3) <= room or len(word) == 1
        if n + 1 < len(words):
            more = (word + words[n + 1][0]).encode()
            assert len("=?utf-8?b??=") + 4 * -(-len(more) // 3) > room


@pytest.mark.parametrize("text", ["Hello there", "a", "", "x" * 65, "a=b?c", " ".join(["word"] * 40)])
def test_plain_text_stays_readable(text: str) -> None:
    assert unfolded(text_header("Subject", text)) == text


@pytest.mark.parametrize("text", ["two  spaces", "=?utf-8?q?x?=", "caf\xe9", "x" * 66, "a\x01b", f"a {'x' * 66} b"])
def test_what_a_reader_would_take_for_something_else_is_encoded(text: str) -> None:
    assert _WORD.fullmatch(unfolded(text_header("Subject", text)).partition(" ")[0])
    assert str(make_header(decode_header(unfolded(text_header("Subject", text))))) == text


def test_a_line_is_full_at_76() -> None:
    words = ["x" * 30, "y" * 36, "z"]
    assert [len(line) for line in lines_of(plain_header("Subject", " ".join(words)))] == [76, 2]
    words[1] += "y"
    assert [len(line) for line in lines_of(plain_header("Subject", " ".join(words)))] == [39, 40]
    assert plain_header("Subject", "") == b"Subject: \r\n"
    assert lines_of(plain_header("X", "a" * 200)) == [f"X: {'a' * 200}"]


@pytest.mark.parametrize(
    ("display", "written"),
    [
        ("", "ana@example.com"),
        ("Ana", "Ana <ana@example.com>"),
        ("Ana O'Neil", "Ana O'Neil <ana@example.com>"),
        ("Ana, Inc.", '"Ana, Inc." <ana@example.com>'),
        ('Ana "the \\ one"', '"Ana \\"the \\\\ one\\"" <ana@example.com>'),
    ],
)
def test_a_mailbox_is_written_as_people_write_it(display: str, written: str) -> None:
    assert unfolded(mailbox_header("To", "ana@example.com", display)) == written


@pytest.mark.parametrize(("display", "quoted"), [("(" + "a b " * 14 + "ab", True), ("(" + "a b " * 14 + "abc", False)])
def test_a_long_display_name_that_needs_quotes_is_encoded_so_that_it_can_be_folded(display: str, quoted: bool) -> None:
    header = unfolded(mailbox_header("To", "ana@example.com", display))
    assert header.startswith('"') is quoted
    assert header.startswith("=?") is not quoted


@given(NAMES, LINES)
@example("To", "a" * 200)
@example("To", "a, " * 100)
@example("To", "é" * 40)
@example("Reply-To", "xé" * 40)
@example("Reply-To", "é" * 20)
def test_whoever_reads_a_mailbox_finds_its_address(name: str, display: str) -> None:
    said = one_line(display, "it")
    header = mailbox_header(name, "ana@example.com", said)
    assert max(map(len, lines_of(header))) <= 76
    if name != "Subject":
        found = BytesParser(policy=default).parsebytes(header + b"\r\n")[name].addresses
        assert [one.addr_spec for one in found] == ["ana@example.com"]
    if said and not said.isascii():
        assert unfolded(header).rpartition(" ")[0] == unfolded(text_header(name, said)), "encoded as any text is"


def test_a_header_holds_no_line_break() -> None:
    for text in ("a\nb", "a\rb", "a\0b"):
        with pytest.raises(RowError, match="the subject holds a line break"):
            one_line(text, "the subject")
    assert one_line(" a\tb\x85c\u2028d ", "it") == "a b c d"


def test_a_date_says_its_own_zone_and_whole_seconds() -> None:
    bogota = timezone(timedelta(hours=-5))
    utc = datetime(2026, 2, 2, 14, 0, 0, 999_999, tzinfo=UTC)
    for _ in range(2):
        assert date_header(utc) == b"Date: Mon, 02 Feb 2026 14:00:00 +0000\r\n"
        assert date_header(utc.astimezone(bogota)) == b"Date: Mon, 02 Feb 2026 09:00:00 -0500\r\n"
        assert date_header(utc.astimezone(timezone(timedelta(hours=1)))).endswith(b"15:00:00 +0100\r\n")
