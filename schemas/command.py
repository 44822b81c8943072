"""Commands of people: to campaigns and to sending domains."""

from __future__ import annotations

from typing import Literal

import orjson
from pydantic import Field, model_validator

from schemas.base import Instant, Model, UserModel
from schemas.batch import PlanComplete
from schemas.campaign import Campaign
from schemas.identity import CampaignId
from schemas.progress import Problem
from schemas.request import CampaignRequest
from schemas.strategy import Strategy, StrategySpec


class Origin(Model):
    """The record that a person wrote, so that a repeated command is known again.

    An input whose offset is not above the last one taken from the same topic and partition is old.
    """

    topic: str
    partition: int
    offset: int


CampaignAction = Literal["pause", "resume", "cancel", "retry", "strategy", "resolve"]
DomainAction = Literal["pause", "resume"]


class CampaignCommand(UserModel):
    """One order to one campaign. Doing it again does no harm."""

    campaign_id: CampaignId
    action: CampaignAction
    strategy: StrategySpec | None = Field(None, description="for action `strategy`: the one to go on with")
    resolution: Literal["resend", "drop", "accepted"] | None = Field(None, description="for action `resolve`")
    address: str | None = Field(
        None,
        min_length=1,
        max_length=320,
        description="for action `resolve`: only who has this address, in capitals or not",
    )
    reason: str | None = Field(None, max_length=1000, description="shown to those who ask why")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> CampaignCommand:
        if (self.action == "strategy") != (self.strategy is not None):
            raise ValueError("`strategy` belongs to the action `strategy`, and that action needs it")
        if (self.action == "resolve") != (self.resolution is not None):
            raise ValueError("`resolution` belongs to the action `resolve`, and that action needs it")
        if self.address is not None and self.action != "resolve":
            raise ValueError("`address` belongs to the action `resolve`")
        return self


class DomainCommand(UserModel):
    """One order to one sending domain."""

    domain: str = Field(min_length=1, max_length=253)
    action: DomainAction
    reason: str | None = Field(None, max_length=1000)


PlannerInputKind = Literal[
    "request", "command", "invalid", "resolved", "planned", "refused", "admitted", "expired", "archive", "cleared",
]  # fmt: skip


class PlannerInput(Model):
    """What the one owner of a campaign decides on, under the campaign's id on `planner.inputs`.

    From people: a validated `request` or `command`, or a request that is `invalid` (its problems). From the
    planner's own work, so that a campaign's row follows from this topic alone: `resolved` (the campaign with
    nothing open), `planned` (its batches are written), `refused` (it cannot be), `admitted` (the gate has it),
    `expired` (a command's campaign never came), `cleared` (an archived campaign's recipients are gone). Their
    `origin` is that of the request that they belong to. From the gate: `archive` (its recipients are to go).
    """

    campaign_id: str
    kind: PlannerInputKind
    origin: Origin
    received_at: Instant
    request: CampaignRequest | None = None
    content_hash: str | None = None
    command: CampaignCommand | None = None
    problems: tuple[Problem, ...] = Field((), description="for `invalid` and `refused`")
    state: Literal["rejected", "failed"] | None = Field(None, description="for `refused`")
    campaign: Campaign | None = Field(None, description="for `resolved`")
    complete: PlanComplete | None = Field(None, description="for `planned`")

    def encode(self) -> bytes:
        """As any record, without what was left out: a window that is left out is not one that is null."""
        return orjson.dumps(self.model_dump(mode="json", by_alias=True, exclude_unset=True))


class GateCommand(Model):
    """A command on its way to the gate, under the relay of its campaign or domain."""

    kind: Literal["command"] = "command"
    relay: str
    origin: Origin
    at: Instant
    campaign_id: str | None = None
    domain: str | None = None
    action: CampaignAction
    strategy: Strategy | None = Field(None, description="resolved numbers, for action `strategy`")
    resolution: Literal["resend", "drop", "accepted"] | None = None
    address: str | None = None
    reason: str | None = None
