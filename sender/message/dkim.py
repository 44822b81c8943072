"""DKIM signatures (RFC 6376), relaxed/relaxed: rsa-sha256, and ed25519-sha256 (RFC 8463).

The keys and the arithmetic are those of `cryptography`; what is hashed, and the header, are here. Signing is
deterministic: the same message has the same signature. From is named twice, so that none can be added.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from schemas.template.errors import SettingsProblem

SIGNED = (
    b"from", b"to", b"reply-to", b"subject", b"date", b"message-id", b"list-unsubscribe", b"list-unsubscribe-post",
    b"feedback-id", b"mime-version", b"content-type", b"content-transfer-encoding",
)  # fmt: skip
"""What is signed of the header (RFC 6376, 5.4.1; RFC 8058, 4, for List-Unsubscribe)."""

_FIELD = re.compile(rb"\r\n(?![ \t])")
_SPACES = re.compile(rb"[ \t]{2,}|\t")


class KeyProblem(SettingsProblem):
    """A domain's DKIM key cannot be used: which domain, and why."""


def signer(domain: str, selector: str, pem: bytes) -> Callable[[bytes, datetime], bytes]:
    """What puts a signature of `domain` (an A-label) before a message, given its date.

    `pem` is the private key, unencrypted: RSA of at least 1024 bits (RFC 8301, 3.2), or Ed25519. Raises `KeyProblem`.
    """
    algorithm, sign = _key(domain, pem)
    start = f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n s={selector}; t=".encode("ascii")

    def signed(content: bytes, date: datetime) -> bytes:
        head, _, body = content.partition(b"\r\n\r\n")
        fields = {field.partition(b":")[0].strip().lower(): field for field in _FIELD.split(head)}
        names = [name for name in SIGNED if name in fields]
        signature = b"%b%d;\r\n h=from:%b;\r\n bh=%b;\r\n b=" % (
            start, date.timestamp(), _folded(b":".join(names)), b64encode(sha256(relaxed_body(body)).digest()),
        )  # fmt: skip
        hashed = [_relaxed(fields[name]) for name in names]
        value = b64encode(sign(b"\r\n".join([*hashed, _relaxed(signature)])))
        lines = [value[at : at + 72] for at in range(0, len(value), 72)]
        return b"%b%b\r\n%b" % (signature, b"\r\n  ".join(lines), content)

    return signed


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376, 3.4.4: runs of spaces become one, none at a line's end, no empty lines at the end."""
    if b"\t" in body or b"  " in body or b" \r\n" in body or body.endswith(b" "):
        body = _SPACES.sub(b" ", body).replace(b" \r\n", b"\r\n").rstrip(b" ")
    body = body.rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def _relaxed(field: bytes) -> bytes:
    """RFC 6376, 3.4.2."""
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + _SPACES.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def _folded(names: bytes) -> bytes:
    return re.sub(rb"(.{40,60}:)", rb"\1\r\n  ", names)


def _key(domain: str, pem: bytes) -> tuple[str, Callable[[bytes], bytes]]:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise KeyProblem(f"the DKIM key of {domain} is no unencrypted private key in PEM form: {e}") from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < 1024:
            raise KeyProblem(f"the DKIM key of {domain} has {key.key_size} bits: make one of 2048")
        padding, digest = PKCS1v15(), SHA256()
        return "rsa-sha256", lambda data: key.sign(data, padding, digest)
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519-sha256", lambda data: key.sign(sha256(data).digest())
    raise KeyProblem(f"the DKIM key of {domain} is neither RSA nor Ed25519")
