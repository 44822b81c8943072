"""States of a campaign and the moves between them that the gate may make: a table."""

from __future__ import annotations

from typing import get_args

from schemas.campaign import CampaignState

STATES: tuple[CampaignState, ...] = get_args(CampaignState)

MOVES: dict[CampaignState, frozenset[CampaignState]] = {
    # the plan is complete | there was nobody to mail | an order came before | the plan contradicts itself
    "planning": frozenset({"scheduled", "completed", "paused", "cancelled", "failed"}),
    # the first release | everything was resolved otherwise
    "scheduled": frozenset({"running", "completed", "paused", "cancelled", "failed"}),
    "running": frozenset({"completed", "paused", "cancelled"}),
    # back to where it was | what was in flight was the last
    "paused": frozenset({"scheduled", "running", "completed", "cancelled"}),
    # retry and resolve open it again
    "completed": frozenset({"running"}),
    "cancelled": frozenset(),
    "rejected": frozenset(),
    "failed": frozenset(),
}

SENDING: frozenset[CampaignState] = frozenset({"scheduled", "running"})
"""States in which mail may be released."""

ENDED: frozenset[CampaignState] = frozenset({"completed", "cancelled", "rejected", "failed"})
"""States in which nothing is released any more, unless somebody opens the campaign again."""


class MoveRefused(ValueError):
    """A campaign cannot go from the one state to the other."""


def may_move(old: CampaignState, new: CampaignState) -> bool:
    """Whether the table allows it."""
    return new in MOVES[old]


def moved(old: CampaignState, new: CampaignState) -> CampaignState:
    """`new`. Raises `MoveRefused` when the table does not allow it."""
    if not may_move(old, new):
        raise MoveRefused(f"a campaign that is {old} cannot become {new}")
    return new
