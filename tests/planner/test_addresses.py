"""Which addresses can be mailed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.addresses import check
from planner.errors import AddressError


@pytest.mark.parametrize(
    ("written", "mailed"),
    [
        ("ana@example.com", "ana@example.com"),
        ("  ana@example.com\t", "ana@example.com"),
        ("Ana.Maria+x@EXAMPLE.Com", "Ana.Maria+x@example.com"),
        ("o'neill_%=?@sub.example.co", "o'neill_%=?@sub.example.co"),
        ("josé@example.com", "josé@example.com"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana@BÜCHER.example", "ana@xn--bcher-kva.example"),
        ("ana@例え.jp", "ana@xn--r8jz45g.jp"),
        ("ana@例え。jp", "ana@xn--r8jz45g.jp"),
        ("ana@xn--bcher-kva.example", "ana@xn--bcher-kva.example"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
        ("\ufeffana@example.com", "ana@example.com"),
    ],
)
def test_an_address_has_one_spelling(written: str, mailed: str) -> None:
    assert check(written) == mailed
    assert check(mailed) == mailed


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("ana", "no @"),
        ("@example.com", "before the @"),
        ("ana@", "after the @"),
        ("ana@localhost", "no dot"),
        ("ana@example", "no dot"),
        ("a@b@example.com", "more than one @"),
        ("ana maria@example.com", "space"),
        ("ana,maria@example.com", "','"),
        ("Ana <ana@example.com>", "space"),
        ("ana@example.com>", "not a domain name"),
        ('"ana maria"@example.com', "quoted"),
        (".ana@example.com", "dot"),
        ("ana.@example.com", "dot"),
        ("a..b@example.com", "dot"),
        ("ana@[192.0.2.1]", "address literal"),
        ("ana@192.0.2.1", "number"),
        ("ana@-example.com", "not a domain name"),
        ("ana@exa_mple.com", "not a domain name"),
        ("ana@example..com", "not a domain name"),
        ("ana@example.com.", "not a domain name"),
        ("ana@example.com\r\nBcc: all@example.com", "line break"),
        ("ana\r\n@example.com", "line break"),
        ("ana\x00@example.com", "control"),
        ("ana\u2028x@example.com", "line break"),
        ("a" * 65 + "@example.com", "longer than 64"),
        ("é" * 33 + "@example.com", "longer than 64"),
        ("a@" + ".".join(["b" * 60] * 5) + ".com", "not a domain name|longer than 254"),
        ("a" * 60 + "@" + ".".join(["b" * 50] * 4) + ".com", "longer than 254"),
        ("ana@xn--a.example", "international"),
        ("ana@exam\udcffple.com", "international|Unicode"),
        ("a\udcffna@example.com", "Unicode"),
    ],
)
def test_an_address_that_cannot_be_mailed_is_refused_with_the_reason(written: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        check(written)


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z.+é ]{1,10}@[a-zA-Z.ü\[-]{1,12}", fullmatch=True))
def test_what_passes_is_a_safe_envelope_address(text: str) -> None:
    try:
        address = check(text)
    except AddressError:
        return
    assert not any(c in address for c in "\r\n\x00 <>,;")
    assert address.count("@") == 1
    assert address.partition("@")[2].isascii()
    assert len(address.encode()) <= 254
    assert check(address) == address
