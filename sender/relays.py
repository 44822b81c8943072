"""Relay types: what a relay is to the sender, and which file makes one.

A new type is one new file and one line in `RELAYS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sender.message.envelope import Envelope
from sender.ses.account import AccountLimits
from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Outcome
from streams.settings import RelaySettings

__all__ = ["ACCOUNTS", "RELAYS", "Account", "Connection", "Envelope", "Outcome", "Relay", "RelayDown", "make_relay"]


class Connection(Protocol):
    """One session with a relay; one message at a time."""

    @property
    def usable(self) -> bool:
        """False after 421, a lost connection, or as many messages as one connection may carry."""

    async def send(self, envelope: Envelope) -> Outcome:
        """Sends one message. Never raises for what a server says or for a lost connection."""

    async def close(self) -> None:
        """Ends the session, politely when that is quick. Never raises; may be called again."""


class Relay(Protocol):
    """An account that mail goes out by."""

    async def open(self) -> Connection:
        """A new session, ready for its first message. Raises `RelayDown`."""


def _smtp(settings: RelaySettings) -> Relay:
    from sender.smtp.relay import SmtpRelay

    return SmtpRelay(settings)


def _maildir(settings: RelaySettings) -> Relay:
    from sender.maildir import MaildirRelay

    return MaildirRelay(settings)


def _ses(settings: RelaySettings) -> Relay:
    from sender.ses.relay import SesRelay

    return SesRelay(settings)


RELAYS: dict[str, Callable[[RelaySettings], Relay]] = {"smtp": _smtp, "ses": _ses, "maildir": _maildir}


class Account(Protocol):
    """The account behind a relay, asked for its limits. For a thread: its methods block."""

    def account(self) -> AccountLimits:
        """What it allows at the moment. Raises `RelayDown`."""

    def close(self) -> None:
        """Ends what is open."""


def _ses_account(settings: RelaySettings) -> Account:
    from sender.ses.api import SesApi

    return SesApi(settings)


ACCOUNTS: dict[str, Callable[[RelaySettings], Account]] = {"ses": _ses_account}
"""Relay types whose limits can be read. Making one may take a third of a second, and raise `RelayDown`."""


def make_relay(settings: RelaySettings) -> Relay:
    """The relay that `settings` describe. Raises `RelayDown` for a type that cannot send yet."""
    try:
        make = RELAYS[settings.type]
    except KeyError:
        known = ", ".join(sorted(RELAYS))
        raise RelayDown("settings", text=f"a relay of type {settings.type!r} cannot send; types: {known}") from None
    return make(settings)
