"""A second, slow way to a message: the standard library's `email.message`, for templates that are given in pieces.

What is stated here besides what the library does:
- headers in our order, folded at spaces and 76, the first word on the header's line; outside ASCII as base64 words
  (RFC 2047), by `email.header.Header`;
- a body is quoted-printable piece by piece, by `quopri`; a piece that is not its body's last and does not end a
  line is followed by a soft line end, and no line begins with a dot. The library's own folding of a body (by lines
  of the whole text) would move with every value, so it cannot be a compiled message's.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Sequence
from datetime import date, datetime
from email.charset import BASE64, Charset
from email.header import Header
from email.message import Message
from email.policy import compat32
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from letters import KEY

from schemas.message_name import MessageName, message_tokens

Piece = str | tuple[str, str]
"""Text of the template, or (variable, kind): html, text, query, path, safe, default."""

_SOURCE = {"safe": " | safe", "default": ' | default("amigo <3")', "e": " | e"}
_BASE64_WORDS = Charset("utf-8")
_BASE64_WORDS.header_encoding = BASE64


def source(pieces: Sequence[Piece]) -> str:
    """The template that the pieces are."""
    return "".join(one if isinstance(one, str) else f"{{{{ {one[0]}{_SOURCE.get(one[1], '')} }}}}" for one in pieces)


def values(pieces: Sequence[Piece], row: dict[str, object], *, html: bool) -> list[str]:
    """The pieces as they stand in the message of `row`."""
    return [one if isinstance(one, str) else _value(row.get(one[0]), one[1], html=html) for one in pieces]


def _value(given: object, kind: str, *, html: bool) -> str:
    text = "amigo <3" if given is None and kind == "default" else str(given)
    if kind in ("query", "path"):
        return quote(text, safe="/" if kind == "path" else "")
    if kind == "safe" or (not html and kind != "e"):
        return text
    for character, entity in ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;"):
        text = text.replace(character, entity)
    return text


def body(pieces: Sequence[str]) -> str:
    """Quoted-printable, with LF line ends."""
    out = ""
    for n, text in enumerate(pieces):
        quoted = quopri.encodestring(re.sub(r"\r\n?", "\n", text).encode()).decode("ascii")
        lines = [line for one in quoted.split("\n") for line in _no_leading_dot(one)]
        if n < len(pieces) - 1 and lines[-1]:
            lines[-1] = re.sub("=20$", " ", lines[-1])
            if len(lines[-1]) == 76:
                keep = 73 if lines[-1][73] == "=" else 75
                lines[-1:] = [lines[-1][:keep] + "=", re.sub(r"^\.", "=2E", lines[-1][keep:])]
            lines[-1] += "=\n"
        out += "\n".join(lines)
    return out


def _no_leading_dot(line: str) -> list[str]:
    if not line.startswith("."):
        return [line]
    if len(line) < 75:
        return [f"=2E{line[1:]}"]
    return ["=2E=", *_no_leading_dot(line[1:])]


class _Folded(Header):
    """A header that is folded already. The library would begin a long word on a line of its own, and leave the
    first line empty, which some receivers do not understand."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def encode(self, splitchars: str = "", maxlinelen: int | None = None, linesep: str = "\n") -> str:  # noqa: ARG002
        return self._text.replace("\n", linesep)


class _Spaced(Header):
    """A header that is folded at any space; the library prefers those after a comma or semicolon."""

    def encode(self, splitchars: str = " ", maxlinelen: int | None = None, linesep: str = "\n") -> str:  # noqa: ARG002
        return super().encode(" ", maxlinelen, linesep)


def _header(name: str, text: str) -> Header:
    plain = text.isascii() and text.isprintable() and not re.search(r"=\?|  |\S{66}", text)
    return _Spaced(text, None if plain else _BASE64_WORDS, maxlinelen=76, header_name=name)


def message(
    fixed: dict[str, str],
    subject: str,
    plain: list[str] | None,
    html: list[str] | None,
    row: dict[str, object],
    name: MessageName,
    day: date,
    dated: datetime,
    boundary: str,
) -> bytes:
    """The message as `email.message` writes it. `fixed` are the headers of the campaign."""
    made: Message[Any, Any] = Message(policy=compat32)
    mail, token = message_tokens(name.campaign_id, name.batch_number, name.round, day, KEY)(name.index)
    made["Date"], made["Message-ID"] = format_datetime(dated), f"<{mail}@bore.example>"
    for one, text in fixed.items():
        made[one] = text
    made["To"], made["Subject"] = str(row["email"]), _header("Subject", subject)
    made["List-Unsubscribe"] = _Folded(
        f"<https://t.bore.example/u/{token}>,\n <mailto:cobros@bore.example?subject=unsubscribe%20{token}>"
    )
    made["List-Unsubscribe-Post"], made["MIME-Version"] = "List-Unsubscribe=One-Click", "1.0"
    parts = [(subtype, pieces) for subtype, pieces in (("plain", plain), ("html", html)) if pieces is not None]
    if len(parts) == 1:
        _fill(made, *parts[0])
    else:
        made["Content-Type"] = f'multipart/alternative;\n boundary="{boundary}"'
        for subtype, pieces in parts:
            part: Message[Any, Any] = Message(policy=compat32)
            _fill(part, subtype, pieces)
            made.attach(part)
    octets = made.as_bytes(policy=compat32.clone(linesep="\r\n", mangle_from_=False, max_line_length=76))
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def _fill(made: Message[Any, Any], subtype: str, pieces: list[str]) -> None:
    made["Content-Type"] = f'text/{subtype}; charset="utf-8"'
    made["Content-Transfer-Encoding"] = "quoted-printable"
    made.set_payload(body(pieces))
