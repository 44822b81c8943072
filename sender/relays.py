"""Relay types: what a relay is to the sender, and which file makes one.

A new type is one new file and one line in `RELAYS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sender.message.envelope import Envelope
from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Outcome
from streams.settings import RelaySettings

__all__ = ["RELAYS", "Connection", "Envelope", "Outcome", "Relay", "RelayDown", "make_relay"]


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


def make_relay(settings: RelaySettings) -> Relay:
    """The relay that `settings` describe. Raises `RelayDown` for a type that cannot send yet."""
    try:
        make = RELAYS[settings.type]
    except KeyError:
        known = ", ".join(sorted(RELAYS))
        raise RelayDown("settings", text=f"a relay of type {settings.type!r} cannot send; types: {known}") from None
    return make(settings)
