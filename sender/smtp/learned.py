"""How far a relay may be trusted with commands ahead of its replies: learned from each connection.

Pure: (what is known, how a connection went) -> what is known. A relay that offers PIPELINING or CHUNKING
and does not cope is talked to in a plainer way from then on; one bad connection among good ones, or a
network that fails, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from sender.smtp.wire import Offer


class Mode(IntEnum):
    """How messages are put on a wire; the higher, the fewer round trips."""

    LOCK_STEP = 0
    """One command, one reply (RFC 5321)."""
    PIPELINING = 1
    """The final dot of a message and MAIL, RCPT, DATA of the next in one write (RFC 2920)."""
    CHUNKING = 2
    """Several whole messages ahead of their replies (RFC 3030 with RFC 2920)."""


Problem = Literal["out_of_step", "refused", "timeout", "closed", "cut"]
"""What may show that a relay does not cope: replies that match no command; 500, 502 or 503 to a command in
its place; silence, or a closed connection, in the middle of a group of commands; an end that left several
messages in doubt (a relay that ends a session after so many messages had better not get them ahead), or with CHUNKING
the first one of the connection (perhaps it cannot do that at all)."""

_POINTS: dict[Problem, tuple[int, int]] = {
    "out_of_step": (4, 2), "refused": (2, 1), "timeout": (2, 1), "closed": (1, 0), "cut": (2, 2),
}  # fmt: skip
"""(where no message went through ahead of a reply on that connection, where some did)."""

ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Report:
    """How a connection went."""

    mode: Mode
    problem: Problem | None = None
    accepted: int = 0
    proved: bool = False
    """A message was accepted whose commands were written before the replies to an earlier one were there."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of one relay."""

    ceiling: Mode = Mode.CHUNKING
    points: int = 0
    """Against the ceiling; at `ENOUGH` it comes down."""
    why: str = ""
    """What brought it down last."""


def mode_for(offer: Offer, learned: Learned) -> Mode:
    """How to talk to a relay that offers this. CHUNKING ahead of replies needs PIPELINING too (RFC 3030, 4.2)."""
    offered = Mode.LOCK_STEP
    if offer.pipelining:
        offered = Mode.CHUNKING if offer.chunking else Mode.PIPELINING
    return min(offered, learned.ceiling)


def learn(learned: Learned, report: Report) -> Learned:
    """What is known after a connection has ended."""
    if report.mode is Mode.LOCK_STEP or report.mode > learned.ceiling:
        return learned
    if report.problem is None:
        return Learned(learned.ceiling, 0, learned.why) if report.accepted else learned
    points = learned.points + _POINTS[report.problem][report.proved]
    if points < ENOUGH:
        return Learned(learned.ceiling, points, learned.why)
    return Learned(Mode(report.mode - 1), 0, f"{report.mode.name}: {report.problem}: {report.text}")
