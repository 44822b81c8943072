"""Bodies as bytes: UTF-8, quoted-printable or base64 (RFC 2045), and the multipart round them (RFC 2046).

No line begins with a dot (it is written `=2E`), so that SMTP has none to double.
"""

from __future__ import annotations

import base64
import binascii
import re

_ENDS = re.compile(r"\r\n|\r|\n")


def part(subtype: str, text: str) -> bytes:
    """The headers and body of `text` as text/`subtype`, in the shorter of the two encodings."""
    encoding, body = encoded(text)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode("ascii") + body


def encoded(text: str) -> tuple[str, bytes]:
    """(name of the encoding, body with CRLF line ends and none at its end that `text` has not)."""
    octets = _ENDS.sub("\r\n", text).encode("utf-8", "replace")
    quoted = quoted_printable(octets)
    if len(quoted) <= 4 * ((len(octets) + 2) // 3) * 78 // 76:
        return "quoted-printable", quoted
    return "base64", base64.encodebytes(octets).rstrip(b"\n").replace(b"\n", b"\r\n")


def quoted_printable(octets: bytes) -> bytes:
    """RFC 2045, 6.7: lines of at most 76, spaces at a line's end encoded. `octets` have CRLF line ends."""
    quoted = binascii.b2a_qp(octets, istext=True)
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
