"""AUTH (RFC 4954): PLAIN (RFC 4616), LOGIN, and XOAUTH2 as large providers speak it.

One `Exchange` an AUTH command: it is given the client's lines and answers with a challenge or an end.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from simulator import replies

MECHANISMS: Final = ("PLAIN", "LOGIN", "XOAUTH2")
_XOAUTH2_ERROR: Final = b'{"status":"400","schemes":"Bearer","scope":"mail"}'


@dataclass(frozen=True, slots=True)
class Challenge:
    """334 with this text, then one more line of the client."""

    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Granted:
    """The client is this user."""

    user: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The exchange ends with this reply."""

    reply: bytes


Outcome: TypeAlias = Challenge | Granted | Denied


class Exchange:
    """The lines of one AUTH command."""

    def __init__(self, mechanism: str, users: Mapping[str, str], tokens: Mapping[str, str]) -> None:
        self._mechanism = mechanism
        self._users = users
        self._tokens = tokens
        self._name: str | None = None
        self._failed = False

    def begin(self, initial: str) -> Outcome:
        """The command itself, with its initial response or without (an empty string)."""
        if initial:
            return self.answer("" if initial == "=" else initial)
        return Challenge(b"Username:" if self._mechanism == "LOGIN" else b"")

    def answer(self, line: str) -> Outcome:
        """One more line of the client."""
        if self._failed:  # the empty line that ends a refused XOAUTH2
            return Denied(replies.AUTH_FAILED)
        if line == "*":
            return Denied(replies.AUTH_CANCELLED)
        try:
            text = base64.b64decode(line, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return Denied(replies.AUTH_NOT_BASE64)
        if self._mechanism == "PLAIN":
            return self._plain(text)
        return self._login(text) if self._mechanism == "LOGIN" else self._xoauth2(text)

    def _plain(self, text: str) -> Outcome:
        parts = text.split("\0")
        if len(parts) != 3:
            return Denied(replies.AUTH_NOT_BASE64)
        return _check(self._users, parts[1], parts[2])

    def _login(self, text: str) -> Outcome:
        if self._name is None:
            self._name = text
            return Challenge(b"Password:")
        return _check(self._users, self._name, text)

    def _xoauth2(self, text: str) -> Outcome:
        fields = dict(part.partition("=")[::2] for part in text.split("\x01") if part)
        scheme, _, token = fields.get("auth", "").partition(" ")
        if scheme.lower() == "bearer":
            outcome = _check(self._tokens, fields.get("user", ""), token)
            if isinstance(outcome, Granted):
                return outcome
        self._failed = True
        return Challenge(_XOAUTH2_ERROR)


def _check(known: Mapping[str, str], name: str, secret: str) -> Granted | Denied:
    expected = known.get(name)
    if expected is not None and hmac.compare_digest(expected.encode(), secret.encode()):
        return Granted(name)
    return Denied(replies.AUTH_FAILED)


def challenge_line(challenge: Challenge) -> bytes:
    """334 with the challenge in base64."""
    return b"334 " + base64.b64encode(challenge.text) + b"\r\n"
