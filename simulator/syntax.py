"""The arguments of MAIL and RCPT, checked by the grammar (RFC 5321, 4.1.2; RFC 6531, 3.3).

Strict on purpose: no space after the colon, angle brackets required, so that a client's slip shows
here and not at a provider.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from simulator import replies

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]"
_QUOTED: Final = r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"'
_LOCAL: Final = rf"{_ATEXT}+(?:\.{_ATEXT}+)*|{_QUOTED}"
_LABEL: Final = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\-\u0080-\U0010ffff]*[A-Za-z0-9\u0080-\U0010ffff])?"
_DOMAIN: Final = rf"{_LABEL}(?:\.{_LABEL})*|\[[A-Za-z0-9:.\-]+\]"
_ROUTE: Final = rf"(?:@(?:{_DOMAIN})(?:,@(?:{_DOMAIN}))*:)?"
_MAILBOX: Final = rf"{_ROUTE}(?P<local>{_LOCAL})@(?P<domain>{_DOMAIN})"
_MAIL: Final = re.compile(rf"FROM:<(?:{_MAILBOX})?>(?: +(?P<parameters>.*))?", re.IGNORECASE)
_RCPT: Final = re.compile(rf"TO:<(?:{_MAILBOX}|(?P<alone>postmaster))>(?: +(?P<parameters>.*))?", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")

MAX_LOCAL: Final = 64  # octets, RFC 5321, 4.5.3.1.1
MAX_DOMAIN: Final = 255  # octets, RFC 5321, 4.5.3.1.2
MAX_PATH: Final = 254  # octets: 256 with its angle brackets, RFC 5321, 4.5.3.1.3


class Path(NamedTuple):
    """An envelope address and the parameters behind it (names in upper case)."""

    address: str
    parameters: dict[str, str | None]


_NONE: Final[dict[str, str | None]] = {}


def parse_mail(argument: str) -> Path | bytes:
    """The argument of MAIL, or the reply that refuses it. The null sender `<>` is the empty address."""
    match = _MAIL.fullmatch(argument)
    if match is None:
        return replies.BAD_SENDER if argument[:6].upper() == "FROM:<" else replies.MAIL_SYNTAX
    return _path(match, replies.BAD_SENDER)


def parse_rcpt(argument: str) -> Path | bytes:
    """The argument of RCPT, or the reply that refuses it. `<postmaster>` needs no domain."""
    match = _RCPT.fullmatch(argument)
    if match is None:
        return replies.BAD_RECIPIENT if argument[:4].upper() == "TO:<" else replies.RCPT_SYNTAX
    return _path(match, replies.BAD_RECIPIENT)


def _path(match: re.Match[str], too_long: bytes) -> Path | bytes:
    local, domain, parameters = match["local"], match["domain"], match["parameters"]
    if local is None:
        address = "" if "alone" not in match.re.groupindex else match["alone"]
    else:
        address = f"{local}@{domain}"
        if len(address) > MAX_LOCAL // 4 and not _fits(local, domain):
            return too_long
    if not parameters:
        return Path(address, _NONE)
    parsed: dict[str, str | None] = {}
    for word in parameters.split():
        one = _PARAMETER.fullmatch(word)
        if one is None or one[1].upper() in parsed:
            return replies.BAD_PARAMETER_VALUE
        parsed[one[1].upper()] = one[2]
    return Path(address, parsed)


def _fits(local: str, domain: str) -> bool:
    octets, more = len(local.encode()), len(domain.encode())
    return octets <= MAX_LOCAL and more <= MAX_DOMAIN and octets + 1 + more <= MAX_PATH
