"""The gate's tables: one row a relay, domain, campaign and batch.

Rows live in memory as plain slotted objects and on `gate.state` as JSON that leaves out what has its default.
Fields marked `derived()` are not written: they follow from the others and are made again when rows are read
(`tables.py`). Instants are of the installation's clock; fields named `*_real` are Unix seconds of real time.
"""

# ruff: noqa: RUF009 - `derived` is `dataclasses.field` with a mark
from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from schemas.batch import BatchState, GateCampaign, HoldReason
from schemas.campaign import CampaignState
from schemas.chunk import SendError
from schemas.strategy import Strategy
from sender.gate.account import Account
from sender.gate.ranges import Ranges

BatchKey = tuple[str, int]
"""(campaign id, batch number)."""
Probes = Literal["relay", "domain"]
"""What a probe finds out about: a relay (and perhaps its domain as well), or a domain alone."""
Figures = tuple[int, int, int, int, int, int, int]
"""(waiting, in flight, accepted, failed, in doubt, suppressed, cancelled)."""


def derived(default: Any = MISSING, factory: Callable[[], Any] | None = None) -> Any:
    """A field that follows from the others and is not written."""
    if factory is not None:
        return field(default_factory=factory, metadata={"derived": True}, compare=False, repr=False)
    return field(default=default, metadata={"derived": True}, compare=False, repr=False)


@dataclass(slots=True)
class Permit:
    """A chunk that was given out and has no final result. Days: of issue, at the domain and in UTC. `deferrals`: how
    often those in it were deferred before; `used`: allowed time in seconds since the first of these; `defer`: whether
    whoever is refused for now is deferred (again); `resend`: those in doubt whom an order sends to again."""

    id: str
    round: int
    ranges: Ranges
    connections: int
    rate: float | None
    until: datetime
    issued_at: datetime
    issued_real: float
    day: date
    utc_day: date
    asked_real: float
    heard_real: float | None = None
    begun: int = 0
    throttled: int = 0
    probe: bool = False
    probes: Probes = "relay"
    deferrals: int = 0
    defer: bool = False
    used: float = 0.0
    resend: Ranges = field(default_factory=list)
    n: int = derived(0)

    @property
    def relay(self) -> str:
        return self.id.rpartition(":")[0]


@dataclass(slots=True)
class Later:
    """Some of a batch who were deferred at `at`, for the `times`th time in a round, and are released again when `due`.

    `mark`: the campaign's clock of allowed time at `at`; `used`: seconds of it from the first deferral until `at`, or
    until it was due once they are `ready`.
    """

    ranges: Ranges
    times: int
    round: int
    at: datetime
    due: datetime
    mark: float = 0.0
    used: float = 0.0
    ready: bool = False


@dataclass(slots=True)
class BatchRow:
    """A batch. `open`: to be released; `resend`: those of them who are in doubt, by an order; `deferred`: to be
    released again, by a schedule; `failed` and `in_doubt`: as its owner reports them; `awaited`: how many of those in
    doubt the record of a sender may settle that cannot be read yet; `dropped`: failed because their
    chunk is a dead letter; `given_up`: failed because an order gave up whoever was in doubt, and not tried again. An
    index that is open again is still in the owner's ranges. After an error the batch rests until `retry_real`.
    `alerted_round`: in which an alert said that all of it failed."""

    campaign_id: str
    number: int
    size: int
    scheduled_for: datetime
    sending_day: int = 1
    pointers: tuple[tuple[int, int, int, int, str], ...] = ()
    """Partition, offset, start, count, checksum."""
    checksum: str = ""
    open: Ranges = field(default_factory=list)
    resend: Ranges = field(default_factory=list)
    deferred: list[Later] = field(default_factory=list)
    round: int = 0
    permit: Permit | None = None
    version: int = 0
    accepted: int = 0
    suppressed: int = 0
    failed: Ranges = field(default_factory=list)
    in_doubt: Ranges = field(default_factory=list)
    awaited: int = 0
    dropped: Ranges = field(default_factory=list)
    given_up: Ranges = field(default_factory=list)
    cancelled: Ranges = field(default_factory=list)
    failures: int = 0
    retry_real: float | None = None
    told_to_pause: bool = False
    released_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    alerted_round: int | None = None
    figures: Figures = derived((0, 0, 0, 0, 0, 0, 0))
    left_out: int = derived(0)  # who has failed and is given up
    state: BatchState = derived("pending")
    shown_state: BatchState | None = derived(None)
    shown_real: float = derived(0.0)
    show_due: bool = derived(False)

    @property
    def key(self) -> BatchKey:
        return self.campaign_id, self.number


@dataclass(slots=True)
class Asked:
    """An order about those in doubt, or about one with an address, while owners carry it out. `waiting`: batch number
    to the order's version there."""

    waiting: dict[str, int]
    command: dict[str, Any]
    found: int = 0
    aside: str = ""
    """Why one of the owners could not look: he has put the batch aside."""


@dataclass(slots=True)
class CampaignRow:
    """A campaign. `batches_planned` is None until the plan is complete. A *release* is what goes out at one
    interval: up to a step's batch size, in one or several permits; `release_left` is still to be permitted. `allowed`:
    seconds of allowed time up to `allowed_since`, from when on more is added (None: not now); kept while somebody is
    deferred. `doubt_alert`: id of the alert that it ended with recipients in doubt, while that is so. `kept`,
    `kept_states`, `kept_left_out`: what the rows of its batches added up to, once it is archived and they go."""

    campaign_id: str
    relay: str
    content_hash: str = ""
    state: CampaignState = "planning"
    plan: GateCampaign | None = None
    batches_planned: int | None = None
    strategy: Strategy | None = None
    pause_reason: str | None = None
    cancel_reason: str | None = None
    problem: str | None = None
    orders: dict[str, int] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    releases: int = 0
    released_at: datetime | None = None
    release_day: date | None = None
    releases_today: int = 0
    release_left: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    minutes: list[tuple[int, int]] = field(default_factory=list)
    last_errors: list[SendError] = field(default_factory=list)
    tails: list[tuple[float, float]] = field(default_factory=list)
    doubt_alert: str | None = None
    allowed: float = 0.0
    allowed_since: datetime | None = None
    last_deferral: SendError | None = None
    archived_at: datetime | None = None
    archived_real: float = 0.0
    kept: list[int] = field(default_factory=list)
    kept_states: dict[BatchState, int] = field(default_factory=dict)
    kept_left_out: int = 0
    batches: dict[int, BatchRow] = derived(factory=dict)
    waiting: list[int] = derived(factory=list)  # negative batch numbers, ascending: the last one is the next
    ready: list[int] = derived(factory=list)  # the same, of batches with somebody to be released again now
    deferring: set[int] = derived(factory=set)  # batches with somebody who is deferred
    awaiting: set[int] = derived(factory=set)  # batches with somebody whom the record of a sender may yet settle
    permits: dict[str, BatchRow] = derived(factory=dict)
    again: set[str] = derived(factory=set)  # of these permits, those of recipients who were deferred before
    resting: set[int] = derived(factory=set)  # batches that wait for their `retry_real`
    totals: list[int] = derived(factory=lambda: [0] * 7)
    left_out: int = derived(0)  # how many have failed and are given up
    states: dict[BatchState, int] = derived(factory=dict)
    hold: HoldReason | None = derived(None)
    held: int | None = derived(None)
    wake: datetime | None = derived(None)
    queued: bool = derived(False)
    shown_state: CampaignState | None = derived(None)
    shown_real: float = derived(0.0)
    show_due: bool = derived(False)
    window: tuple[datetime, datetime, datetime | None] | None = derived(None)
    plan_row: dict[str, Any] | None = derived(None)

    @property
    def age(self) -> tuple[datetime, str]:
        """Older campaigns first, then by id."""
        return (self.plan.created_at if self.plan else datetime.max.replace(tzinfo=UTC)), self.campaign_id


@dataclass(slots=True)
class Down:
    """A relay that refuses us as a whole, or a domain from which its relay takes nothing. `probe`: the permit that
    finds out whether that is still so. `tried`: sending domains that a relay has refused since, the last one last."""

    since: datetime
    error: str
    attempts: int
    next_real: float
    probe: str | None = None
    since_real: float = 0.0
    tried: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DomainRow:
    """A sending domain. `days`: messages begun by local day, of today and later; `maybe`: of other days that may
    have arrived on this one (they use quota, and make no sending day). `unsettled`: a past day of which it is not
    known yet whether mail went out on it. `again`: of `day`, messages permitted to who was deferred before. `as_of`: of
    the newest word about its reputation. `down`: its relay takes nothing that is from it; `down_alert`: id of the alert
    about that."""

    name: str
    relay: str
    day: date | None = None
    days: dict[date, int] = field(default_factory=dict)
    maybe: dict[date, int] = field(default_factory=dict)
    sending_day: int = 1
    unsettled: date | None = None
    again: int = 0
    warm: bool = False
    as_of: datetime | None = None
    paused: bool = False
    pause_reason: str | None = None
    orders: dict[str, int] = field(default_factory=dict)
    down: Down | None = None
    down_alert: str | None = None
    reserved: int = derived(0)
    campaigns: set[str] = derived(factory=set)
    short: set[str] = derived(factory=set)
    midnight: datetime | None = derived(None)


@dataclass(slots=True)
class RelayRow:
    """An account. `rate_now`: below its limit after throttling (None: not lowered), as it was at `rate_real`;
    `ceiling`: where it ends being lowered. `tails`: rate that permits which ended early still hold until then.
    `down_alert`: id of the alert that it refuses everything, while it does; `silent_alert`: that no sender answers for
    it; `quota_alert`: the day of the last one."""

    name: str
    permits_issued: int = 0
    controls_issued: int = 0
    day: date | None = None
    days: dict[date, int] = field(default_factory=dict)
    rate_now: float | None = None
    rate_real: float = 0.0
    ceiling: float | None = None
    throttled_real: float = 0.0
    tails: list[tuple[float, float]] = field(default_factory=list)
    down: Down | None = None
    account: Account | None = None
    down_alert: str | None = None
    silent_alert: str | None = None
    quota_alert: date | None = None
    permits: dict[str, BatchRow] = derived(factory=dict)
    reserved: int = derived(0)
    queue: list[tuple[datetime, str]] = derived(factory=list)
    short: set[str] = derived(factory=set)
    deferring: set[str] = derived(factory=set)
    freed: bool = derived(False)


Row = RelayRow | DomainRow | CampaignRow | BatchRow
Table = Literal["relay", "domain", "campaign", "batch"]


def by_number(campaign: CampaignRow) -> list[BatchRow]:
    """Its batches in their order."""
    return [campaign.batches[number] for number in sorted(campaign.batches)]


def row_name(row: Row) -> tuple[Table, str]:
    """Table and name of a row: its key on `gate.state` is `table:name`."""
    if isinstance(row, BatchRow):
        return "batch", f"{row.campaign_id}/{row.number}"
    if isinstance(row, CampaignRow):
        return "campaign", row.campaign_id
    return ("domain" if isinstance(row, DomainRow) else "relay"), row.name
