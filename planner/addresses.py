"""Addresses: which can be mailed, and as what. (Duplicates are known by this in lower case: `clean.py`.)

Syntax only, no DNS. A local part is a dot-atom, in any script (RFC 5322 section 3.2.3, RFC 6531
section 3.3); quoted ones and address literals are refused, since no mailbox provider issues them and
many servers refuse them. Sizes are those of RFC 5321 section 4.5.3.1.
"""

from __future__ import annotations

import re

from planner.errors import AddressError
from schemas.domain_names import ascii_domain

MAX_LOCAL = 64
MAX_ADDRESS = 254
"""A path of 256 octets less its angle brackets (RFC 5321 section 4.5.3.1.3)."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN = re.compile(
    rf"(?=.{{1,{MAX_ADDRESS}}}\Z)(?=[^@]{{1,{MAX_LOCAL}}}@)"
    rf"{_ATOM}(?:\.{_ATOM})*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]",
    re.ASCII,
)
_plain = _PLAIN.fullmatch
_SPECIAL = re.compile(r"[()<>\[\]:;,\\\"\s]")


def check(address: str) -> str:
    """`address` as it is mailed: spaces around it cut off, its domain in lower case and A-labels.

    Raises `AddressError` with the reason.
    """
    if _plain(address) and "xn--" not in address:
        return address
    address = address.strip(" \t\xa0\ufeff")
    if not address:
        raise AddressError("the address is empty")
    if any(c < " " or c == "\x7f" or "\x80" <= c <= "\x9f" or c in "\u2028\u2029" for c in address):
        raise AddressError("the address contains a line break or another control character")
    local, at, domain = address.rpartition("@")
    if not at:
        raise AddressError("there is no @ in the address")
    _check_local(local)
    checked = f"{local}@{_domain(domain)}"
    if len(checked.encode()) > MAX_ADDRESS:
        raise AddressError(f"the address is longer than {MAX_ADDRESS} bytes")
    return checked


def _domain(domain: str) -> str:
    if not domain:
        raise AddressError("there is nothing after the @")
    try:
        return ascii_domain(domain)
    except ValueError as e:
        raise AddressError(f"its domain {e}") from None


def _check_local(local: str) -> None:
    if not local:
        raise AddressError("there is nothing before the @")
    if local.startswith('"'):
        raise AddressError('its part before the @ is quoted ("..."), which is not supported')
    if "@" in local:
        raise AddressError("there is more than one @ in the address")
    if found := _SPECIAL.search(local):
        what = "a space" if found[0].isspace() else repr(found[0])
        raise AddressError(f"its part before the @ contains {what}")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise AddressError("its part before the @ begins or ends with a dot, or has two in a row")
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL:
        raise AddressError(f"its part before the @ is longer than {MAX_LOCAL} bytes")
    if any("\ud800" <= c <= "\udfff" for c in local):
        raise AddressError("the address is not valid Unicode")
