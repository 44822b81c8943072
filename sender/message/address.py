"""Addresses as the wire wants them: the domain as an A-label (RFC 5890), the local part as it is."""

from __future__ import annotations

import re
from functools import lru_cache

import idna

from schemas.template.errors import RowError

_ATOM = r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\].]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*|\"(?:[^\"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*\"")
_TYPICAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*").fullmatch
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def wire_address(address: str) -> tuple[str, bool]:
    """(the address with its domain as an A-label, whether it needs SMTPUTF8).

    Raises `RowError` for what is no address, or holds a line break or other control character (which
    could end a header or a command).
    """
    local, _, domain = address.rpartition("@")
    if len(address) <= 254 and len(local) <= 64 and _TYPICAL(local):
        try:
            written = f"{local}@{_a_label(domain)}"
            if len(written) <= 254:
                return written, False
        except (idna.IDNAError, UnicodeError):
            pass  # said below, in the order of what people see first
    address = address.strip(" \t")
    if _CONTROL.search(address):
        raise RowError(f"the address {address[:100]!r} holds a line break or control character")
    local, at, domain = address.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or not domain:
        raise RowError(f"{address[:100]!r} is not an address (local@domain)")
    if len(local.encode("utf-8", "replace")) > 64:  # RFC 5321, 4.5.3.1.1
        raise RowError(f"the address {address[:100]!r} has more than 64 octets before its @")
    try:
        local.encode()
        written = f"{local}@{_a_label(domain)}"
        if len(written.encode()) > 254:  # RFC 5321, 4.5.3.1.3, without the angle brackets
            raise RowError(f"the address {address[:100]!r} has more than 254 octets")
        return written, not local.isascii()
    except (idna.IDNAError, UnicodeError) as e:
        raise RowError(f"{address[:100]!r} is not an address: {e}") from None


@lru_cache(maxsize=10_000)
def _a_label(domain: str) -> str:
    if domain.startswith("[") and domain.endswith("]") and re.fullmatch(r"[0-9A-Za-z:.]+", domain[1:-1]):
        return domain  # an address literal, RFC 5321, 4.1.3
    if domain.isascii() and not domain.lower().startswith("xn--") and ".xn--" not in domain.lower():
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*", domain):
            raise idna.IDNAError(f"{domain!r} is not a domain")
        return domain.lower()
    return idna.encode(domain, uts46=True).decode("ascii").lower()
