"""Addresses as the wire wants them, whichever way they are looked at."""

from __future__ import annotations

import pytest

from schemas.template.errors import RowError
from sender.message.address import wire_address

LABEL = "a" * 63
LONGEST = ".".join([LABEL, LABEL, LABEL, "a" * 57])
"""A domain of 249 octets."""


@pytest.mark.parametrize(
    ("written", "wire", "utf8"),
    [
        ("Ana.Maria+x@Example.COM", "Ana.Maria+x@example.com", False),
        (" ana@example.com\t", "ana@example.com", False),
        ("o'neil@example.com", "o'neil@example.com", False),
        ('"two words"@example.com', '"two words"@example.com', False),
        ("ana@bücher.example", "ana@xn--bcher-kva.example", False),
        ("ana@BÜCHER.example", "ana@xn--bcher-kva.example", False),
        ("ana@XN--BCHER-KVA.example", "ana@xn--bcher-kva.example", False),
        ("ñandú@bücher.example", "ñandú@xn--bcher-kva.example", True),
        ("ana@[192.0.2.1]", "ana@[192.0.2.1]", False),
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com", False),
        (f"{'é' * 32}@example.com", f"{'é' * 32}@example.com", True),
        (f"name@{LONGEST}", f"name@{LONGEST}", False),
        (f"'ame@{LONGEST}", f"'ame@{LONGEST}", False),
        (f"ana@{LABEL}.example", f"ana@{LABEL}.example", False),
    ],
)
def test_an_address_is_written_with_its_domain_as_an_a_label(written: str, wire: str, utf8: bool) -> None:
    assert wire_address(written) == (wire, utf8)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("ana", "not an address"),
        ("@example.com", "not an address"),
        ("ana@", "not an address"),
        ("a..b@example.com", "not an address"),
        ("two words@example.com", "not an address"),
        ("ana@-example.com", "is not a domain"),
        ("ana@example-.com", "is not a domain"),
        (f"ana@{LABEL}a.example", "is not a domain"),
        ("ana@a..example", "is not a domain"),
        ("ana@[example]x", "is not a domain"),
        ("ana@[a b]", "is not a domain"),
        ("ana@xn--a.example", "not an address"),
        ("ana@a.xn--a", "not an address"),
        ("\ud800@example.com", "not an address"),
        ("ana\n@example.com", "control character"),
        ("ana@example.com\u2028", "control character"),
        (f"{'x' * 65}@example.com", "more than 64 octets"),
        (f"{'é' * 33}@example.com", "more than 64 octets"),
        (f"names@{LONGEST}", "more than 254 octets"),
        (f"é-me@{LONGEST}", "more than 254 octets"),
        (f"{'a' * 60}@{'.'.join(['é' * 20] * 8)}.example", "more than 254 octets"),
    ],
)
def test_what_no_server_would_take_is_refused_with_the_reason(written: str, why: str) -> None:
    with pytest.raises(RowError, match=why):
        wire_address(written)
