"""What the last answer of a server, and what else the relay does with our mail, make of a recipient. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from schemas.chunk import Chunk
from sender.journal.values import Ended, EndKind
from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Outcome
from sender.smtp.refusals import Judgement, Refusals
from sender.tries import FOR_NOW

_KINDS: dict[str, EndKind] = {"accepted": "accepted", "lost_after": "in_doubt"}
"""Any other outcome that ends the tries is a failure, or for now."""


class Addressed(Protocol):
    """A message, as far as what became of it goes."""

    @property
    def rcpt_to(self) -> str: ...
    @property
    def message_id(self) -> str: ...


def met_again(outcome: Outcome, chunk: Chunk) -> bool:
    """Whether a relay that refuses us as a whole said so of a recipient who is the only one permitted.

    He would be the next one again, and if it is he alone who is refused, the relay would be found down for ever: he is
    put off, and another one finds out. Of many, each is simply not begun; nor is he when nobody answered (code 0).
    """
    said_of_him = outcome.kind == "relay_down" and outcome.code and outcome.stage != "mail"
    return bool(said_of_him) and chunk.permitted() == 1


def reread(refusals: Refusals, outcome: Outcome, rcpt_to: str, chunk: Chunk) -> Outcome:
    """The outcome. Where the relay says that it refuses us as a whole, but means him alone: a refusal of his."""
    if outcome.kind != "relay_down" or not outcome.code or outcome.stage == "mail":
        return outcome
    if not refusals.of_him_alone(rcpt_to, chunk.permit_id, probe=chunk.probe, sender=chunk.sending_domain):
        return outcome
    return replace(outcome, kind="refused" if outcome.code >= 500 or not chunk.defer else "transient", reason="policy")


def heard(refusals: Refusals, outcome: Outcome) -> None:
    """Whatever a server replies to a body: it replies. What it says before a body shows nothing of that."""
    if refusals.unanswered and outcome.code and outcome.stage == "message":
        refusals.unanswered = 0


def unanswered(kind: str, text: str) -> RelayDown:
    """The relay lets no message come to its reply: how the last connection ended (`Ending.kind`), and its words."""
    if kind == "closed":
        how = "closes the connection after each message, before its reply"
    elif kind == "timeout":
        how = "does not reply to any message"
    else:
        how = "gives no reply to any message that can be read"
    return RelayDown("network", text=f"{how} ({text})")


def judged(refusals: Refusals, outcome: Outcome, rcpt_to: str, chunk: Chunk) -> Judgement:
    """What a refusal by policy means; of any other outcome it is only remembered that the relay dealt with it."""
    if outcome.kind == "relay_down":
        return "down"
    sender = chunk.sending_domain
    if outcome.kind == "accepted":
        refusals.accepted(rcpt_to, sender)
    elif outcome.kind == "refused":
        judgement = refusals.refused(rcpt_to, again=chunk.deferrals > 0, sender=sender)
        if judgement == "down" and chunk.probe and chunk.probes == "domain":
            return "domain"  # that one alone was asked about, and nobody else was mailed meanwhile
        last = judgement == "later" and not chunk.defer
        return "unsure" if last and refusals.unsure(chunk.deferrals, sender) else judgement
    elif outcome.kind == "failed":
        refusals.dealt_with(sender)
    return "failed"


def ended(
    index: int, message: Addressed, outcome: Outcome, tries: int, at: datetime, chunk: Chunk, judgement: Judgement
) -> Ended:
    """The end of an index in this permit. Without another deferral to come, who is refused for now has expired; but
    nobody is failed, whatever the permit says, while it is, or may be, the relay that refuses us."""
    kind, reason = _KINDS.get(outcome.kind, "failed"), str(outcome.reason)
    if judgement in {"down", "domain", "unsure"}:
        kind = "deferred"
    elif outcome.kind in FOR_NOW or (outcome.kind == "refused" and judgement != "failed"):
        if chunk.defer:
            kind = "deferred"
        elif chunk.deferrals:
            reason = "expired"
    return Ended(
        index, kind, at, tries, message.rcpt_to, message.message_id, outcome.code, outcome.enhanced, outcome.text,
        reason, outcome.provider_id,
    )  # fmt: skip
