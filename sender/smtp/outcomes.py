"""What an SMTP reply means for a message. Pure: (stage, code, enhanced code, text) -> (kind, reason class, source).

The table itself, which a mail engineer can read, and its sources are in `sender.smtp.table`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from sender.smtp.errors import RelayDown
from sender.smtp.table import TABLE, Reason

__all__ = [
    "HARD", "Kind", "Outcome", "Reason", "Stage", "Verdict", "classify", "outcome_of", "provider_id",
    "relay_down", "retry_delays", "split_enhanced",
]  # fmt: skip

Kind = Literal[
    "accepted", "failed", "refused", "transient", "throttled", "lost_before", "lost_after", "relay_down",
]  # fmt: skip
Stage = Literal["mail", "rcpt", "data", "message"]
"""Which of our lines the server replied to; `message` is the final dot."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of sending one message.

    `accepted`: the relay took it. `failed`: refused for good. `refused`: the same, by policy, and
    perhaps it is we who are refused (`sender.smtp.refusals`). `transient`: refused for now. `throttled`:
    refused for now, and less speed is asked for. `lost_before`: the connection was lost before the body
    was written, or the server lost its place in what was written ahead and refused it (a clean retry).
    `lost_after`: lost after that and before a reply (in doubt).
    `relay_down`: the relay refuses us as a whole, or (reason `domain`) whatever is from this sending domain; nothing
    was sent, and no recipient is to blame.
    """

    kind: Kind
    code: int = 0
    enhanced: str = ""
    text: str = ""
    provider_id: str = ""
    reason: Reason = ""
    stage: Stage = "mail"


class Verdict(NamedTuple):
    kind: Kind
    reason: Reason
    source: str = ""
    """Who says that this is what the reply means."""


HARD: frozenset[Reason] = frozenset({"bad_mailbox", "bad_domain"})
"""Classes after which mailing the address again is pointless: hard bounces. All other failures are soft."""


_ROWS = tuple(
    (
        row, frozenset(row.at.split("|")), re.compile(row.code), re.compile(row.enhanced),
        re.compile(row.words, re.IGNORECASE | re.DOTALL),
    )
    for row in TABLE
)  # fmt: skip
_ADDRESS = re.compile(r"<[^<>\n]*>|(?<![^\s<>()\[\],;:\"'@])[^\s<>()\[\],;:\"'@]+@[^\s<>()\[\],;:\"']+")
"""What a reply repeats of our command: an address, or anything in angle brackets."""


def classify(stage: Stage, code: int, enhanced: str, text: str) -> Verdict:
    """What a reply other than the expected one means, by the first row of the table that matches."""
    digits, text = f"{code:03d}", _ADDRESS.sub("<>", text)
    row = next(
        row
        for row, at, codes, enhanced_codes, words in _ROWS
        if (row.at == "*" or stage in at)
        and codes.fullmatch(digits)
        and enhanced_codes.fullmatch(enhanced)
        and (not row.words or words.search(text))
    )
    if row.kind == "by class":
        return Verdict("failed" if digits[0] == "5" else "transient", row.reason, row.source)
    return Verdict(row.kind, row.reason, row.source)


_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|\Z)", re.ASCII)


def split_enhanced(code: int, text: str) -> tuple[str, str]:
    """(enhanced code, text without it) of a reply's text, whose lines may each begin with the code (RFC 2034).

    A code of another class than the reply's is not believed: it stays in the text.
    """
    m = _ENHANCED.match(text)
    if m is None or m[1][0] != str(code)[:1]:
        return "", text
    if "\n" not in text:
        return m[1], text[m.end() :].lstrip()
    lines = (line.removeprefix(m[1]).lstrip() for line in text.split("\n"))
    return m[1], " ".join(line for line in lines if line)


_PROVIDER_ID = (
    re.compile(r"queued (?:mail for delivery )?as <?([\w.@=+/-]+)", re.IGNORECASE),  # Postfix, SendGrid
    re.compile(r"\bid[= ]<?([\w.@=+/-]+)", re.IGNORECASE),  # Exim, others
    re.compile(r"^ok[: ]\s*(\d+ \S+ - gsmtp|\S+)\s*\Z", re.IGNORECASE),  # Gmail; SES
)


def provider_id(text: str) -> str:
    """The relay's own name for a message, out of its reply to the final dot; empty when it says none."""
    for pattern in _PROVIDER_ID:
        if m := pattern.search(text):
            return m[1].rstrip(".>,;")
    return ""


_IDENTITIES = re.compile(
    r"identities failed the check[^:]*:(.*)|\bon resource\b.{0,80}:identity/([^\s'`\"]+)", re.IGNORECASE | re.DOTALL
)


def blames_sender(text: str, rcpt_to: str) -> bool:
    """Whether SES, which names the identities that are not verified, or from which a policy does not let us send, names
    others than the recipient: the sender's. (In its sandbox an identity may be the recipient's.)"""
    found = _IDENTITIES.search(text)
    if found is None or not rcpt_to:
        return False
    listed = {part.strip().strip("<>.").rpartition("<")[2].lower() for part in (found[1] or found[2] or "").split(",")}
    return not listed <= {rcpt_to.lower(), rcpt_to.rpartition("@")[2].lower()}


def outcome_of(stage: Stage, code: int, text: str, rcpt_to: str = "") -> Outcome:
    """The outcome that a reply makes. Only 250 to the final dot is `accepted`; 2xx elsewhere has none. `rcpt_to`: whom
    the message is for, where that is known."""
    if stage == "message" and 200 <= code <= 299:
        return _accepted(code, text)
    enhanced, words = split_enhanced(code, text)
    kind, reason, _ = classify(stage, code, enhanced, words)
    if kind == "refused" and blames_sender(words, rcpt_to):
        kind, reason = "relay_down", "domain"
    return Outcome(kind, code, enhanced, words, "", reason, stage)


@lru_cache(maxsize=64)
def _accepted(code: int, text: str) -> Outcome:
    """Remembered, because some servers say the same of every message."""
    enhanced, words = split_enhanced(code, text)
    return Outcome("accepted", code, enhanced, words, provider_id(words), "", "message")


def relay_down(outcome: Outcome) -> RelayDown:
    """The relay refuses us as a whole, or our sending domain, and this is what it says."""
    reason = outcome.reason if outcome.reason in {"quota", "domain"} else "refused"
    return RelayDown(reason, outcome.code, f"{outcome.enhanced} {outcome.text}".strip())


def retry_delays(max_retries: int) -> tuple[int, ...]:
    """Seconds of real time to wait before each further try of a message: 1, 2, 4, 8, at most four."""
    return (1, 2, 4, 8)[: max(0, max_retries)]
