"""The gate's decisions: every input and the time call the same core. No clock, no I/O, nothing random.

A core owns the relays of one partition. `apply` and `tick` change its tables in place and return what is to be
written; whoever cannot write that throws the core away and makes a new one from the rows that were written.
Repeated and older inputs change nothing. At any moment the figures of a campaign add up to its recipients, open
permits never exceed the relay's connections and rate, and no day's counter exceeds the limit it was checked against.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from schemas.batch import BatchPlanned, PlanComplete, PlanFailed
from schemas.chunk import ChunkResult, Evidence
from schemas.command import GateCommand
from schemas.progress import CampaignProgress
from schemas.records import RelayAccount, ReputationChanged
from sender.gate import alerts, archive
from sender.gate.admission import batch_planned, plan_complete, plan_failed
from sender.gate.commands import apply_command
from sender.gate.decision import Decision, GateInput, Turn
from sender.gate.deferrals import keep_time, ripen
from sender.gate.doubts import evidence
from sender.gate.ending import complete_if_done
from sender.gate.limits import take_account
from sender.gate.permits import ask_again
from sender.gate.release import dispatch
from sender.gate.results import apply_result
from sender.gate.rows import Table, row_name
from sender.gate.rows_json import to_json
from sender.gate.settings import GateSettings
from sender.gate.show import progress_of, settle, show_all
from sender.gate.silence import listen, unheard
from sender.gate.tables import Tables, WakeKind


class GateCore:
    """Tables and decisions of one partition. `speed`: of the installation's clock against real time."""

    def __init__(self, settings: GateSettings, speed: float = 1.0) -> None:
        self.tables = Tables(settings, speed)
        self._last: Turn | None = None

    @classmethod
    def restored(
        cls, settings: GateSettings, speed: float, rows: Iterable[tuple[Table, str, Mapping[str, Any]]],
        aside: dict[str, str] | None = None,
    ) -> GateCore:  # fmt: skip
        """A core from the rows that another one has written. Its first `tick` looks at everything.

        `aside`: campaigns to be put aside, and why; the core takes out those that somebody resumes.
        """
        core = cls(settings, speed)
        core.tables.aside = {} if aside is None else aside
        core.tables.restore(rows)
        return core

    def rows(self) -> list[tuple[Table, str, dict[str, Any]]]:
        """All rows as they would be written."""
        return [(*row_name(row), to_json(row)) for row in self.tables.all_rows()]

    def succeed(self, before: GateCore) -> None:
        """It stands in for one whose tables could not be trusted any more: the gate was there all the time."""
        self.tables.listening_since = before.tables.listening_since
        self.tables.listened_real = before.tables.listened_real

    @property
    def about(self) -> str | None:
        """The campaign that was being decided on when the core failed; None: it failed for no one of them."""
        return None if self._last is None else self._last.about

    def progress(self, campaign_id: str, now: datetime, real: float) -> CampaignProgress:
        """The campaign's progress as it stands. Raises KeyError for an unknown one."""
        return progress_of(Turn(self.tables, now, real), self.tables.campaigns[campaign_id])

    def apply(self, given: GateInput, now: datetime, real: float) -> Decision:
        """What follows from an input. `now` is the installation's time, `real` Unix seconds; neither goes back."""
        turn = self._turn(now, real)
        if isinstance(given, ChunkResult):
            apply_result(turn, given)
        elif isinstance(given, BatchPlanned):
            batch_planned(turn, given)
        elif isinstance(given, PlanComplete):
            plan_complete(turn, given)
        elif isinstance(given, PlanFailed):
            plan_failed(turn, given)
        elif isinstance(given, GateCommand):
            apply_command(turn, given)
        elif isinstance(given, Evidence):
            evidence(turn, given)
        elif isinstance(given, RelayAccount):
            take_account(turn, given)
        else:
            _reputation(turn, given)
        return self._finish(turn)

    def tick(self, now: datetime, real: float) -> Decision:
        """What follows from the time alone."""
        turn = self._turn(now, real)
        tables = self.tables
        while tables.wakes and tables.wakes[0][0] <= turn.now:
            at, campaign_id = heapq.heappop(tables.wakes)
            campaign = tables.campaigns[campaign_id]
            if campaign.wake == at:
                campaign.wake = None
                if campaign_id not in tables.aside:
                    turn.fresh(campaign)
        _wake_deferred(turn)
        due: list[tuple[float, WakeKind, str]] = []
        while tables.real_wakes and tables.real_wakes[0][0] <= real:
            due.append(heapq.heappop(tables.real_wakes))
        for _, kind, name in due:
            _wake(turn, kind, name)
        for campaign_id in tables.aside:
            aside = tables.campaigns.get(campaign_id)  # one that began in what failed has no row yet
            if aside is not None and aside.shown_state is None:
                turn.campaigns[campaign_id] = aside
        for name in tables.fresh:
            turn.relays[name] = tables.relay(name)
        return self._finish(turn)

    def _turn(self, now: datetime, real: float) -> Turn:
        self.tables.now = max(self.tables.now, now)
        listen(self.tables, real)
        self._last = Turn(self.tables, self.tables.now, real)
        return self._last

    def _finish(self, turn: Turn) -> Decision:
        for name in sorted(turn.relays):
            dispatch(turn, turn.relays[name])
        for campaign in turn.campaigns.values():
            complete_if_done(turn, campaign)
            keep_time(turn, campaign)
        self._forget_ended(turn)
        archive.look(turn)
        alerts.look(turn)
        show_all(turn)
        turn.about = None
        turn.out.next_wake = self.tables.next_wake(turn.now, turn.real)
        return turn.out

    def _forget_ended(self, turn: Turn) -> None:
        """A campaign that has just ended leaves the queue and has no hold any more."""
        for name in [n for n in turn.relays if self.tables.fresh.get(n)]:
            dispatch(turn, turn.relays[name])


def _wake(turn: Turn, kind: WakeKind, name: str) -> None:
    """Something whose real time has come."""
    tables = turn.tables
    turn.about = tables.campaign_woken(kind, name)
    if turn.about in tables.aside and kind not in {"show", "batch"}:
        return
    if kind == "permit":
        ask_again(turn, name)
    elif kind == "relay":
        turn.freed(tables.relay(name))
    elif kind == "domain":
        turn.news_of(tables.domains[name])
        if tables.domains[name].down is None:
            turn.changed(tables.domains[name])
    elif kind == "forget":
        archive.forget(turn, tables.campaigns[name])
    elif kind in {"campaign", "show"}:
        campaign = tables.campaigns[name]
        campaign.show_due = False
        turn.campaigns[name] = campaign
        if kind == "campaign":
            turn.fresh(campaign)
    elif kind == "silent":
        batch = tables.relay(name.rpartition(":")[0]).permits.get(name)
        if batch is None or batch.permit is None:
            return
        left = tables.settings.silent_after - unheard(tables, batch.permit, turn.real)
        if batch.permit.heard_real is None and left > 0:  # the gate was away
            tables.wake_real(turn.real + left, "silent", name)
        turn.campaigns[batch.campaign_id] = tables.campaigns[batch.campaign_id]
    else:
        _wake_batch(turn, kind, name)


def _wake_deferred(turn: Turn) -> None:
    """Whoever was deferred and is due is ready to be released again."""
    tables = turn.tables
    while tables.due and tables.due[0][0] <= turn.now:
        found = tables.batch_of(heapq.heappop(tables.due)[1])
        if found is None or found[0].campaign_id in tables.aside:
            continue
        campaign, batch = found
        turn.about = campaign.campaign_id
        if ripen(turn, campaign, batch):
            settle(turn, campaign, batch)
            turn.changed(batch)
            turn.fresh(campaign)


def _wake_batch(turn: Turn, kind: str, name: str) -> None:
    found = turn.tables.batch_of(name)
    if found is None:
        return
    campaign, batch = found
    batch.show_due = False
    turn.batches[batch.key] = batch
    if kind == "retry" and batch.retry_real is not None and batch.retry_real <= turn.real:
        batch.retry_real = None
        campaign.resting.discard(batch.number)
        settle(turn, campaign, batch)
        turn.changed(batch)
        turn.fresh(campaign)


def _reputation(turn: Turn, given: ReputationChanged) -> None:
    """Evidence about a domain: from now on it alone says on which day the domain is."""
    domain = turn.tables.domain(given.relay, given.sending_domain)
    if domain.as_of is not None and given.as_of <= domain.as_of:
        return
    domain.as_of, domain.sending_day, domain.warm = given.as_of, given.sending_day, given.warm
    turn.changed(domain)
    for campaign_id in sorted(domain.campaigns):
        turn.fresh(turn.tables.campaigns[campaign_id])
