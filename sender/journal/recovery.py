"""What the spool of a dead process means for an index that it left intended. Pure."""

from __future__ import annotations

from sender.journal.spool_evidence import Fate
from sender.journal.values import Ended, EndKind

_KINDS: dict[str, EndKind] = {"accepted": "accepted", "failed": "failed", "lost_after": "in_doubt"}
"""Every other reply says that no server took the message: it is open again."""


def settled_by(unknown: Ended, fate: Fate) -> Ended:
    """What became of an index, of which without evidence only `unknown` (in doubt) could be said.

    Never on a wire, or refused for the time being: `not_begun`, so that it is simply sent. Ended: as the server
    replied, at that time. On a wire without a reply: still in doubt.
    """
    if fate.state == "begun":
        return unknown._replace(tries=max(1, fate.tries))
    if fate.end is None:
        return Ended(unknown.index, "not_begun", unknown.at, 0, unknown.email, unknown.message_id)
    end = fate.end
    return unknown._replace(
        kind=_KINDS.get(end.kind, "not_begun"),
        at=end.at,
        tries=end.tries,
        code=end.code,
        enhanced=end.enhanced,
        text=end.text,
        reason=end.reason,
        provider_id=end.provider_id,
        recovered=False,  # its time is known
    )
