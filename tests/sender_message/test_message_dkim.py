"""DKIM signatures, checked by another implementation (dkimpy)."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from letters import DAY, NOON, campaign
from pydantic import ValidationError

from schemas.message_name import MessageName
from sender.message.compile import compile_message
from sender.message.dkim import KeyProblem, relaxed_body, signer
from sender.signing import signer_of
from streams.settings import DkimSettings, DomainSettings, RelaySettings, Settings, load

NAME = MessageName("c", 1, 2)
ROW: dict[str, object] = {"email": "anna@example.com", "first_name": "José"}
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def record(key: Key) -> bytes:
    """The TXT record of the public key (RFC 6376, 3.6.1; RFC 8463, 4)."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public.public_bytes_raw())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def accepted(content: bytes, key: Key) -> bool:
    """What a receiver makes of it."""
    asked = []

    def txt(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return record(key)

    try:
        verdict = bool(dkim.DKIM(content).verify(dnsfunc=txt))
    except dkim.ValidationError:
        verdict = False
    assert asked == [b"r1._domainkey.bore.example."]
    return verdict


@pytest.mark.parametrize("key", [RSA, ED25519])
@pytest.mark.parametrize("html", ["<p>Hola {{ first_name }}  \t x</p>\n\n\n", "<p>" + "花 " * 200 + "</p>", None])
def test_another_implementation_accepts_the_signature(key: Key, html: str | None) -> None:
    made = compile_message(
        campaign(html=html, text=None if html else "Hola {{ first_name }} \n..\n \n", reply_to="a@bore.example"),
        tracker="https://t.bore.example",
        sign=signer("bore.example", "r1", pem(key)),
    )
    filled = made.fill(ROW, NAME, DAY, NOON)
    assert accepted(filled.content, key)
    assert filled == made.fill(ROW, NAME, DAY, NOON)
    assert filled.dotless
    assert all(len(line) <= 200 and not line.startswith(b".") for line in filled.content.split(b"\r\n"))
    signed = re.sub(r"\s", "", filled.content.split(b"bh=")[0].decode())
    assert "h=from:from:to:reply-to:subject:date:message-id:list-unsubscribe:list-unsubscribe-post:" in signed
    unsigned = compile_message(
        campaign(html=html, text=None if html else "Hola {{ first_name }} \n..\n \n", reply_to="a@bore.example"),
        tracker="https://t.bore.example",
    ).fill(ROW, NAME, DAY, NOON)
    assert filled.content.endswith(unsigned.content)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"Hola", b"Hole"), (b"To: anna", b"To: bert"), (b"From: ", b"From: x@y.example\r\nFrom: "), (b"One-Click", b"x")],
)
def test_a_message_that_was_changed_is_refused(old: bytes, new: bytes) -> None:
    made = compile_message(
        campaign(), tracker="https://t.bore.example", sign=signer("bore.example", "r1", pem(ED25519))
    )
    content = made.fill(ROW, NAME, DAY, NOON).content
    assert old in content
    assert not accepted(content.replace(old, new), ED25519)


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab .\t\r\n"), max_size=60))
def test_any_body_is_hashed_as_others_hash_it(body: str) -> None:
    sign = signer("bore.example", "r1", pem(ED25519))
    head = b"From: Bore  <a@bore.example>\r\nSubject:  a\r\n \tb \r\nX-Other: y\r\n\r\n"
    content = head + re.sub("\r\n?|\n", "\r\n", body).encode() + b"\r\n"
    assert accepted(sign(content, NOON), ED25519)


def test_the_relaxed_body_is_that_of_the_rfc() -> None:
    # RFC 6376, 3.4.5 and 3.4.4
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"
    assert relaxed_body(b"\r\n\r\n") == b""
    assert relaxed_body(b"a") == b"a\r\n"


def test_the_time_of_signing_is_the_date() -> None:
    sign = signer("bore.example", "r1", pem(ED25519))
    content = b"From: a@bore.example\r\n\r\nx\r\n"
    assert b"t=%d;" % NOON.timestamp() in sign(content, NOON)
    assert sign(content, NOON) != sign(content, NOON + timedelta(seconds=1))


def test_a_key_that_cannot_be_used_says_why() -> None:
    with pytest.raises(KeyProblem, match=r"bore\.example is no unencrypted private key"):
        signer("bore.example", "r1", b"no key")
    with pytest.raises(KeyProblem, match="neither RSA nor Ed25519"):
        signer("bore.example", "r1", pem(ec.generate_private_key(ec.SECP256R1())))
    locked = RSA.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(KeyProblem, match="unencrypted"):
        signer("bore.example", "r1", locked)


def test_a_domain_signs_with_the_key_in_its_settings(tmp_path: Path) -> None:
    (tmp_path / "dkim.pem").write_bytes(pem(ED25519))
    toml = tmp_path / "rampa.toml"
    toml.write_text(
        '[relays.main]\nhost = "smtp.example.com"\n[domains."bore.example"]\nrelay = "main"\n'
        '[domains."bore.example".dkim]\nselector = "r1"\nkey_file = "dkim.pem"\n'
        '[domains."other.example"]\nrelay = "main"\n'
    )
    from_file = load(toml, {})
    key = DkimSettings.model_validate({"selector": "r1", "key": pem(ED25519).decode()})
    given_ = Settings(
        relays={"main": RelaySettings(host="smtp.example.com")},
        domains={"bore.example": DomainSettings(relay="main", dkim=key)},
    )
    for one in (from_file, given_):
        sign = signer_of(one, "bore.example")
        assert sign is not None
        assert accepted(sign(b"From: a@bore.example\r\n\r\nx\r\n", NOON), ED25519)
        assert signer_of(one, "other.example") is None
        assert "PRIVATE" not in repr(one)
    (tmp_path / "dkim.pem").unlink()
    with pytest.raises(KeyProblem, match=r"bore\.example cannot be read"):
        signer_of(from_file, "bore.example")
    with pytest.raises(ValidationError, match="dkim needs one of"):
        DkimSettings(selector="r1")
