"""The bytes of a transaction: MAIL, RCPT, DATA or BDAT, and the body.

Pure. What a relay offers decides the parameters (RFC 1870 SIZE, RFC 6152 8BITMIME, RFC 6531 SMTPUTF8); a
message that may not be put on a wire at all is refused here with the reply that a server would give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sender.smtp.outcomes import Outcome, Reason

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a relay said that it can do, in its answer to EHLO."""

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size: int | None = None
    """The largest message in octets, 0: it names no limit. None: SIZE is not offered."""

    @classmethod
    def of(cls, extensions: Mapping[str, str]) -> Offer:
        """From keywords and their parameters, whatever their case."""
        known = {keyword.lower(): parameter for keyword, parameter in extensions.items()}
        size = None
        if "size" in known:
            said = known["size"].strip()
            size = int(said) if said.isascii() and said.isdecimal() and len(said) <= 20 else 0
        return cls("pipelining" in known, "chunking" in known, "8bitmime" in known, "smtputf8" in known, size)


@dataclass(slots=True, eq=False)
class Outgoing:
    """One message to one recipient, ready for a wire. Addresses as in `sender.message.envelope.Envelope`."""

    mail_from: str
    rcpt_to: str
    content: bytes
    """RFC 5322, CRLF line ends; not dot-stuffed."""
    smtputf8: bool = False
    token: Any = None
    """The feed's own; not looked at here."""
    dotless: bool = False
    """No line of `content` begins with a dot, surely: saves looking for one (5 microseconds for 4 KB)."""


class Unsendable(Exception):
    """This message cannot go to this relay; no byte of it was written."""

    def __init__(self, enhanced: str, text: str, reason: Reason) -> None:
        super().__init__(text)
        self.outcome = Outcome("failed", 0, enhanced, text, "", reason, "mail")


def envelope(message: Outgoing, offer: Offer, before: str, after: str) -> bytes:
    """`before`, then MAIL and RCPT of `message`, then `after`: complete lines with CRLF.

    Raises:
        Unsendable: too big, in need of an extension that is not offered, or with an address that no
            command can carry.
    """
    sender, recipient, content = message.mail_from, message.rcpt_to, message.content
    parameters = ""
    if offer.size is not None:
        if 0 < offer.size < len(content):
            text = f"the message has {len(content)} octets; the relay takes {offer.size} (SIZE, RFC 1870)"
            raise Unsendable("5.3.4", text, "too_big")
        parameters = f" SIZE={len(content)}"
    if message.smtputf8 or not content.isascii():
        parameters += _beyond_ascii(message, offer)
    if not (sender + recipient).isprintable() and _CONTROL.search(sender + recipient):
        raise Unsendable("5.1.3", f"an address holds a control character: {recipient[:100]!r}", "bad_mailbox")
    lines = f"{before}MAIL FROM:<{sender}>{parameters}\r\nRCPT TO:<{recipient}>\r\n{after}"
    try:
        return lines.encode("utf-8" if message.smtputf8 else "ascii")
    except UnicodeEncodeError:
        raise Unsendable("5.1.3", f"no command can carry the address {recipient[:100]!r}", "bad_mailbox") from None


def _beyond_ascii(message: Outgoing, offer: Offer) -> str:
    if message.smtputf8 and not offer.smtputf8:
        text = "the relay does not offer SMTPUTF8, which an address outside ASCII needs (RFC 6531)"
        raise Unsendable("5.6.7", text, "policy")
    if not offer.eight_bit and not message.content.isascii():
        text = "the message has octets outside ASCII, and the relay does not offer 8BITMIME (RFC 6152)"
        raise Unsendable("5.6.3", text, "policy")
    return (" SMTPUTF8" if message.smtputf8 else "") + (" BODY=8BITMIME" if offer.eight_bit else "")


def body(message: Outgoing) -> tuple[bytes, bytes]:
    """(content, end): what follows 354, its dots doubled (RFC 5321, 4.5.2), and the final dot."""
    content = message.content
    if not message.dotless and (content.startswith(b".") or b"\n." in content):
        content = (b"." + content if content.startswith(b".") else content).replace(b"\r\n.", b"\r\n..")
    return content, b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"


def chunk(message: Outgoing) -> bytes:
    """What follows `BDAT`: the content as it is (RFC 3030), with the line end that DATA would give it."""
    return message.content if message.content.endswith(b"\r\n") else message.content + b"\r\n"
