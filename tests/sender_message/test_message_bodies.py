"""Bodies by themselves: quoted-printable in pieces, base64, and the multipart round them."""

from __future__ import annotations

import base64
import quopri
import re
from email.parser import BytesParser
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sender.message.bodies import SOFT, alternative, in_base64, in_quoted_printable, octets, part, piece, shorter

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=120) | st.text("a. =\r\n", max_size=200)


@given(st.lists(TEXTS, max_size=4))
@example(["x" * 75, "y"])
@example(["x" * 76, "y"])
@example(["x" * 75 + ".", "y"])
@example(["x" * 73 + "é", "y"])
@example(["x" * 70 + "é", "."])
@example(["end ", " begin"])
@example(["." * 80, "." * 80])
@example(["", ".", "", "."])
def test_pieces_are_read_as_one_text_and_no_line_is_too_long_or_begins_with_a_dot(pieces: list[str]) -> None:
    body = in_quoted_printable(pieces)
    assert quopri.decodestring(body) == b"".join(map(octets, pieces))
    lines = body.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith(b".") or line.endswith((b" ", b"\t")) for line in lines)
    assert b"\n" not in body.replace(b"\r\n", b"")


@given(TEXTS)
@example("x" * 75)
@example("x" * 76)
@example("x" * 75 + ".")
@example("trailing ")
def test_what_follows_a_piece_stands_on_a_new_line(text: str) -> None:
    assert re.search(rb"(\A|\n)\Z", piece(text, last=False))
    assert not piece(text, last=True).endswith(SOFT)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a", b"a=\r\n"),
        ("a\n", b"a\r\n"),
        ("", b""),
        ("a ", b"a =\r\n"),
        ("x" * 75, b"x" * 75 + SOFT),
        ("x" * 76, b"x" * 75 + SOFT + b"x" + SOFT),
        ("x" * 75 + ".", b"x" * 75 + SOFT + b"=2E" + SOFT),
        ("." + "x" * 67 + "é", b"=2E" + b"x" * 67 + b"=C3" + SOFT + b"=A9" + SOFT),
        ("." + "x" * 73, b"=2E" + b"x" * 72 + SOFT + b"x" + SOFT),
        ("." + "x" * 74, b"=2E=\r\n" + b"x" * 74 + SOFT),
        ("x" * 70 + "é", b"x" * 70 + b"=C3" + SOFT + b"=A9" + SOFT),
    ],
)
def test_a_piece_ends_softly_within_its_line(text: str, written: bytes) -> None:
    assert piece(text, last=False) == written


@given(st.binary(max_size=300))
def test_base64_has_lines_of_76(given_: bytes) -> None:
    lines = in_base64(given_).split(b"\r\n")
    assert base64.b64decode(b"".join(lines), validate=True) == given_
    assert all(len(line) == 76 for line in lines[:-1])
    assert len(lines[-1]) <= 76


@given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(["quoted-printable", "base64", None]))
@example(["plain text"], None)
@example(["ñandú " * 20], None)
@example(["日本語" * 20], None)
def test_a_part_is_read_back_in_either_encoding_and_else_in_the_shorter(
    pieces: list[str], encoding: str | None
) -> None:
    made = part("plain", pieces, encoding)  # type: ignore[arg-type]
    message = BytesParser(policy=default).parsebytes(made)
    assert message.get_content_type() == "text/plain"
    assert message.get_payload(decode=True) == b"".join(map(octets, pieces))
    if encoding is None:
        sizes = [len(part("plain", pieces, one)) - len(one) for one in ("quoted-printable", "base64")]
        assert len(made) - len(message["Content-Transfer-Encoding"]) <= min(sizes) + 4
    else:
        assert message["Content-Transfer-Encoding"] == encoding


def test_plain_words_stay_readable_and_other_scripts_are_base64() -> None:
    assert shorter(["Hola, ", "señor"]) == "quoted-printable"
    assert shorter(["日本語"]) == "base64"
    # 12 octets of which 4 are written as three: 20 against 16; of which 2 are: 16 against 16.
    assert shorter(["x" * 8 + "éé"]) == "base64"
    assert shorter(["x" * 10 + "é"]) == "quoted-printable"
    assert shorter([""]) == "quoted-printable"


def test_parts_stand_between_their_boundaries_to_the_letter() -> None:
    assert alternative([b"A: 1\r\n\r\none", b"A: 2\r\n\r\ntwo"], "b") == (
        b'Content-Type: multipart/alternative;\r\n boundary="b"\r\n\r\n'
        b"--b\r\nA: 1\r\n\r\none\r\n--b\r\nA: 2\r\n\r\ntwo\r\n--b--\r\n"
    )
