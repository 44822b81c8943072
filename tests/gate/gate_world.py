"""A world for the gate's core: a clock, senders that obey permits, servers that write down what they receive.

Everything is plain values. After every decision the world checks what must always hold, and that the rows which
were written are the rows that the core has.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from schemas.batch import BatchPlanned, GateCampaign, PlanComplete, Pointer
from schemas.calendar import local_day
from schemas.campaign import ResolvedPace, ResolvedSchedule
from schemas.chunk import BatchControl, Chunk, ChunkResult, Evidence, SendError
from schemas.command import GateCommand, Origin
from schemas.progress import CampaignProgress
from schemas.records import Alert
from schemas.strategy import Step, Strategy
from sender.gate.core import GateCore
from sender.gate.decision import Dead, Decision, GateInput
from sender.gate.quota import domain_limit
from sender.gate.rows import CampaignRow, row_name
from sender.gate.rows_json import to_json
from sender.gate.settings import DomainPlace, GateSettings, RelayLimits
from sender.gate.states import ENDED
from sender.gate.tables import failed_ranges

MONDAY = datetime(2026, 2, 2, 14, 0, tzinfo=UTC)
"""09:00 in Bogota."""
OFFICE = (time(9), time(17))
ZONE = "America/Bogota"
DOMAINS = ("bore.example", "other.example")


def ramp_up() -> Strategy:
    """The default numbers of `ramp_up`."""
    return Strategy(
        name="ramp_up", type="ramp_up", intervals_minutes=(0.0, 60.0),
        steps=(
            Step(day=1, daily_limit=50, batch_size=25), Step(day=2, daily_limit=100, batch_size=50),
            Step(day=3, daily_limit=150, batch_size=75), Step(day=6, daily_limit=200, batch_size=100),
        ),
    )  # fmt: skip


def batch_strategy(size: int = 500, most: int = 100, interval: float = 30, at_once: int = 5) -> Strategy:
    """The default numbers of `batch`, unless told otherwise."""
    return Strategy(
        name="batch", type="batch", intervals_minutes=(0.0, interval), max_batches_per_day=most,
        concurrent_batches=at_once, steps=(Step(day=1, daily_limit=None, batch_size=size),),
    )  # fmt: skip


def ramp_up_batches(recipients: int) -> list[int]:
    """The batches that `ramp_up` plans: as many and as large as each sending day allows."""
    sizes: list[int] = []
    day = 1
    while recipients > 0:
        step = ramp_up().step(day)
        left = step.daily_limit or 0
        while left > 0 and recipients > 0:
            sizes.append(min(step.batch_size, left, recipients))
            left -= sizes[-1]
            recipients -= sizes[-1]
        day += 1
    return sizes


def gate_campaign(
    campaign_id: str = "c", *, size: int, strategy: Strategy | None = None, created_at: datetime = MONDAY,
    start_at: datetime | None = None, window: tuple[time, time] | None = None, weekends: bool = False,
    timezone: str = ZONE, relay: str = "main", domain: str = "bore.example", rate: float | None = None,
    connections: int | None = None, in_doubt: Literal["hold", "resend"] = "hold", content_hash: str = "hash",
) -> GateCampaign:  # fmt: skip
    """A campaign of `size` valid recipients."""
    return GateCampaign(
        campaign_id=campaign_id, name=campaign_id.title(), content_hash=content_hash, created_at=created_at,
        relay=relay, sending_domain=domain, strategy=strategy or ramp_up(),
        pace=ResolvedPace(rate=rate, connections=connections),
        schedule=ResolvedSchedule(
            start_at=start_at or created_at, timezone=timezone, window=window, skip_weekends=weekends
        ),
        in_doubt=in_doubt, max_retries=3, recipients=size, invalid=0, duplicate=0,
    )  # fmt: skip


def planned(campaign: GateCampaign, number: int, size: int, checksum: str | None = None) -> BatchPlanned:
    """One batch of its plan."""
    return BatchPlanned(
        relay=campaign.relay, campaign_id=campaign.campaign_id, content_hash=campaign.content_hash,
        batch_number=number, size=size, pointers=(Pointer(partition=0, offset=number, start=0, count=size),),
        checksum=checksum or f"sum-{number}", scheduled_for=campaign.created_at, sending_day=1,
    )  # fmt: skip


def plan(campaign: GateCampaign, sizes: list[int]) -> list[GateInput]:
    """All that the planner writes of a campaign."""
    return [
        *(planned(campaign, n, size) for n, size in enumerate(sizes, 1)),
        PlanComplete(relay=campaign.relay, campaign=campaign, batches=len(sizes)),
    ]


def settings(
    *, connections: int = 10, rate: float | None = None, quota: int | None = None, warm: bool = False,
    assume: Literal["healthy", "none"] = "healthy", timezone: str = ZONE, domains: Sequence[str] = DOMAINS[:1],
    **more: Any,
) -> GateSettings:  # fmt: skip
    """One relay, `main`, and one domain, `bore.example`, unless told otherwise."""
    return GateSettings(
        relays={"main": RelayLimits(connections, rate, quota)},
        domains={name: DomainPlace("main", timezone, warm) for name in domains},
        assume=assume,
        **more,
    )


def left_out(campaign: CampaignRow) -> int:
    """How many of those who failed are not tried again, counted one by one."""
    return sum(
        any(a <= i < b for a, b in batch.given_up)
        for batch in campaign.batches.values() for start, end in failed_ranges(batch) for i in range(start, end)
    )  # fmt: skip


NOT_OURS = "domain: 553 5.7.1 Sender address rejected: not owned by user"
Answer = Callable[[datetime, Chunk, int], str | None]
"""What a server says to an index of a permit at a time; None: what the world draws."""


def as_drawn(at: datetime, chunk: Chunk, i: int) -> str | None:
    """Nothing of its own."""
    return None


@dataclass
class Running:
    """A permit in the hands of a sender: `begins` are real times, one a message."""

    chunk: Chunk
    begins: list[tuple[float, int]]
    ends: float
    over: bool = False


@dataclass
class Owned:
    """What the owner of a batch has recorded: outcome and round of each index, and how often it was deferred."""

    outcome: dict[int, str] = field(default_factory=dict)
    rounds: dict[int, int] = field(default_factory=dict)
    deferrals: dict[int, int] = field(default_factory=dict)
    version: int = 0
    running: Running | None = None
    finals: dict[str, ChunkResult] = field(default_factory=dict)
    control: int = 0

    def may_begin(self, i: int, chunk: Chunk) -> bool:
        round_ = self.rounds.get(i, -1)
        if self.outcome.get(i) == "deferred" and round_ == chunk.round:
            return self.deferrals[i] <= chunk.deferrals
        return round_ < chunk.round and self.outcome.get(i) not in {"accepted", "suppressed"}

    def defer(self, i: int, chunk: Chunk) -> None:
        before = self.deferrals.get(i, 0) if self.rounds.get(i) == chunk.round else 0
        self.deferrals[i] = before + 1


class World:
    """Runs a core against senders that obey, in virtual and real time at once.

    `restart`: how often (a share of all steps) the core is thrown away and restored from its written rows.
    `repeat`: how often an input is given twice. `delay`: the longest way of a record, in real seconds.
    `eager`: a tick follows each input. `thorough`: how often all rows are compared with those that were written.
    """

    def __init__(
        self, config: GateSettings, *, speed: float = 1.0, start: datetime = MONDAY, seed: int = 0,
        restart: float = 0.0, repeat: float = 0.0, delay: float = 0.05, latency: float = 0.05,
        outcomes: dict[str, float] | None = None, thorough: float = 0.2, eager: bool = False,
    ) -> None:  # fmt: skip
        self.settings, self.speed, self.start = config, speed, start
        self.core = GateCore(config, speed)
        self.rng, self.chance, self.eager = random.Random(seed), random.Random(seed), eager
        self.restart, self.repeat, self.delay, self.latency = restart, repeat, delay, latency
        self.outcomes = outcomes or {"accepted": 1.0}
        self.thorough = thorough
        self.real = 1000.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.store: dict[tuple[str, str], str] = {}
        self.owned: dict[tuple[str, int], Owned] = {}
        self.received: list[tuple[datetime, str, int, int]] = []
        self.refused: list[tuple[datetime, str, int, int]] = []
        self.answer: Answer = as_drawn
        self.dead: list[Dead] = []
        self.alerts: list[Alert] = []
        self.archived: list[str] = []
        self.shown = 0
        self.controls: list[BatchControl] = []
        self.chunks: list[tuple[float, Chunk]] = []
        self.progress: dict[str, CampaignProgress] = {}
        self.batches: dict[tuple[str, int], Any] = {}
        self.next_wake: float | None = None
        self.relay_up, self.refusal = True, "connection refused"
        self.blocking = False
        """The relay answers `refusal` to the first message of every permit: it is put off, and the permit ends."""
        self.not_taken: set[str] = set()
        """Sending domains from which the relay takes nothing."""
        self.sender_up = True
        self.limits: dict[tuple[str, date], int] = {}
        self.offset = 0

    # --- time

    @property
    def now(self) -> datetime:
        return self.at(self.real)

    def at(self, real: float) -> datetime:
        return self.start + timedelta(seconds=(real - 1000.0) * self.speed)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.real + seconds, self.count, what))

    def run(self, until: datetime | None = None, steps: int = 100_000) -> None:
        """Until nothing is left to do, or the installation's time is `until`.

        The core is woken on the next whole millisecond: how often it is woken delays nothing else.
        """
        for _ in range(steps):
            event = self.events[0][0] if self.events else None
            times = [t for t in (self.next_wake, event) if t is not None]
            if until is None and (not times or (self.done() and not self.events)):
                return
            if until is not None and (not times or self.at(min(times)) > until):
                self.real = 1000.0 + (until - self.start).total_seconds() / self.speed
                return
            if self.next_wake is not None:
                wake = (math.floor(max(self.next_wake, self.real) * 1000 + 1e-3) + 1) / 1000
                times = [wake, *(times[1:])]
            self.real = max(self.real, min(times))
            if self.events and self.events[0][0] <= self.real:
                heapq.heappop(self.events)[2]()
            else:
                self.take(self.core.tick(self.now, self.real))
        raise AssertionError(f"still going after {steps} steps: {self.progress}")

    def standing(self) -> list[CampaignProgress]:
        """The progress of all campaigns as it stands."""
        return [self.core.progress(c, self.now, self.real) for c in self.core.tables.campaigns]

    def done(self) -> bool:
        return all(c.state in ENDED and not c.permits for c in self.core.tables.campaigns.values())

    # --- inputs

    def give(self, *inputs: GateInput) -> None:
        """Inputs, one after the other; perhaps twice, perhaps with a restart in between."""
        for given in inputs:
            self.take(self.core.apply(given, self.now, self.real))
            if self.chance.random() < self.repeat:
                before = dict(self.store)
                decision = self.core.apply(given, self.now, self.real)
                assert not decision.orders
                self.take(decision)
                assert self.store == before or isinstance(given, PlanComplete)
            if self.chance.random() < self.restart:
                self.restart_now()
            elif self.eager:
                self.take(self.core.tick(self.now, self.real))

    def restart_now(self) -> None:
        """A new owner: only what was written is left."""
        rows = [(t, n, json.loads(text)) for (t, n), text in sorted(self.store.items())]
        before = self.core
        self.core = GateCore.restored(self.settings, self.speed, rows)  # type: ignore[arg-type]
        for campaign_id, campaign in before.tables.campaigns.items():
            again = self.core.tables.campaigns[campaign_id]
            assert (
                again.totals, again.waiting, again.ready, again.deferring, set(again.permits), again.left_out,
            ) == (
                campaign.totals, campaign.waiting, campaign.ready, campaign.deferring, set(campaign.permits),
                campaign.left_out,
            )  # fmt: skip
        self.take(self.core.tick(self.now, self.real))

    def command(self, action: str, campaign_id: str | None = "c", *, domain: str | None = None, **more: Any) -> None:
        """An order of a person."""
        self.offset += 1
        self.give(
            GateCommand.model_validate({
                "relay": "main", "origin": Origin(topic="campaign.commands", partition=0, offset=self.offset),
                "at": self.now, "campaign_id": None if domain else campaign_id, "domain": domain, "action": action,
                **more,
            })
        )  # fmt: skip

    # --- decisions

    def take(self, decision: Decision) -> None:
        self.next_wake = decision.next_wake
        for key, row in decision.rows.items():
            assert key == row_name(row)
            self.store[key] = json.dumps(to_json(row))
        for key in decision.gone:
            self.store.pop(key, None)
        for progress in decision.progress:
            assert progress.conserved() == progress.recipients
            CampaignProgress.decode(progress.encode())
            self.progress[progress.campaign_id] = progress
            self.shown += 1
        for batch in decision.batches:
            self.batches[batch.campaign_id, batch.batch_number] = batch
        self.dead += decision.dead
        for alert in decision.alerts:
            Alert.decode(alert.encode())
            said = [(a.id, a.resolved) for a in self.alerts]
            assert (alert.id, alert.resolved) not in said
            assert not alert.resolved or (alert.id, False) in said
            self.alerts.append(alert)
        self.archived += [told.campaign_id for told in decision.planner if told.kind == "archive"]
        for order in decision.orders:
            later = self._control if isinstance(order, BatchControl) else self._chunk
            self.later(self.rng.uniform(0, self.delay), lambda order=order, later=later: later(order))  # type: ignore[misc]
            if isinstance(order, BatchControl):
                self.controls.append(order)
            else:
                Chunk.decode(order.encode())
                self.chunks.append((self.real, order))
                self._note_limit(order)
        self.check()

    def _note_limit(self, chunk: Chunk) -> None:
        campaign = self.core.tables.campaigns[chunk.campaign_id]
        domain = self.core.tables.domains[chunk.sending_domain]
        assert campaign.strategy is not None
        limit, _ = domain_limit(campaign.strategy, domain.sending_day, warm=domain.warm or self._warm(chunk))
        day = local_day(chunk.day_timezone, chunk.issued_at)
        key = chunk.sending_domain, day
        self.limits[key] = max(self.limits.get(key, 0), 10**9 if limit is None else limit)

    def _warm(self, chunk: Chunk) -> bool:
        return self.settings.domains[chunk.sending_domain].warm

    def check(self) -> None:
        """What must hold after every decision."""
        tables = self.core.tables
        for name, relay in tables.relays.items():
            limits = tables.limits(name)
            permits = [b.permit for b in relay.permits.values() if b.permit]
            assert sum(p.connections for p in permits) <= limits.connections
            assert relay.reserved == sum(p.n for p in permits)
            if limits.rate is not None:
                after = [p for p in permits if relay.account is None or p.issued_real >= relay.account.read_real]
                assert sum(p.rate or 1e9 for p in after) <= limits.rate * 1.001
        for campaign in tables.campaigns.values():
            progress = self.core.progress(campaign.campaign_id, self.now, self.real)
            assert progress.conserved() == progress.recipients
            assert min(campaign.totals) >= 0
            assert campaign.left_out == left_out(campaign) or campaign.archived_at is not None
            assert progress.given_up == campaign.left_out <= progress.failed
            assert sum(campaign.states.values()) == (sum(campaign.kept_states.values()) or len(campaign.batches))
        for row in tables.all_rows() if self.chance.random() < self.thorough else ():
            written, stands = self.store.get(row_name(row)), to_json(row)
            assert written == json.dumps(stands) or (
                written is None and stands.keys() <= {"name", "relay", "used", "reserved"}
            )

    # --- senders

    def _chunk(self, chunk: Chunk) -> None:
        if not self.sender_up:
            return
        batch = self.owned.setdefault((chunk.campaign_id, chunk.batch_number), Owned())
        if chunk.permit_id in batch.finals:
            self._answer(batch, batch.finals[chunk.permit_id])
            return
        if batch.running is not None:
            return
        if not self.relay_up:
            self._end(chunk, batch, Running(chunk, [], self.real), "relay_down")
            return
        if chunk.sending_domain in self.not_taken:
            self._end(chunk, batch, Running(chunk, [], self.real), "domain_refused")
            return
        wanted = [i for start, end in chunk.ranges for i in range(start, end) if batch.may_begin(i, chunk)]
        if self.blocking and wanted:
            batch.running = blocked = Running(chunk, [(self.real, wanted[0])], self.real)
            self._end(chunk, batch, blocked, "relay_down")
            return
        pace = 1 / chunk.rate if chunk.rate else self.latency / chunk.connections
        begins = [(self.real + k * pace, i) for k, i in enumerate(wanted)]
        begins = [(t, i) for t, i in begins if self.at(t) < chunk.until]
        ends = (begins[-1][0] if begins else self.real) + self.latency
        running = batch.running = Running(chunk, begins, ends)
        stopped = "done" if len(begins) == len(wanted) else "expired"
        self.later(ends - self.real, lambda: self._end(chunk, batch, running, stopped))

    def _control(self, control: BatchControl) -> None:
        batch = self.owned.setdefault((control.campaign_id, control.batch_number), Owned())
        if control.version <= batch.control:
            return
        batch.control = control.version
        running = batch.running
        if running is not None and control.action in {"pause", "cancel"}:
            running.begins = [(t, i) for t, i in running.begins if t <= self.real]
            self._end(running.chunk, batch, running, f"{control.action}d".replace("canceld", "cancelled"))
        if control.action == "evidence" and batch.finals:
            self._settle(batch, control)
        if control.action == "resolve" and batch.finals:
            for start, end in control.indices:
                for i in range(start, end):
                    if batch.outcome.get(i) == "in_doubt":
                        batch.outcome[i] = "accepted" if control.resolution == "accepted" else "failed"
            final = list(batch.finals.values())[-1]
            self._answer(batch, final.model_copy(update={"order": control.version, "resolved": 1}))

    def _settle(self, batch: Owned, control: BatchControl) -> None:
        """Whoever is in doubt, or waits to be sent to again, has his message."""
        begun = {i for _, i in batch.running.begins} if batch.running else set()
        seen = [
            i for start, end in control.indices for i in range(start, end)
            if i not in begun and batch.outcome.get(i) in {"in_doubt", "deferred"}
        ]  # fmt: skip
        batch.outcome.update(dict.fromkeys(seen, "accepted"))
        more = {"order": control.version, "resolved": len(seen), "settled": tuple((i, i + 1) for i in seen)}
        self._answer(batch, list(batch.finals.values())[-1].model_copy(update=more))

    def see(self, campaign_id: str) -> None:
        """Everybody in the campaign of whom an owner does not know whether he has his message is seen to have it."""
        for (campaign, number), batch in list(self.owned.items()):
            for i in [i for i, kind in batch.outcome.items() if campaign == campaign_id and kind == "in_doubt"]:
                given = Evidence(
                    relay="main", campaign_id=campaign, batch_number=number, recipient_index=i, event_id="e",
                    at=self.now,
                )  # fmt: skip
                self.take(self.core.apply(given, self.now, self.real))

    def _end(self, chunk: Chunk, batch: Owned, running: Running, stopped: str) -> None:
        if running.over:
            return
        running.over, batch.running = True, None
        begun, sent_on, errors = 0, Counter[date](), []
        for t, i in running.begins:
            kind = self.rng.choices(list(self.outcomes), list(self.outcomes.values()))[0]
            kind = "deferred" if self.blocking else self.answer(self.at(t), chunk, i) or kind
            refused = kind == "deferred"
            if refused:
                kind = "deferred" if chunk.defer else "failed"
                batch.defer(i, chunk)
            batch.outcome[i], batch.rounds[i] = kind, chunk.round
            if kind == "suppressed":
                continue
            begun += 1
            (self.refused if refused else self.received).append((self.at(t), chunk.campaign_id, chunk.batch_number, i))
            if kind != "in_doubt":
                sent_on[local_day(chunk.day_timezone, self.at(min(t + self.latency, self.real)))] += 1
            if kind == "failed":
                errors.append(SendError(email=f"{i}@x", error="550 no", attempts=1, at=self.at(t)))
        done = {i for _, i in running.begins}
        unsent = tuple(
            (i, i + 1) for start, end in chunk.ranges for i in range(start, end)
            if i not in done and batch.may_begin(i, chunk)
        )  # fmt: skip
        result = ChunkResult.model_validate({
            "relay": chunk.relay, "campaign_id": chunk.campaign_id, "batch_number": chunk.batch_number,
            "permit_id": chunk.permit_id, "round": chunk.round, "version": 0, "final": True, "begun": begun,
            "sent_on": dict(sent_on), "unsent": unsent,
            **({"stopped": "relay_down", "refused": "domain", "detail": NOT_OURS} if stopped == "domain_refused" else {
                "stopped": stopped, "detail": self.refusal if stopped == "relay_down" else None,
            }), "errors": errors[-3:], "at": self.now,
        })  # fmt: skip
        for start, end in unsent:
            for i in range(start, end):
                if batch.outcome.get(i) != "deferred" or batch.rounds[i] != chunk.round:
                    batch.outcome.pop(i, None)
        batch.finals[chunk.permit_id] = result
        self._answer(batch, result)

    def _answer(self, batch: Owned, result: ChunkResult) -> None:
        batch.version += 1
        kinds = Counter(batch.outcome.values())
        result = result.model_copy(update={
            "version": batch.version, "accepted": kinds["accepted"], "suppressed": kinds["suppressed"],
            "failed": tuple((i, i + 1) for i, k in sorted(batch.outcome.items()) if k == "failed"),
            "in_doubt": tuple((i, i + 1) for i, k in sorted(batch.outcome.items()) if k == "in_doubt"),
            "deferred": tuple(
                (i, i + 1, batch.deferrals[i]) for i, k in sorted(batch.outcome.items()) if k == "deferred"
            ),
        })  # fmt: skip
        self.later(self.rng.uniform(0, self.delay), lambda: self.give(result))

    # --- what the servers say

    def by_day(self, timezone: str = ZONE, domain: str | None = None) -> dict[date, int]:
        """Messages that went to the servers, by local day; from one domain, or all."""
        every = [m for m in (*self.received, *self.refused) if domain in {None, self._from(m[1])}]
        return dict(sorted(Counter(local_day(timezone, at) for at, *_ in every).items()))

    def _from(self, campaign_id: str) -> str:
        plan = self.core.tables.campaigns[campaign_id].plan
        return "" if plan is None else plan.sending_domain

    def twice(self) -> int:
        """Messages that were received more often than once."""
        return sum(n > 1 for n in Counter(r[1:] for r in self.received).values())
