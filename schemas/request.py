"""`CampaignRequest`: what a user writes to `campaign.requests`."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from schemas.base import Instant, UserModel
from schemas.identity import CampaignId
from schemas.strategy import StrategySpec
from schemas.units import Rate

NoBreaks = StringConstraints(pattern=r"^[^\r\n\x00]*$", max_length=998)
Line = Annotated[str, NoBreaks]
"""Text for a header: one line (RFC 5322 section 2.2 forbids CR and LF in a header's body)."""


def known_zone(name: str) -> str:
    """`name` when the time zone database has it. Raises ValueError with an example when not."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise ValueError(f"{name!r} is not a time zone; write one such as America/Bogota or UTC") from e
    return name


def within_calendar(instant: datetime) -> datetime:
    """`instant` when UTC has it too. Raises ValueError in the first and last hours of what a date can say."""
    try:
        instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("this is before year 1 or after year 9999 in UTC; is the year right?") from None
    return instant


TimeZone = Annotated[str, AfterValidator(known_zone)]
Window = tuple[time, time]
"""Local times of day; the end is not part of it; an end before the start runs over midnight."""


class From(UserModel):
    """Who the mail comes from. The domain of the address must be in the settings."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s\r\n<>,;]+@[^@\s\r\n<>,;]+$", max_length=254)]
    name: Line | None = None


class TemplateSpec(UserModel):
    """A template in the request (`subject` with `html` or `text`), or the `id` of a stored one."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    subject: Line | None = None
    html: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> TemplateSpec:
        inline = self.subject is not None or self.html is not None or self.text is not None
        if self.id is not None and inline:
            raise ValueError("give the id of a stored template, or subject with html or text, not both")
        if self.id is None and (self.subject is None or (self.html is None and self.text is None)):
            raise ValueError("a template needs a subject and html or text (or both), or the id of a stored one")
        return self


Cell = str | int | float | bool | None
"""A template variable's value."""


class Recipients(UserModel):
    """Who is mailed: rows in the request (`inline`), or a `uri` to a table of them."""

    inline: tuple[dict[str, Any], ...] | None = Field(None, description="rows; each needs `email`")
    uri: Annotated[str, StringConstraints(pattern=r"^(file|s3)://.+", max_length=4096)] | None = None
    where: dict[str, Cell | tuple[Cell, ...]] = Field({}, description="keeps the rows whose columns equal these")
    unless_mailed_by: tuple[CampaignId, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> Recipients:
        if (self.inline is None) == (self.uri is None):
            raise ValueError("recipients are either `inline` or a `uri`, exactly one of them")
        return self


class Pace(UserModel):
    """A cap below the relay's own rate and connections."""

    rate: Rate | None = Field(None, description='messages a second, written like "5/s"')
    connections: int | None = Field(None, ge=1, le=1000)


class Schedule(UserModel):
    """When mail may go out. What is left out depends on the strategy; `window: null` means any time."""

    start_at: Annotated[Instant, AfterValidator(within_calendar)] | None = None
    timezone: TimeZone | None = None
    window: Window | None = None
    skip_weekends: bool | None = None

    @model_serializer(mode="wrap")
    def _keep_what_was_left_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A window that was left out is not one that is null: written and read again, it stays left out."""
        fields: dict[str, Any] = handler(self)
        if "window" not in self.model_fields_set:
            fields.pop("window", None)
        elif self.window is None:
            fields["window"] = None
        return fields

    @model_validator(mode="after")
    def _window_opens(self) -> Schedule:
        if self.window is not None and self.window[0] == self.window[1]:
            raise ValueError("this window never opens: its start and end are the same; null means any time")
        return self


class Tracking(UserModel):
    """What of the mail reports back."""

    opens: bool = True
    clicks: bool = True

    @model_serializer(mode="wrap")
    def _keep_what_was_left_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was left out is not what was asked for: written and read again, it stays left out."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name in self.model_fields_set}


class FallbackSpec(UserModel):
    """Mail, or name, those once more who have not opened or clicked after some days."""

    after_days: float = Field(gt=0, le=365)
    unless: Literal["opened", "clicked"] = "clicked"
    template: TemplateSpec | None = None


class CampaignRequest(UserModel):
    """A campaign as a user asks for it. Only `from`, `template` and `recipients` are required."""

    campaign_id: CampaignId | None = Field(None, description="derived from the content when left out")
    name: Line | None = None
    from_: From = Field(alias="from")
    reply_to: Annotated[str, StringConstraints(pattern=r"^[^@\s\r\n<>,;]+@[^@\s\r\n<>,;]+$", max_length=254)] | None = (
        None
    )
    relay: str | None = None
    template: TemplateSpec
    recipients: Recipients
    strategy: StrategySpec = StrategySpec()
    pace: Pace = Pace()
    schedule: Schedule = Schedule()
    tracking: Tracking = Tracking()
    in_doubt: Literal["hold", "resend"] = "hold"
    max_retries: int = Field(3, ge=0, le=4, description="tries after the first, for a transient refusal")
    fallback: FallbackSpec | None = None
    tags: dict[Annotated[str, NoBreaks], Annotated[str, NoBreaks]] = Field({}, max_length=50)
