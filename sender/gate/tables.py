"""The tables of one partition in memory, and what follows from them: indexes, sums, wake-up times.

Everything here can be made again from the rows alone (`restore`), which is what a new owner does.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from schemas.batch import BatchState
from schemas.identity import split_batch_id
from sender.gate import ranges as rs
from sender.gate.rate import followed
from sender.gate.rows import BatchRow, CampaignRow, DomainRow, Figures, RelayRow, Row, Table
from sender.gate.rows_json import from_json
from sender.gate.settings import DomainPlace, GateSettings, RelayLimits, margin
from sender.gate.states import ENDED

WakeKind = Literal["permit", "silent", "campaign", "relay", "domain", "show", "batch", "retry", "forget"]
NOWHERE = DomainPlace(relay="")
NO_RELAY = RelayLimits(connections=0)


class Tables:
    """Rows by name, and heaps of wake-up times: of the installation's clock and of real time."""

    def __init__(self, settings: GateSettings, speed: float) -> None:
        self.settings = settings
        self.speed = speed
        self.margin = margin(speed)
        self.relays: dict[str, RelayRow] = {}
        self.domains: dict[str, DomainRow] = {}
        self.campaigns: dict[str, CampaignRow] = {}
        self.fresh: dict[str, dict[str, None]] = {}
        self.wakes: list[tuple[datetime, str]] = []
        self.real_wakes: list[tuple[float, WakeKind, str]] = []
        self.due: list[tuple[datetime, str]] = []
        """When somebody of a batch who was deferred is to be released again."""
        self.aside: dict[str, str] = {}
        """Campaigns on which the gate failed, and how: they hold until somebody resumes them or the gate restarts."""
        self.now = datetime.min.replace(tzinfo=UTC)
        self.listening_since = 0.0
        """From when on silence is observed (`silence.py`), and when somebody last looked; in real time."""
        self.listened_real: float | None = None

    # --- rows

    def relay(self, name: str) -> RelayRow:
        """The relay's row; a new one when it is not known yet."""
        row = self.relays.get(name)
        if row is None:
            row = self.relays[name] = RelayRow(name)
        return row

    def domain(self, relay: str, name: str) -> DomainRow:
        """The domain's row; a new one when it is not known yet. One that was moved to another relay stays."""
        row = self.domains.get(name)
        if row is None:
            row = self.domains[name] = DomainRow(name, relay)
        elif row.relay != relay == self.place(name).relay:
            row.relay = relay
        return row

    def domain_of(self, campaign: CampaignRow) -> DomainRow:
        assert campaign.plan is not None  # noqa: S101 - only asked of campaigns whose plan is complete
        return self.domain(campaign.relay, campaign.plan.sending_domain)

    def limits(self, relay: str) -> RelayLimits:
        """What the settings and its account say of a relay; no connections when the settings do not know it."""
        limits, row = self.settings.relays.get(relay, NO_RELAY), self.relays.get(relay)
        return limits if row is None or row.account is None else followed(limits, row.account)

    def place(self, domain: str) -> DomainPlace:
        """What the settings say of a domain."""
        return self.settings.domains.get(domain, NOWHERE)

    # --- wake-up times

    def wake_campaign(self, campaign: CampaignRow, at: datetime) -> None:
        """Look at the campaign again at `at`."""
        if campaign.wake != at:
            campaign.wake = at
            heapq.heappush(self.wakes, (at, campaign.campaign_id))

    def wake_ended(self, campaign: CampaignRow) -> None:
        """Look at a campaign that has ended again when it is to be archived, or its batches forgotten."""
        if campaign.archived_at is not None:
            if campaign.batches:
                due = campaign.archived_real + self.settings.forget_after
                self.wake_real(due, "forget", campaign.campaign_id)
        elif campaign.completed_at is not None:
            self.wake_campaign(campaign, max(campaign.completed_at + self.settings.archive_after, self.now))

    def wake_real(self, at: float, kind: WakeKind, name: str) -> None:
        heapq.heappush(self.real_wakes, (at, kind, name))

    def next_wake(self, now: datetime, real: float) -> float | None:
        """The earliest of all, in real time."""
        times = [self.real_wakes[0][0]] if self.real_wakes else []
        firsts = [heap[0][0] for heap in (self.wakes, self.due) if heap]
        if firsts:
            times.append(real + max(0.0, (min(firsts) - now).total_seconds() / self.speed))
        return min(times, default=None)

    # --- batches

    def add_batch(self, campaign: CampaignRow, batch: BatchRow) -> None:
        """A batch that is new to the tables: it joins its campaign's sums."""
        campaign.batches[batch.number] = batch
        batch.state = "pending"
        campaign.states["pending"] = campaign.states.get("pending", 0) + 1
        self.settle(campaign, batch)

    def settle(self, campaign: CampaignRow, batch: BatchRow) -> bool:
        """Brings the campaign's sums, its waiting list and the batch's state up to date; whether the state changed."""
        figures = figures_of(batch)
        if figures != batch.figures:
            totals = campaign.totals
            for i, (new, old) in enumerate(zip(figures, batch.figures, strict=True)):
                totals[i] += new - old
            batch.figures = figures
        if batch.given_up:
            left_out = rs.total(rs.common(failed_ranges(batch), batch.given_up))
            campaign.left_out += left_out - batch.left_out
            batch.left_out = left_out
        if batch.awaited or batch.number in campaign.awaiting:
            (campaign.awaiting.add if batch.awaited else campaign.awaiting.discard)(batch.number)
        self._enlist(campaign, batch)
        return restate(campaign, batch)

    def _enlist(self, campaign: CampaignRow, batch: BatchRow) -> None:
        free = batch.permit is None and batch.retry_real is None
        _list(campaign.waiting, -batch.number, wanted=free and bool(batch.open))
        if not batch.deferred and batch.number not in campaign.deferring:
            return
        _list(campaign.ready, -batch.number, wanted=free and any(e.ready for e in batch.deferred))
        (campaign.deferring.add if batch.deferred else campaign.deferring.discard)(batch.number)
        known = self.relay(campaign.relay).deferring
        (known.add if campaign.deferring else known.discard)(campaign.campaign_id)

    # --- reading rows back

    def restore(self, rows: Iterable[tuple[Table, str, Mapping[str, Any]]]) -> None:
        """Fills empty tables from rows that were written."""
        batches: list[BatchRow] = []
        for table, _, row in rows:
            if table == "relay":
                relay = from_json(RelayRow, row)
                self.relays[relay.name] = relay
            elif table == "domain":
                domain = from_json(DomainRow, row)
                self.domains[domain.name] = domain
            elif table == "campaign":
                campaign = from_json(CampaignRow, row)
                self.campaigns[campaign.campaign_id] = campaign
            else:
                batches.append(from_json(BatchRow, row))
        for name, domain in self.domains.items():
            if domain.down is not None and self.place(name).relay not in {"", domain.relay}:
                domain.down = None  # it was moved: nothing of it goes out by the relay that refused it
                self.wake_real(0.0, "domain", name)
        for batch in sorted(batches, key=lambda b: (b.campaign_id, b.number), reverse=True):
            self._restore_batch(batch)
        for campaign in self.campaigns.values():
            self._restore_campaign(campaign)
        for relay in self.relays.values():
            relay.freed = True
        for name, down in ((d.name, d.down) for d in self.domains.values() if d.down is not None):
            self.wake_real(down.next_real, "domain", name)

    def _restore_campaign(self, campaign: CampaignRow) -> None:
        if campaign.plan is not None and campaign.state not in ENDED:
            self.domain_of(campaign).campaigns.add(campaign.campaign_id)
        if campaign.state not in ENDED:
            self.fresh.setdefault(campaign.relay, {})[campaign.campaign_id] = None
        else:
            self.wake_ended(campaign)
        if campaign.kept:  # it is archived, and some of its batches may be gone
            campaign.totals, campaign.states = list(campaign.kept), dict(campaign.kept_states)
            campaign.left_out = max(campaign.left_out, campaign.kept_left_out)

    def _restore_batch(self, batch: BatchRow) -> None:
        campaign = self.campaigns[batch.campaign_id]
        self.add_batch(campaign, batch)
        self.await_due(batch)
        if batch.retry_real is not None:
            self.rest(campaign, batch, batch.retry_real)
        if batch.permit is not None:
            batch.permit.n = rs.total(batch.permit.ranges)
            self.hold_permit(campaign, batch)
            self.domain_of(campaign).reserved += batch.permit.n
            self.relay(campaign.relay).reserved += batch.permit.n

    def await_due(self, batch: BatchRow) -> None:
        """Look at the batch again when somebody in it is due."""
        for due in {e.due for e in batch.deferred if not e.ready}:
            heapq.heappush(self.due, (due, f"{batch.campaign_id}/{batch.number}"))

    def rest(self, campaign: CampaignRow, batch: BatchRow, until: float) -> None:
        """The batch is not released before `until`, in real time."""
        batch.retry_real = until
        campaign.resting.add(batch.number)
        self.wake_real(until, "retry", f"{batch.campaign_id}/{batch.number}")

    def hold_permit(self, campaign: CampaignRow, batch: BatchRow) -> None:
        """The batch's permit is open: it is known by its name, and will be asked for."""
        permit = batch.permit
        assert permit is not None  # noqa: S101
        campaign.permits[permit.id] = self.relay(campaign.relay).permits[permit.id] = batch
        if permit.deferrals:
            campaign.again.add(permit.id)
        self.wake_real(
            max(permit.asked_real, permit.heard_real or 0.0) + self.settings.repeat_after, "permit", permit.id
        )
        if permit.heard_real is None:
            self.wake_real(permit.issued_real + self.settings.silent_after, "silent", permit.id)

    def take_up(self, campaign: CampaignRow) -> None:
        """The campaign is not put aside any more: what it would have been woken for meanwhile."""
        for batch in list(campaign.permits.values()):
            self.hold_permit(campaign, batch)
        for number in sorted(campaign.resting):
            batch = campaign.batches[number]
            if batch.retry_real is not None:
                self.rest(campaign, batch, batch.retry_real)
        for number in sorted(campaign.deferring):
            self.await_due(campaign.batches[number])

    def drop_permit(self, campaign: CampaignRow, permit_id: str) -> None:
        campaign.permits.pop(permit_id, None)
        campaign.again.discard(permit_id)
        self.relay(campaign.relay).permits.pop(permit_id, None)

    def campaign_woken(self, kind: WakeKind, name: str) -> str | None:
        """Whom something that is due is about."""
        if kind in {"relay", "domain"}:
            return None
        if kind in {"permit", "silent"}:
            batch = self.relay(name.rpartition(":")[0]).permits.get(name)
            return None if batch is None else batch.campaign_id
        return name if kind in {"campaign", "show", "forget"} else split_batch_id(name)[0]

    def batch_of(self, batch_id: str) -> tuple[CampaignRow, BatchRow] | None:
        """Campaign and batch of `campaign/7`."""
        campaign_id, number = split_batch_id(batch_id)
        campaign = self.campaigns.get(campaign_id)
        batch = campaign.batches.get(number) if campaign else None
        return (campaign, batch) if campaign and batch else None

    def all_rows(self) -> list[Row]:
        """Every row there is."""
        return [
            *self.relays.values(), *self.domains.values(), *self.campaigns.values(),
            *(b for c in self.campaigns.values() for b in c.batches.values()),
        ]  # fmt: skip


def _list(numbers: list[int], number: int, *, wanted: bool) -> None:
    """A number joins or leaves an ascending list."""
    at = bisect.bisect_left(numbers, number)
    listed = at < len(numbers) and numbers[at] == number
    if wanted and not listed:
        numbers.insert(at, number)
    elif listed and not wanted:
        del numbers[at]


def failed_ranges(batch: BatchRow) -> rs.Ranges:
    """The indices that have failed, those that are open again (or were cancelled then) not among them."""
    return _standing(batch, rs.union(batch.failed, batch.dropped) if batch.dropped else batch.failed)


def doubtful_ranges(batch: BatchRow) -> rs.Ranges:
    """The indices in doubt. Who was to be released again, or is not any more, counts as that until he is settled."""
    again = [*batch.open, *batch.cancelled, *batch.dropped, *(r for later in batch.deferred for r in later.ranges)]
    return _standing(batch, rs.minus(batch.in_doubt, again) if batch.in_doubt and again else batch.in_doubt)


def _standing(batch: BatchRow, reported: rs.Ranges) -> rs.Ranges:
    if not reported or batch.round == 0:
        return reported
    left = rs.minus(reported, (*batch.open, *batch.cancelled))
    if batch.permit is not None and batch.permit.round > 0:
        left = rs.minus(left, batch.permit.ranges)
    return left


def figures_of(batch: BatchRow) -> Figures:
    """Where the batch's recipients are. The seven figures always add up to its size.

    Waiting, cancelled and in flight give way to what the owner reports: an index that is open again may have
    been settled by evidence meanwhile.
    """
    accepted, suppressed = batch.accepted, batch.suppressed
    failed = rs.total(failed_ranges(batch)) if batch.failed or batch.dropped else 0
    in_doubt = rs.total(doubtful_ranges(batch)) if batch.in_doubt else 0
    cancelled = rs.total(batch.cancelled) if batch.cancelled else 0
    waiting = rs.total(batch.open) if batch.open else 0
    for later in batch.deferred:
        waiting += rs.total(later.ranges)
    left = batch.size - accepted - suppressed - failed - in_doubt - cancelled - waiting
    if left >= 0:
        return waiting, left, accepted, failed, in_doubt, suppressed, cancelled
    return _fitted(batch.size, (accepted, suppressed, failed, in_doubt, cancelled, waiting))


def _fitted(size: int, wanted: tuple[int, ...]) -> Figures:
    """Each figure as far as the ones before it leave room."""
    fitted = []
    for figure in wanted:
        fitted.append(min(size, figure))
        size -= fitted[-1]
    accepted, suppressed, failed, in_doubt, cancelled, waiting = fitted
    return waiting, 0, accepted, failed, in_doubt, suppressed, cancelled


def restate(campaign: CampaignRow, batch: BatchRow) -> bool:
    """Brings the batch's state and the campaign's numbers of states up to date; whether it changed."""
    state = _state(campaign, batch)
    if state == batch.state:
        return False
    campaign.states[batch.state] -= 1
    campaign.states[state] = campaign.states.get(state, 0) + 1
    batch.state = state
    return True


def _state(campaign: CampaignRow, batch: BatchRow) -> BatchState:
    if batch.permit is not None:
        return "queued" if batch.permit.heard_real is None else "processing"
    if batch.open:
        return "held" if campaign.held == batch.number else "pending"
    if batch.deferred:
        return "held"
    if batch.figures[1]:
        return "processing"
    return "cancelled" if batch.cancelled else "completed"
