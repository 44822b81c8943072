"""The one spelling of a domain name, and of an address, that it is known by: lower case, A-labels (RFC 5891)."""

from __future__ import annotations

import re

import idna

from schemas.identity import DOMAIN

_DOTS = re.compile("[\u3002\uff0e\uff61]")
"""What IDNA reads as a dot (RFC 3490 section 3.1)."""


def ascii_domain(domain: str) -> str:
    """`domain` in lower case, its international labels as A-labels (RFC 5891).

    Raises ValueError; its text begins with the name.
    """
    shown = repr(domain[:80])
    if domain.startswith("["):
        raise ValueError(f"{shown} is an address literal; write the name of a domain")
    lowered = domain.lower()
    if not lowered.isascii() or "xn--" in lowered:
        try:
            lowered = idna.encode(_DOTS.sub(".", domain), uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as e:
            raise ValueError(f"{shown} is not an international domain name: {e}") from None
    if "." not in lowered:
        raise ValueError(f"{shown} has no dot")
    if lowered.rpartition(".")[2].isdigit():
        raise ValueError(f"{shown} is a number; write the name of a domain")
    if not DOMAIN.fullmatch(lowered):
        raise ValueError(f"{shown} is not a domain name")
    return lowered


def known_by(domain: str) -> str:
    """What to look a name up by that a person wrote: its one spelling, or as it is when it has none."""
    try:
        return ascii_domain(domain.strip())
    except ValueError:
        return domain.strip().lower()


def mailbox(address: str) -> str:
    """What an address is known by: the whole of it in lower case, its domain in A-labels.

    Only a provider may say that A and a are one before the @ (RFC 5321 section 2.4), and nearly every one does: whoever
    is looked for, listed twice or suppressed is known by this. On the wire an address stays as it was written.
    """
    local, at, domain = address.strip().rpartition("@")
    return f"{local}{at}{known_by(domain)}".lower()
