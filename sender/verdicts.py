"""What the last answer of a server, and what else the relay does with our mail, make of a recipient. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from schemas.chunk import Chunk
from sender.journal.values import Ended, EndKind
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


def judged(refusals: Refusals, outcome: Outcome, rcpt_to: str, chunk: Chunk) -> Judgement:
    """What a refusal by policy means; of any other outcome it is only remembered that the relay dealt with it."""
    if outcome.kind == "accepted":
        refusals.accepted(rcpt_to)
    elif outcome.kind == "refused":
        return refusals.refused(rcpt_to, again=chunk.deferrals > 0)
    elif outcome.kind == "failed":
        refusals.dealt_with()
    return "failed"


def ended(
    index: int, message: Addressed, outcome: Outcome, tries: int, at: datetime, chunk: Chunk, judgement: Judgement
) -> Ended:
    """The end of an index in this permit. Without another deferral to come, who is refused for now has expired."""
    kind, reason = _KINDS.get(outcome.kind, "failed"), str(outcome.reason)
    if outcome.kind in FOR_NOW or (outcome.kind == "refused" and judgement != "failed"):
        if chunk.defer:
            kind = "deferred"
        elif chunk.deferrals:
            reason = "expired"
    return Ended(
        index, kind, at, tries, message.rcpt_to, message.message_id, outcome.code, outcome.enhanced, outcome.text,
        reason, outcome.provider_id,
    )  # fmt: skip
