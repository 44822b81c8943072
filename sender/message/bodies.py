"""Bodies as bytes: UTF-8, quoted-printable or base64 (RFC 2045), and the multipart round them (RFC 2046).

No line begins with a dot (it is written `=2E`), so that SMTP has none to double.

A text is given as a whole, or in pieces: what the template says and what stands for a value by turns.
Quoted-printable, each piece is encoded by itself and begins a line of its own, after a soft line end (which
is no line end of the text). So a value of any length leaves the lines round it as they are, and what the
template says can be encoded once for everybody.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import Literal

Encoding = Literal["quoted-printable", "base64"]

_ENDS = re.compile(r"\r\n|\r|\n")
SOFT = b"=\r\n"


def part(subtype: str, pieces: Sequence[str], encoding: Encoding | None = None) -> bytes:
    """The headers and body of a text/`subtype`; without `encoding` in the shorter one."""
    quoted = b"" if encoding == "base64" else in_quoted_printable(pieces)
    given = b"" if encoding == "quoted-printable" else b"".join(map(octets, pieces))
    if encoding is None:
        encoding = _shorter(quoted, given)
    return part_headers(subtype, encoding) + (in_base64(given) if encoding == "base64" else quoted)


def part_headers(subtype: str, encoding: Encoding) -> bytes:
    """The headers of a part, and the empty line."""
    said = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return said.encode("ascii")


def shorter(pieces: Sequence[str]) -> Encoding:
    """The encoding that makes these the shorter."""
    given = octets("".join(pieces))
    return _shorter(quoted_printable(given), given)


def _shorter(quoted: bytes, given: bytes) -> Encoding:
    return "quoted-printable" if len(quoted) <= 4 * ((len(given) + 2) // 3) * 78 // 76 else "base64"


def octets(text: str) -> bytes:
    """UTF-8 with CRLF line ends; what no UTF-8 can say becomes a question mark."""
    return _ENDS.sub("\r\n", text).encode("utf-8", "replace")


def in_quoted_printable(pieces: Sequence[str]) -> bytes:
    """The body of these pieces, with no line end at its end that the last has not."""
    return b"".join(piece(one, last=n == len(pieces)) for n, one in enumerate(pieces, 1))


def piece(text: str, *, last: bool) -> bytes:
    """One piece; unless it is the body's last, what follows it stands on a new line."""
    quoted = quoted_printable(octets(text))
    if last or not quoted or quoted.endswith(b"\r\n"):
        return quoted
    if quoted.endswith(b"=20"):
        quoted = quoted[:-3] + b" "  # the soft line end follows it: it is no longer at the line's end
    if len(quoted) - quoted.rfind(b"\n") - 1 <= 75:
        return quoted + SOFT
    at = -3 if quoted[-3:-2] == b"=" else -1  # the soft line end itself would be too much: one character moves down
    rest = b"=2E" if quoted[at:] == b"." else quoted[at:]
    return quoted[:at] + SOFT + rest + SOFT


def in_base64(given: bytes) -> bytes:
    """Lines of 76 (RFC 2045, 6.8), without a line end at the end."""
    line = binascii.b2a_base64(given, newline=False)
    return b"\r\n".join([line[at : at + 76] for at in range(0, len(line), 76)])


def quoted_printable(given: bytes) -> bytes:
    """RFC 2045, 6.7: lines of at most 76, spaces at a line's end encoded. `given` has CRLF line ends."""
    quoted = binascii.b2a_qp(given, istext=True)
    quoted = quoted.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if b"\n." in quoted or quoted.startswith(b"."):
        quoted = _without_leading_dots(quoted)
    return quoted


def _without_leading_dots(quoted: bytes) -> bytes:
    lines = []
    for line in quoted.split(b"\r\n"):
        rest = line
        while rest.startswith(b"."):
            if len(rest) <= 74:
                rest = b"=2E" + rest[1:]
            else:  # two octets more would be too many for the line: a soft line end after the dot
                lines.append(b"=2E=")
                rest = rest[1:]
        lines.append(rest)
    return b"\r\n".join(lines)


def alternative(parts: list[bytes], boundary: str) -> bytes:
    """Headers and body of multipart/alternative, the plainest part first (RFC 2046, 5.1.4).

    The line end before each boundary is the boundary's, not the part's (5.1.1).
    """
    mark = b"--" + boundary.encode("ascii")
    head = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii")
    return head + b"".join(mark + b"\r\n" + one + b"\r\n" for one in parts) + mark + b"--\r\n"
