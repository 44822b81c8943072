"""How a message is named on a wire, so that any feedback finds message, campaign, batch and day without a look-up.

A name is written `campaign.batch.index.round.yymmdd.signature`, and there are two of them. The first stands before the
`@` of the Message-ID and in the return path: everybody sees it, and Message-IDs are quoted in archives and replies. The
second stands in URLs and in the subject of a mail that unsubscribes: whoever has it may do so. Their signatures are two
parts of one keyed hash, so the second does not follow from the first. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from hmac import compare_digest
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class MessageName:
    """What tells one message from all others."""

    campaign_id: str
    batch_number: int
    index: int
    round: int = 0


class Tokens(NamedTuple):
    """The two forms of a message's name."""

    mail: str
    """Before the `@` of its Message-ID, and the detail of its return path."""
    url: str
    """In URLs, and in the subject of a mail that unsubscribes. It is for the recipient alone."""


class Found(NamedTuple):
    """What a token says."""

    name: MessageName
    day: date
    """Of the sending, in the sending domain's time zone."""
    domain: str = ""
    """After the `@`, in lower case; a URL says none."""


MAIL_DIGITS, URL_DIGITS = 10, 16
"""Hexadecimal digits of the two signatures."""
_DIGITS = MAIL_DIGITS + URL_DIGITS
_AT_ONCE = 4
"""Neighbours whose signatures are cut from one hash, which has 64 bytes at most."""
_new: Any = tuple.__new__  # half the time of `Tokens(...)`; there is one for each message


def signing_keys(texts: Sequence[str], installation_id: str) -> tuple[bytes, ...]:
    """The keys, 32 bytes each: the first signs, all verify. `texts` are those of the settings.

    The last one comes from the installation's id, which is random and known to all its processes: so names are signed
    without any settings, and stay readable when the first key is set. Whoever may read its topics knows that id too.
    """
    said = [
        *(b"rampa settings\n" + text.encode() for text in texts),
        b"rampa installation\n" + installation_id.encode(),
    ]
    return tuple(hashlib.blake2b(one, digest_size=32, person=b"rampa names").digest() for one in said)


def message_tokens(campaign_id: str, batch_number: int, round_: int, day: date, key: bytes) -> Callable[[int], Tokens]:
    """The tokens of one batch, round and day (of 2000 to 2099): a function of the index, not for two threads at once.

    A dot of the campaign id that a dot-atom may not have (RFC 5322, 3.2.3: doubled, or last) is written `=2E`.
    """
    campaign = re.sub(r"(?<=\.)\.|\.\Z", "=2E", campaign_id)
    before, after = f"{campaign}.{batch_number}.", f".{round_}.{day:%y%m%d}."
    said = f"rampa\n{campaign_id}\n{batch_number}\n{round_}\n{day:%y%m%d}\n"
    copy, new = hashlib.blake2b(said.encode(), digest_size=_AT_ONCE * _DIGITS // 2, key=key).copy, _new
    of, signatures = -1, ""

    def tokens(index: int) -> Tokens:
        nonlocal of, signatures
        if index // _AT_ONCE != of:
            of = index // _AT_ONCE
            hashed = copy()
            hashed.update(b"%d" % of)
            signatures = hashed.hexdigest()
        start = index % _AT_ONCE * _DIGITS
        middle = start + MAIL_DIGITS
        named = f"{before}{index}{after}"
        made: Tokens = new(Tokens, (named + signatures[start:middle], named + signatures[middle : start + _DIGITS]))
        return made

    return tokens


def message_id(name: MessageName, day: date, domain: str, key: bytes) -> str:
    """The Message-ID, with its angle brackets: the same each time it is asked for."""
    tokens = message_tokens(name.campaign_id, name.batch_number, name.round, day, key)
    return f"<{tokens(name.index).mail}@{domain}>"


def parse_message_id(text: str, keys: Sequence[bytes]) -> Found | None:
    """What a Message-ID says, with or without its brackets; None: it is not one of ours, or not signed by a key."""
    found = read_message_id(text)
    return found if found is not None and _signed(_halves(text)[0], found, keys, 0) else None


def parse_url_token(text: str, keys: Sequence[bytes]) -> Found | None:
    """What the token of a URL says, percent-decoded; None: it is not one of ours, or not signed by a key."""
    found = _read(text, URL_DIGITS)
    return found if found is not None and _signed(text, found, keys, 1) else None


def read_message_id(text: str) -> Found | None:
    """What a Message-ID of our own making says. Nothing is verified: not for one that comes from elsewhere."""
    token, domain = _halves(text)
    found = _read(token, MAIL_DIGITS)
    return found._replace(domain=domain.lower()) if found is not None else None


_MESSAGE_ID = re.compile(r"<?([^@<>\s]+)@([^@<>\s]+)>?")
_TOKEN = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._=-]*)\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{2})([0-9]{2})([0-9]{2})"
    r"\.([0-9a-f]+)"
)


def _halves(text: str) -> tuple[str, str]:
    """What stands before and after the `@` of a Message-ID; of anything else, nothing."""
    m = _MESSAGE_ID.fullmatch(text.strip())
    return (m[1], m[2]) if m is not None else ("", "")


def _read(token: str, digits: int) -> Found | None:
    m = _TOKEN.fullmatch(token)
    if m is None or len(m[8]) != digits:
        return None
    try:
        day = date(2000 + int(m[5]), int(m[6]), int(m[7]))
    except ValueError:
        return None  # there is no such day
    return Found(MessageName(m[1].replace("=2E", "."), int(m[2]), int(m[3]), int(m[4])), day)


def _signed(token: str, found: Found, keys: Sequence[bytes], which: int) -> bool:
    """Whether it is, to the letter, what one of the keys makes of the name. It takes as long whichever that is."""
    name, right = found.name, False
    for key in keys:
        made = message_tokens(name.campaign_id, name.batch_number, name.round, found.day, key)(name.index)
        right |= compare_digest(made[which], token)
    return right
