"""What an SMTP reply means for a message: a table that a mail engineer can read.

`classify` is pure: (stage, code, enhanced code, text) -> (kind, reason). The rows of a table are asked
from top to bottom, and the first that matches decides.

Sources: RFC 5321 (4.2.1 to 4.3.2, reply codes), RFC 3463 and the registry that RFC 5248 began (enhanced
codes), RFC 4954 (AUTH), RFC 6531 (5.6.7), and the replies that the providers document: Amazon SES ("SMTP
response codes returned by Amazon SES", "Errors related to the sending quotas"), Google ("Gmail SMTP
errors and codes").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["accepted", "failed", "transient", "throttled", "lost_before", "lost_after", "relay_down"]
Stage = Literal["mail", "rcpt", "data", "message"]
"""Which of our lines the server replied to; `message` is the final dot."""

Reason = Literal[
    "", "bad_mailbox", "bad_domain", "full", "blocked", "policy", "spam", "too_big", "throttled", "not_accepting",
    "network", "expired", "relay", "unknown",
]  # fmt: skip
"""The contract's classes; `relay`: the relay refuses us, not the recipient."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of sending one message.

    `accepted`: the relay took it. `failed`: refused for good. `transient`: refused for now. `throttled`:
    refused for now, and less speed is asked for. `lost_before`: the connection was lost before the body
    was written (a clean retry). `lost_after`: lost after that and before a reply (in doubt).
    `relay_down`: the relay refuses us as a whole; nothing was sent, and no recipient is to blame.
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


class _Row(NamedTuple):
    stages: str
    """Space-separated; `*`: any."""
    codes: str
    """A regular expression for the three digits."""
    enhanced: str
    """A regular expression for the enhanced code (`` matches when there is none)."""
    text: str
    """A regular expression to be found in the text, whatever its case."""
    verdict: Verdict


def _row(stages: str, codes: str, enhanced: str, text: str, kind: Kind, reason: Reason) -> _Row:
    return _Row(stages, codes, enhanced, text, Verdict(kind, reason))


_ANY = r".*"

_KINDS: tuple[_Row, ...] = (
    # --- the account, not the recipient ------------------------------------------------------------------
    # SES: "454 Throttling failure: Maximum sending rate exceeded", "... Daily message quota exceeded".
    _row("*", "454", _ANY, r"throttl", "throttled", "throttled"),
    # RFC 4954, 6: 530 authentication required, 534 mechanism too weak, 535 credentials invalid, 538 encryption
    # required; 454 temporary authentication failure.
    _row("*", "530|534|535|538|454", _ANY, "", "relay_down", "relay"),
    # Gmail: "550 5.4.5 Daily user sending quota exceeded"; SendGrid: "451 Authentication failed: Maximum credits
    # exceeded". Every further message would be refused alike.
    _row("*", "[45]..", _ANY, r"daily (user |smtp )?(sending|relay|message).*(limit|quota)|credits? exceeded",
         "relay_down", "relay"),
    # SES in its sandbox: "554 Message rejected: Email address is not verified" names sender or recipient; the
    # recipient cannot be told from it, so it is refused as a policy, below.
    # --- less speed ----------------------------------------------------------------------------------------
    # Greylisting is one recipient's matter: no reason to slow down for all (RFC 6647, 2.1).
    _row("*", "4..", _ANY, r"gr[ae]y-?list", "transient", "not_accepting"),
    # RFC 5321, 3.8: 421 closes the connection; providers say "too many connections" or "too fast" by it.
    _row("*", "421", _ANY, "", "throttled", "throttled"),
    # Gmail: "450 4.2.1 The user you are trying to contact is receiving mail too quickly": one mailbox.
    _row("*", "450", r"4\.2\.1", r"user .*receiving", "transient", "not_accepting"),
    # Postfix, Microsoft, Yahoo and others limit by 450 and 451 4.7.x; Gmail by "450 4.2.1 Peak SMTP relay limit".
    _row("*", "45[01]", r"4\.7\.\d+", "", "throttled", "throttled"),
    _row("*", "4..", _ANY, r"too (many|fast|quickly)|rate limit|limit exceeded|throttl|slow down",
         "throttled", "throttled"),
    # --- the sender's address ------------------------------------------------------------------------------
    # RFC 1870, 6.2: the size alone is refused at MAIL.
    _row("mail", "552", _ANY, "", "failed", "too_big"),
    _row("mail", "5..", r"5\.(2|3)\.[34]", "", "failed", "too_big"),
    # RFC 6531, 3.7.4.2: this message needs SMTPUTF8.
    _row("*", "5..", r"5\.6\.7", "", "failed", "policy"),
    # A parameter or the syntax of this one line (RFC 5321, 4.2.4, 4.1.1.11).
    _row("mail", "50[0124]|555", _ANY, "", "failed", "unknown"),
    # Any other 5xx at MAIL speaks of the sending address, which all messages share: "553 5.7.1 Sender address
    # rejected: not owned by user", "550 5.1.8 bad sender". Failing every recipient for it would be wrong.
    _row("mail", "5..", _ANY, "", "relay_down", "relay"),
    # --- our own dialogue is out of step (503) or the server answers what it may not ----------------------
    _row("*", "503", _ANY, "", "transient", "unknown"),
    # --- the rest, by its first digit (RFC 5321, 4.2.1) ----------------------------------------------------
    _row("*", "4..", _ANY, "", "transient", "unknown"),
    _row("*", "5..", _ANY, "", "failed", "unknown"),
    _row("*", "...", _ANY, "", "transient", "unknown"),
)  # fmt: skip

_REASONS: tuple[_Row, ...] = (
    # Enhanced codes first: RFC 3463 section 3.2 (addresses), 3.3 (mailboxes), 3.4 (mail system), 3.5 (network),
    # 3.8 (security and policy). A text decides where a code says little.
    _row("*", "...", _ANY, r"spam|unsolicited|junk|bulk mail", "failed", "spam"),
    _row("*", "...", _ANY, r"spamhaus|spamcop|barracuda|blocklist|black ?list|block ?list|dnsbl|rbl\b|"
         r"(ip|address|host|domain) .{0,40}\b(blocked|banned)", "failed", "blocked"),
    _row("*", "...", r"[45]\.1\.[01346]|[45]\.1\.10", "", "failed", "bad_mailbox"),
    _row("*", "...", r"[45]\.1\.2|[45]\.4\.4", "", "failed", "bad_domain"),
    _row("*", "...", r"[45]\.2\.1", "", "failed", "not_accepting"),
    _row("*", "...", r"[45]\.2\.2", "", "failed", "full"),
    _row("*", "...", r"[45]\.2\.3|[45]\.3\.4", "", "failed", "too_big"),
    _row("*", "...", r"[45]\.3\.1", "", "failed", "full"),
    _row("*", "...", r"[45]\.3\.\d+", "", "failed", "not_accepting"),
    _row("*", "...", r"[45]\.4\.7", "", "failed", "expired"),
    _row("*", "...", r"[45]\.4\.\d+", "", "failed", "network"),
    _row("*", "...", r"[45]\.7\.\d+", "", "failed", "policy"),
    # Without an enhanced code: the usual wordings, then the code (RFC 5321, 4.2.3).
    _row("*", "...", _ANY, r"over ?quota|quota exceeded|mailbox (is )?full|insufficient (system )?storage",
         "failed", "full"),
    _row("*", "...", _ANY, r"too (big|large)|size limit|exceeds.* size", "failed", "too_big"),
    _row("*", "...", _ANY, r"(user|recipient|mailbox|address|account).{0,60}(unknown|not found|does ?n.t exist|"
         r"not exist|unavailable|disabled|invalid)|no such (user|mailbox|recipient|address)|(unknown|invalid) "
         r"(user|recipient|mailbox|address)", "failed", "bad_mailbox"),
    _row("*", "...", _ANY, r"(domain|host).{0,40}(not found|unknown|does ?n.t exist|not exist)|no mx",
         "failed", "bad_domain"),
    _row("*", "...", _ANY, r"polic|dmarc|spf|dkim|not (allowed|permitted|verified)|relay(ing)? (access )?denied|"
         r"message rejected", "failed", "policy"),
    _row("rcpt", "55[01]|553", _ANY, "", "failed", "bad_mailbox"),
    _row("*", "452", _ANY, "", "failed", "full"),
    _row("*", "552", _ANY, "", "failed", "too_big"),
    _row("message", "554", _ANY, "", "failed", "policy"),
    _row("*", "4..", _ANY, "", "failed", "not_accepting"),
)  # fmt: skip


def classify(stage: Stage, code: int, enhanced: str, text: str) -> Verdict:
    """What a reply other than the expected one means: (kind, reason class)."""
    verdict = _first(_KINDS, stage, code, enhanced, text)
    if verdict.reason != "unknown":
        return verdict
    return Verdict(verdict.kind, _first(_REASONS, stage, code, enhanced, text).reason)


def _first(table: tuple[_Row, ...], stage: str, code: int, enhanced: str, text: str) -> Verdict:
    digits = f"{code:03d}"
    for row in table:
        if row.stages != "*" and stage not in row.stages.split():
            continue
        if not re.fullmatch(row.codes, digits) or not re.fullmatch(row.enhanced, enhanced):
            continue
        if row.text and not re.search(row.text, text, re.IGNORECASE | re.DOTALL):
            continue
        return row.verdict
    return Verdict("transient", "unknown")


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


def outcome_of(stage: Stage, code: int, text: str) -> Outcome:
    """The outcome that a reply makes. Only 250 to the final dot is `accepted`; 2xx elsewhere has none."""
    if stage == "message" and 200 <= code <= 299:
        return _accepted(code, text)
    enhanced, words = split_enhanced(code, text)
    kind, reason = classify(stage, code, enhanced, words)
    return Outcome(kind, code, enhanced, words, "", reason, stage)


@lru_cache(maxsize=64)
def _accepted(code: int, text: str) -> Outcome:
    """Remembered, because some servers say the same of every message."""
    enhanced, words = split_enhanced(code, text)
    return Outcome("accepted", code, enhanced, words, provider_id(words), "", "message")


def retry_delays(max_retries: int) -> tuple[int, ...]:
    """Seconds of real time to wait before each further try of a message: 1, 2, 4, 8, at most four."""
    return (1, 2, 4, 8)[: max(0, max_retries)]
