"""What the gate decides, as values; and one turn of deciding, which gathers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from schemas.batch import Batch, BatchPlanned, PlanComplete, PlanFailed
from schemas.chunk import BatchControl, Chunk, ChunkResult, Evidence
from schemas.command import GateCommand, PlannerInput
from schemas.progress import CampaignProgress
from schemas.records import Alert, RelayAccount, ReputationChanged
from sender.gate.rows import BatchRow, CampaignRow, DomainRow, RelayRow, Row, Table
from sender.gate.tables import Tables

GateInput = (
    BatchPlanned | PlanComplete | PlanFailed | ChunkResult | Evidence | GateCommand | ReputationChanged | RelayAccount
)
RowKey = tuple[Table, str]


@dataclass(slots=True)
class Dead:
    """Something that nobody can use: a `chunk` that failed too often, a `command` given earlier that came to nothing,
    else the input itself."""

    error: str
    chunk: Chunk | None = None
    attempts: int = 1
    command: GateCommand | None = None


@dataclass(slots=True)
class Decision:
    """What follows from an input or the time.

    orders:    chunks (new and repeated) and controls, in the order in which owners must see them.
    rows:      the rows that have changed; every one of them must be written with the outputs.
    gone:      the rows that there are no more; they must be deleted.
    next_wake: Unix seconds of real time at which `tick` has something to do; None: not before an input.
    """

    orders: list[Chunk | BatchControl] = field(default_factory=list)
    rows: dict[RowKey, Row] = field(default_factory=dict)
    gone: list[RowKey] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    progress: list[CampaignProgress] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    planner: list[PlannerInput] = field(default_factory=list)
    next_wake: float | None = None

    @property
    def chunks(self) -> list[Chunk]:
        return [o for o in self.orders if isinstance(o, Chunk)]

    @property
    def controls(self) -> list[BatchControl]:
        return [o for o in self.orders if isinstance(o, BatchControl)]

    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.orders
            or self.rows
            or self.gone
            or self.batches
            or self.progress
            or self.dead
            or self.alerts
            or self.planner
        )


@dataclass(slots=True)
class Turn:
    """One input or one tick: the tables, the time, and what has been decided so far."""

    tables: Tables
    now: datetime
    real: float
    out: Decision = field(default_factory=Decision)
    relays: dict[str, RelayRow] = field(default_factory=dict)
    campaigns: dict[str, CampaignRow] = field(default_factory=dict)
    batches: dict[tuple[str, int], BatchRow] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    """Relays with a permit that was asked for again and of which nobody says anything."""
    about: str | None = None
    """The campaign that is being decided on: whom to put aside when that fails."""

    def changed(self, row: Row) -> None:
        """The row is to be written."""
        if isinstance(row, BatchRow):
            self.out.rows["batch", f"{row.campaign_id}/{row.number}"] = row
        elif isinstance(row, CampaignRow):
            self.out.rows["campaign", row.campaign_id] = row
        elif isinstance(row, DomainRow):
            self.out.rows["domain", row.name] = row
        else:
            self.out.rows["relay", row.name] = row

    def gone(self, batch: BatchRow) -> None:
        """There is no such batch any more: its row is to be deleted."""
        key: RowKey = "batch", f"{batch.campaign_id}/{batch.number}"
        self.out.rows.pop(key, None)
        self.out.gone.append(key)
        self.batches.pop(batch.key, None)

    def fresh(self, campaign: CampaignRow) -> None:
        """Something has happened to the campaign: whether it may release is decided anew in this turn."""
        self.tables.fresh.setdefault(campaign.relay, {})[campaign.campaign_id] = None
        self.campaigns[campaign.campaign_id] = campaign
        self.relays[campaign.relay] = self.tables.relay(campaign.relay)

    def freed(self, relay: RelayRow) -> None:
        """Something of the relay's has become free: those who queue for it are looked at again."""
        relay.freed = True
        self.relays[relay.name] = relay

    def news_of(self, row: RelayRow | DomainRow) -> None:
        """The relay, or mail from a domain, is taken or not, or is tried: every campaign that queues for it is looked
        at, so that its hold says so; so is every one in which somebody is deferred: its clock stands meanwhile."""
        if isinstance(row, DomainRow):
            waiting = dict.fromkeys(sorted(row.campaigns))
        else:
            waiting = {c: None for _, c in row.queue} | dict.fromkeys(sorted(row.deferring))
        for campaign_id in waiting:
            self.fresh(self.tables.campaigns[campaign_id])

    def dead(self, error: str) -> None:
        """The input cannot be used, and why."""
        self.out.dead.append(Dead(error))
