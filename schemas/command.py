"""Commands of people: to campaigns and to sending domains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.base import Instant, Model, UserModel
from schemas.identity import CampaignId
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
    address: str | None = Field(None, description="for action `resolve`: this address only")
    reason: str | None = Field(None, max_length=1000, description="shown to those who ask why")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> CampaignCommand:
        if (self.action == "strategy") != (self.strategy is not None):
            raise ValueError("`strategy` belongs to the action `strategy`, and that action needs it")
        if (self.action == "resolve") != (self.resolution is not None):
            raise ValueError("`resolution` belongs to the action `resolve`, and that action needs it")
        return self


class DomainCommand(UserModel):
    """One order to one sending domain."""

    domain: str = Field(min_length=1, max_length=253)
    action: DomainAction
    reason: str | None = Field(None, max_length=1000)


class PlannerInput(Model):
    """A validated request or command on `planner.inputs`, under the campaign's id."""

    campaign_id: str
    kind: Literal["request", "command", "replan"]
    origin: Origin
    received_at: Instant
    request: CampaignRequest | None = None
    content_hash: str | None = None
    command: CampaignCommand | None = None


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
