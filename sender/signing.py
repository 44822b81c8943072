"""Whose mail is signed: the DKIM key of a domain, out of the settings."""

from __future__ import annotations

from sender.message.address import wire_address
from sender.message.compile import Sign
from sender.message.dkim import KeyProblem, signer
from streams.settings import Settings


def signer_of(settings: Settings, domain: str) -> Sign | None:
    """What signs the mail of `domain`; None: it has no key. Raises `KeyProblem` when the key cannot be used."""
    found = settings.domains.get(domain)
    if found is None or found.dkim is None:
        return None
    dkim = found.dkim
    if dkim.key is not None:
        pem = dkim.key.get_secret_value().encode()
    else:
        try:
            pem = dkim.key_file.read_bytes() if dkim.key_file else b""
        except OSError as e:
            raise KeyProblem(f"the DKIM key of {domain} cannot be read: {e}") from None
    return signer(wire_address(f"x@{domain}")[0][2:], dkim.selector, pem)
