"""The variable envelope return path: to which message a bounce belongs, said by the address that it comes back to.

`bounces+cobranza-2026-02.7.3.0.260202.1f2e3d4c5b@bore.example`: the name that stands before the `@` of the
Message-ID, as the detail of a subaddress (RFC 5233). Sources: D. J. Bernstein, "Variable Envelope Return Paths", 1997;
RFC 5321, 3.6 and 4.5.5, for where non-delivery goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from schemas.message_name import Found, parse_message_id
from sender.message.address import wire_address

MAX_LOCAL = 64
"""Octets before the `@` (RFC 5321, 4.5.3.1.1)."""


def return_paths(mailbox: str) -> Callable[[str], str]:
    """A function from what stands before the `@` of a Message-ID to that message's return path at `mailbox`.

    A campaign id so long that there is no room gets `mailbox` itself: its bounces are known by the Message-ID that
    they quote. Raises `RowError` when `mailbox` is no address.
    """
    written, _ = wire_address(mailbox)
    local, _, domain = written.rpartition("@")
    before, after, room = f"{local}+", f"@{domain}", MAX_LOCAL - len(local) - 1

    def path(token: str) -> str:
        return before + token + after if len(token) <= room else written

    return path


def parse_return_path(address: str, mailbox: str, keys: Sequence[bytes]) -> Found | None:
    """The message whose return path at `mailbox` is `address`, and its day; None: there is none that a key signed.

    The domain found is the mailbox's, which need not be the one that sent.
    """
    written, _ = wire_address(mailbox)
    local, _, domain = written.rpartition("@")
    given, _, at = address.strip().strip("<>").rpartition("@")
    if at.lower() != domain or not given.lower().startswith(f"{local.lower()}+"):
        return None
    return parse_message_id(f"{given[len(local) + 1 :]}@{domain}", keys)
