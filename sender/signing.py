"""What the settings say of a domain's mail: the keys that sign it and its names, and where its bounces go."""

from __future__ import annotations

from schemas.message_name import signing_keys
from schemas.template.errors import RowError, SettingsProblem
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


def name_keys(settings: Settings, installation_id: str) -> tuple[bytes, ...]:
    """The keys of the names of messages: the first signs, all verify."""
    return signing_keys([key.get_secret_value() for key in settings.tracker.keys], installation_id)


def return_path_of(settings: Settings, domain: str) -> str | None:
    """The mailbox that bounces of `domain` come back to; None: the address in From.

    Raises `SettingsProblem` when it is no address.
    """
    found = settings.domains.get(domain)
    if found is None or found.return_path is None:
        return None
    try:
        wire_address(found.return_path)
    except RowError as e:
        raise SettingsProblem(f"the return_path of {domain} cannot be used: {e}") from None
    return found.return_path
