"""Header fields as bytes: folded (RFC 5322, 2.2.3), outside ASCII as encoded words (RFC 2047).

No line is longer than 76 characters where it can be folded, and none than 998 in any case.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from schemas.template.errors import RowError

_LINE = 76
_BREAKS = re.compile(r"[\r\n\x00]")
_CONTROL = re.compile(r"[\x01-\x1f\x7f-\x9f\u2028\u2029]")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def one_line(text: str, what: str) -> str:
    """`text` as one line for a header. Raises `RowError` when it would begin another header (CR, LF, NUL).

    Other control characters and Unicode's line separators become spaces.
    """
    if _BREAKS.search(text):
        raise RowError(f"{what} holds a line break, which a header must not: {text[:60]!r}")
    return _CONTROL.sub(" ", text).strip()


def text_header(name: str, text: str) -> bytes:
    """An unstructured field such as Subject. `text` is one line."""
    if _is_plain(text):
        return _folded(name, text.split(" "))
    return _folded(name, _encoded_words(text, _LINE - len(name) - 2))


def mailbox_header(name: str, address: str, display: str = "") -> bytes:
    """From, To, Reply-To: one mailbox (RFC 5322, 3.4). `display` is one line."""
    angle = f"<{address}>" if display else address
    if not display:
        words = []
    elif _ATOMS.fullmatch(display) and _is_plain(display):
        words = display.split(" ")
    elif _is_plain(display) and len(display) < 60:
        quoted = display.replace("\\", "\\\\").replace('"', '\\"')
        words = [f'"{quoted}"']
    else:
        words = _encoded_words(display, _LINE - len(name) - 2)
    return _folded(name, [*words, angle])


def plain_header(name: str, value: str) -> bytes:
    """A field of our own making, ASCII, folded at its spaces."""
    return _folded(name, value.split(" "))


def date_header(date: datetime) -> bytes:
    """Date (RFC 5322, 3.3)."""
    return _date_header_utc(date.replace(microsecond=0)) if date.tzinfo is UTC else _date_header(date)


def _date_header(date: datetime) -> bytes:
    return f"Date: {format_datetime(date)}\r\n".encode("ascii")


_date_header_utc = lru_cache(maxsize=16)(_date_header)  # not of other zones: equal times there are written otherwise


def _is_plain(text: str) -> bool:
    """ASCII that needs no encoding: printable, nothing that looks encoded, words that fit a line."""
    return (
        text.isascii()
        and "=?" not in text
        and "  " not in text
        and not _CONTROL.search(text)
        and max(map(len, text.split(" ")), default=0) < _LINE - 10
    )


def _encoded_words(text: str, first: int) -> list[str]:
    """RFC 2047 words of at most 75 characters that split no character; the first one fits into `first`."""
    octets = text.encode("utf-8", "replace")
    if 12 + 4 * ((len(octets) + 2) // 3) <= min(75, first):
        return [_encoded(octets)]
    words: list[str] = []
    room = min(75, first)
    chunk = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if chunk and 12 + 4 * ((len(chunk) + len(octets) + 2) // 3) > room:
            words.append(_encoded(chunk))
            chunk, room = b"", 75
        chunk += octets
    words.append(_encoded(chunk))
    return words


def _encoded(octets: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(octets).decode('ascii')}?="


def _folded(name: str, words: list[str]) -> bytes:
    lines: list[str] = []
    line = f"{name}:"
    for n, word in enumerate(words):
        if n and len(line) + 1 + len(word) > _LINE:
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    return "\r\n".join(lines).encode() + b"\r\n"
