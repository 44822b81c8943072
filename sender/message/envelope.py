"""A message that is ready for a wire, and how it is named.

A message is named by (campaign, batch number, index in the batch, round). Its Message-ID says that
name, so that any feedback that quotes the Message-ID finds the message without a look-up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Envelope(NamedTuple):
    """One message to one recipient. Addresses are as SMTP wants them: the domain as an A-label."""

    mail_from: str
    rcpt_to: str
    content: bytes
    """RFC 5322, CRLF line ends, no line over 998 octets, ends with CRLF; not dot-stuffed."""
    message_id: str
    """With its angle brackets."""
    smtputf8: bool = False
    """An address has a local part outside ASCII: the relay must offer SMTPUTF8 (RFC 6531)."""
    dotless: bool = False
    """No line of `content` begins with a dot: there is none to double (RFC 5321, 4.5.2). Always so for ours."""

    @property
    def size(self) -> int:
        """Octets as SIZE counts them: line ends are two, the final dot and doubled dots do not count (RFC 1870, 5)."""
        return len(self.content)

    def exceeds(self, limit: int) -> bool:
        """Whether a relay that announces `SIZE limit` will not take it; 0: it announces no limit (RFC 1870, 3)."""
        return 0 < limit < len(self.content)


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
    return f"<{message_tokens(name.campaign_id, name.batch_number, name.round, domain)(name.index)}@{domain}>"


def message_tokens(campaign_id: str, batch_number: int, round_: int, domain: str) -> Callable[[int], str]:
    """What stands before the `@` of the Message-IDs of one batch and round: a function of the index."""
    campaign = re.sub(r"(?<=\.)\.|\.\Z", "=2E", campaign_id)
    before, after = f"{campaign}.{batch_number}.", f".{round_}."
    said, of = f"rampa\n{campaign_id}\n{batch_number}\n", f"\n{round_}\n{domain}"
    blake2b = hashlib.blake2b

    def token(index: int) -> str:
        check = blake2b(f"{said}{index}{of}".encode(), digest_size=5).hexdigest()
        return f"{before}{index}{after}{check}"

    return token


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
    return (name, domain) if message_id(name, domain).endswith(f".{m[5]}@{domain}>") else None
