"""Writes the function that fills one campaign's message for one table's columns.

Everything that is the same for everybody is encoded once; the function looks up a row's values, encodes each for
its places (at once when it is tame: short ASCII that every encoding leaves as it is) and joins the bytes.
"""

from __future__ import annotations

import re
from binascii import b2a_qp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any

from schemas.message_name import Tokens
from schemas.template.budget import MAX_OUTPUT
from schemas.template.links import TOKEN
from sender.message.address import wire_address
from sender.message.bodies import SOFT, in_base64, octets, part_headers, piece
from sender.message.envelope import Envelope
from sender.message.headers import one_line, text_header
from sender.message.parts import Variant
from sender.message.simple import Flat, Value, address_in_url, tame, tame_in_url, wide

Core = Callable[[Sequence[object], Tokens, bytes], Envelope | None]
"""(row, the message's name in its two forms, Date header) to its message; None, or what it raises: the row is
out of the ordinary."""

_REMEMBERED = 512
"""Values whose encoding is remembered, for each place; names come again and again."""
_SHORT = 64
_plain_subject = re.compile(r"[!-~]+(?: [!-~]+)*").fullmatch


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """List-Unsubscribe: the token stands after each of `words`, before a `>`; the URL's word may not be there."""

    words: tuple[str, ...]
    more: bytes
    """Headers that follow."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message without its text and recipient."""

    mail_from: str
    smtputf8: bool
    domain: str
    fixed: bytes
    unsubscribe: Unsubscribe
    boundary: str


Encoder = Callable[[object], bytes | str]
Slot = tuple[str, str, bool, str]
"""(variable, what is made of it, worded, kind): what has the same form wherever it stands."""


@dataclass
class Writer:
    """One function: lines of Python, and the objects that they name."""

    frame: Frame
    subject: tuple[Flat, ...]
    bodies: Sequence[tuple[str, Variant]]
    columns: Sequence[str]
    encoders: dict[Slot, Encoder]
    objects: dict[str, Any] = field(default_factory=dict)
    slots: dict[Slot, str] = field(default_factory=dict)
    """The name of what holds it."""
    values: dict[str, list[tuple[Value, str, str]]] = field(default_factory=dict)
    """By variable: (value, kind, name)."""
    numbers: Iterator[int] = field(default_factory=count)

    def core(self) -> Core:
        """The function."""
        out = self._content()
        subject = self._subject()
        lines = [
            "def core(row, tokens, date):",
            " mail, url = tokens",
            " if '=' in mail: return None",
            " t = url.encode()",
        ]
        lines.append(f" rcpt, utf8 = wire({self._cell('email')})")
        for name, uses in self.values.items():
            lines += self._variable(name, uses)
        lines += subject
        lines += [f" content = b''.join(({','.join(self._expressions(out))},))", " if len(content) > most: return None"]
        if len(self.bodies) == 1:
            lines.append(" if content[-2:] != b'\\r\\n': content += b'\\r\\n'")
        lines.append(" return new(Envelope, (mail_from, rcpt, content, '<' + mail + at, smtputf8 or utf8, True))")
        self.objects |= {
            "wire": wire_address, "most": MAX_OUTPUT, "new": tuple.__new__, "Envelope": Envelope, "tame": tame,
            "tame_in_url": tame_in_url, "address_in_url": address_in_url, "wide": wide, "b2a_qp": b2a_qp,
            "mail_from": self.frame.mail_from,
            "at": f"@{self.frame.domain}>", "smtputf8": self.frame.smtputf8, "in_base64": in_base64, "SOFT": SOFT,
            "plain_subject": _plain_subject, "subject_of": _subject_header,
        }  # fmt: skip
        exec("\n".join(lines), self.objects)  # noqa: S102  (nothing of a template or row is in the lines, only our names)
        core: Core = self.objects["core"]
        return core

    # -- the content: bytes, and expressions that give bytes ------------------------------------------

    def _content(self) -> list[bytes | str]:
        frame = self.frame
        out: list[bytes | str] = ["date", b"Message-ID: <", "mail.encode()", f"@{frame.domain}>\r\n".encode()]
        out.append(frame.fixed)
        out += [b"To: ", "rcpt.encode()", b"\r\n", "subject"]
        out += [*self._unsubscribe(), b"MIME-Version: 1.0\r\n"]
        if len(self.bodies) == 1:
            return out + self._body(*self.bodies[0])
        mark = f"--{frame.boundary}".encode()
        out.append(f'Content-Type: multipart/alternative;\r\n boundary="{frame.boundary}"\r\n\r\n'.encode())
        for subtype, body in self.bodies:
            out += [mark, b"\r\n", *self._body(subtype, body), b"\r\n"]
        return [*out, mark, b"--\r\n"]

    def _unsubscribe(self) -> list[bytes | str]:
        words = self.frame.unsubscribe.words
        out: list[bytes | str] = [b"List-Unsubscribe: " + words[0].encode(), "t"]
        if len(words) > 1:
            # Folded when the two do not fit into one line of 76 (headers.py).
            rest = 76 - len(f"List-Unsubscribe: {words[0]}>, {words[1]}>")
            self.objects["fold"] = b"\r\n "
            out += [b">,", f"(b' ' if 2 * len(t) <= {rest} else fold)", words[1].encode(), "t"]
        return [*out, b">\r\n", self.frame.unsubscribe.more]

    def _body(self, subtype: str, body: Variant) -> list[bytes | str]:
        out: list[bytes | str] = []
        for n, one in enumerate(body.pieces, 1):
            last = n == len(body.pieces)
            if isinstance(one, Value):
                kind = "raw" if body.encoding == "base64" else "last" if last else "quoted"
                out.append(self._slot(one, kind))
            else:
                out.append(octets(one) if body.encoding == "base64" else piece(one, last=last))
        if body.encoding == "base64":
            if all(isinstance(one, bytes) for one in out):
                out = [in_base64(b"".join(one for one in out if isinstance(one, bytes)))]
            else:
                out = [f"in_base64(b''.join(({','.join(self._expressions(out))},)))"]
        return [part_headers(subtype, body.encoding), *out]

    def _subject(self) -> list[str]:
        pieces = self.subject
        if all(isinstance(one, str) for one in pieces):
            self.objects["subject"] = _subject_header("".join(str(one) for one in pieces))
            return []
        said = []
        for one in pieces:
            if isinstance(one, Value):
                said.append(self._slot(one, "text"))
            else:
                said.append(self._object(one))
        return [
            f" s = {' + '.join(said)}",
            " if len(s) < 66 and plain_subject(s) and '=?' not in s: subject = b'Subject: %b\\r\\n' % s.encode()",
            " else: subject = subject_of(s)",
        ]

    # -- values ---------------------------------------------------------------------------------------

    def _slot(self, value: Value, kind: str) -> str:
        key = (value.name, value.source, value.worded, kind)
        if key not in self.slots:
            name = self.slots[key] = f"b{next(self.numbers)}"
            if key not in self.encoders:
                self.encoders[key] = _encoder(value, kind)
            self.objects["encode_" + name] = self.encoders[key]
            self.values.setdefault(value.name, []).append((value, kind, name))
        return self.slots[key]

    def _cell(self, name: str) -> str:
        if name == TOKEN:
            return "url"
        at = [n for n, column in enumerate(self.columns) if column == name]
        return f"row[{at[-1]}]" if at else "None"

    def _variable(self, name: str, uses: list[tuple[Value, str, str]]) -> list[str]:
        lines = [f" v = {self._cell(name)}", " if v.__class__ is int: v = str(v)"]
        for in_url, test in ((False, "tame"), (True, "tame_in_url")):
            here = [(value, kind, to) for value, kind, to in uses if value.in_url is in_url]
            if not here:
                continue
            lines += [f" if v.__class__ is str and {test}(v):", *_forms(here, "v.encode()", "v.encode()")]
            if not in_url and sum(kind in {"quoted", "last"} for _, kind, _ in here) > 1:
                lines += [
                    " elif v.__class__ is str and wide(v) and len(q := b2a_qp(v.encode())) <= 72:",
                    *_forms(here, "q", "v.encode()"),
                ]
            if in_url and all(value.percent for value, _, _ in here):
                lines += [" elif v.__class__ is str and address_in_url(v):", "  u = v.replace('@', '%40')"]
                lines += _forms(here, "u.encode()", "u.encode()", "u")
            lines += [" else:", *(f"  {to} = encode_{to}(v)" for _, _, to in here)]
        return lines

    def _object(self, thing: object) -> str:
        name = f"c{next(self.numbers)}"
        self.objects[name] = thing
        return name

    def _expressions(self, sequence: Sequence[bytes | str]) -> list[str]:
        """The sequence as Python, neighbouring bytes as one constant."""
        out: list[str] = []
        gathered = b""
        for one in [*sequence, ""]:
            if isinstance(one, bytes):
                gathered += one
                continue
            if gathered:
                out.append(self._object(gathered))
                gathered = b""
            if one:
                out.append(one)
        return out


def _forms(uses: Sequence[tuple[Value, str, str]], quoted: str, raw: str, text: str = "v") -> list[str]:
    """What a `text` that no filter changes further becomes in each place: its quoted-printable form, its octets."""
    forms = {"text": text, "last": quoted, "raw": raw}
    carried = "".join(f"{to} = " for _, kind, to in uses if kind == "quoted")
    lines = [f"  {carried}{quoted} + SOFT"] if carried else []
    return lines + [f"  {to} = {forms[kind]}" for _, kind, to in uses if kind != "quoted"]


def _encoder(value: Value, kind: str) -> Encoder:
    """What makes of a row's value the bytes (kind `text`: the text) that stand in the message."""

    def encode(given: object) -> bytes | str:
        text = value.text(given)
        if kind == "text":
            return text
        return octets(text) if kind == "raw" else piece(text, last=kind == "last")

    remembered = lru_cache(maxsize=_REMEMBERED)(encode)

    def encode_or_remember(given: object) -> bytes | str:
        return remembered(given) if given.__class__ is str and len(str(given)) < _SHORT else encode(given)

    return encode_or_remember


@lru_cache(maxsize=_REMEMBERED)
def _subject_header(text: str) -> bytes:
    return text_header("Subject", one_line(text, "the subject"))
