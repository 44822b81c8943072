"""Strategies as they are asked for and as they are resolved into numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import Model, UserModel

MAX_BATCH_SIZE = 10_000
"""Messages a batch, whoever asks: a batch is held in memory while it is planned, and while it is sent."""

StrategyType = Literal["ramp_up", "batch", "conservative"]


class Thresholds(UserModel):
    """What a sending day must have shown before the domain moves on to the next (shares, 0 to 1)."""

    min_opens: float | None = Field(None, ge=0, le=1, description="opened / delivered, more than")
    min_delivery: float | None = Field(None, ge=0, le=1, description="delivered / sent, more than")
    max_bounces: float | None = Field(None, ge=0, le=1, description="bounced / sent, less than")
    max_complaints: int | None = Field(None, ge=0, description="complaints, at most")


Minutes = Annotated[float, Field(ge=0, le=7 * 24 * 60)]


class StrategySpec(UserModel):
    """The strategy of a request: a type or the name of one in the settings, with its own numbers.

    Left-out numbers are those of the type (`planner/strategies/`). Ranges are checked when the
    request is resolved, since a named strategy of the settings may leave them.
    """

    type: str = Field("auto", min_length=1, max_length=100, description="auto, ramp_up, batch, conservative or a name")
    batch_size: int | None = Field(None, ge=1, le=MAX_BATCH_SIZE, description="messages a batch")
    interval_minutes: Minutes | tuple[Minutes, ...] | None = Field(
        None, description="minutes between batches, or the wait before each batch (the last one repeats)"
    )
    max_batches_per_day: int | None = Field(None, ge=1, le=1_000_000)
    concurrent_batches: int | None = Field(None, ge=1, le=1000)
    daily_limits: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="messages on sending day 1, 2, 3 ...; the last one repeats"
    )
    thresholds: Thresholds | None = None

    @model_validator(mode="after")
    def _lists_are_not_empty(self) -> StrategySpec:
        if self.interval_minutes == () or self.daily_limits == ():
            raise ValueError("interval_minutes and daily_limits need at least one number when given")
        return self


class Step(Model):
    """What holds from sending day `day` on, until the next step."""

    day: int = Field(ge=1, description="the first sending day of this step; days begin with 1")
    daily_limit: int | None = Field(description="messages of the domain a local day; None: no limit")
    batch_size: int = Field(ge=1, description="messages a batch, and at most in one release")


class DayThresholds(Model):
    """Thresholds that hold from a sending day on."""

    day: int = Field(ge=1)
    thresholds: Thresholds


class Strategy(Model):
    """A strategy with every number resolved, as it is recorded with a campaign."""

    name: str = Field(description="as it was asked for, `auto` resolved")
    type: StrategyType
    steps: tuple[Step, ...] = Field(min_length=1, description="ascending by day, the first is day 1")
    intervals_minutes: tuple[float, ...] = Field(
        min_length=1, description="the wait before batch 1, 2, 3 ...; the last one repeats"
    )
    max_batches_per_day: int | None = Field(None, description="releases of one campaign a local day")
    concurrent_batches: int = Field(5, ge=1, description="batches of one campaign that are being sent at once")
    thresholds: Thresholds = Thresholds()
    later_thresholds: tuple[DayThresholds, ...] = Field(
        (), description="ascending by day: instead of `thresholds` from that sending day on"
    )

    def thresholds_on(self, sending_day: int) -> Thresholds:
        """What sending day `sending_day` (1, 2, ...) must show."""
        found = self.thresholds
        for later in self.later_thresholds:
            if later.day <= sending_day:
                found = later.thresholds
        return found

    def step(self, sending_day: int) -> Step:
        """The step of `sending_day` (1, 2, ...)."""
        found = self.steps[0]
        for step in self.steps:
            if step.day > sending_day:
                break
            found = step
        return found

    def wait_minutes(self, release: int) -> float:
        """Minutes that release number `release` (0, 1, ...) waits after the one before it."""
        return self.intervals_minutes[min(release, len(self.intervals_minutes) - 1)]
