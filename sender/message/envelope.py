"""A message that is ready for a wire, and how it is named.

A message is named by (campaign, batch number, index in the batch, round). Its Message-ID says that
name, so that any feedback that quotes the Message-ID finds the message without a look-up.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to one recipient. Addresses are as SMTP wants them: the domain as an A-label."""

    mail_from: str
    rcpt_to: str
    content: bytes
    """RFC 5322, CRLF line ends, no line over 998 octets, ends with CRLF; not dot-stuffed."""
    message_id: str
    """With its angle brackets."""
    smtputf8: bool = False
    """An address has a local part outside ASCII: the relay must offer SMTPUTF8 (RFC 6531)."""


@dataclass(frozen=True, slots=True)
class MessageName:
    """What tells one message from all others."""

    campaign_id: str
    batch_number: int
    index: int
    round: int = 0


def message_id(name: MessageName, domain: str) -> str:
    """The Message-ID of `name`, with its angle brackets: the same each time it is asked for.

    `campaign.batch.index.round.check@domain`; `check` is a short hash that tells our own ids from what
    happens to look like one. It is not a signature. A dot of the campaign id that a dot-atom may not
    have (RFC 5322, 3.2.3: doubled, or last) is written `=2E`.
    """
    campaign = re.sub(r"(?<=\.)\.|\.\Z", "=2E", name.campaign_id)
    return f"<{campaign}.{name.batch_number}.{name.index}.{name.round}.{_check(name, domain)}@{domain}>"


_MESSAGE_ID = re.compile(
    r"<?([A-Za-z0-9][A-Za-z0-9._=-]*)\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9a-f]{10})@([^@<>\s]+?)>?",
    re.ASCII,
)


def parse_message_id(text: str) -> tuple[MessageName, str] | None:
    """The (name, domain) that a Message-ID says, or None when it is not one of ours."""
    m = _MESSAGE_ID.fullmatch(text.strip())
    if m is None:
        return None
    name = MessageName(m[1].replace("=2E", "."), int(m[2]), int(m[3]), int(m[4]))
    domain = m[6].lower()
    return (name, domain) if _check(name, domain) == m[5] else None


def _check(name: MessageName, domain: str) -> str:
    said = f"rampa\n{name.campaign_id}\n{name.batch_number}\n{name.index}\n{name.round}\n{domain}"
    return hashlib.blake2b(said.encode(), digest_size=5).hexdigest()
