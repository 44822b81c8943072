"""What the owner of a campaign's row does without being asked: plan, publish the plan again, give up waiting.

One place looks at the open rows of the partitions that are ours, a few times a second. It starts at most two plans
at once, each in a thread; others wait in the table. What a plan leads to is written to `planner.inputs`, where it
changes the row; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import orjson

from planner.archive import Clearing
from planner.errors import SourceUnavailable
from planner.job import Work, work_on
from planner.state import CampaignRow
from planner.writer import Cancelled, Producers, remove_parts
from schemas.command import PlannerInput
from schemas.progress import CampaignProgress, Problem
from schemas.records import DomainReputation
from schemas.topics import CAMPAIGN_PROGRESS, DOMAIN_REPUTATION, GATE_INPUTS, PLANNER_INPUTS
from streams.context import Context
from streams.errors import StreamsError, TableLost
from streams.faust_app import Life, Rows, partition_of
from streams.fenced.model import Output
from streams.table import GlobalTable

log = logging.getLogger(__name__)

AT_ONCE = 2
LOOK_EVERY = 0.2
PUBLISH_AGAIN_AFTER = 10.0
COMMANDS_WAIT = 10.0
"""Real seconds that commands wait for the request of their campaign."""
REPORT_AGAIN_AFTER = 30.0
TRIES = 3
NOT_ADMITTED = frozenset({"planning", "rejected", "failed"})


@dataclass(slots=True)
class _Job:
    """A plan that is being made, or that has just reported."""

    row: CampaignRow
    cancel: threading.Event = field(default_factory=threading.Event)
    result: PlannerInput | Exception | None = None
    reported_at: float | None = None
    leftovers: list[bytes] = field(default_factory=list)

    def serves(self, row: CampaignRow) -> bool:
        """Whether it is what the row needs next."""
        same = row.origin == self.row.origin and (row.campaign is None) == (self.row.campaign is None)
        return same and row.state == "planning"


@dataclass(slots=True)
class _Open:
    """An open row of ours."""

    row: CampaignRow
    partition: int
    since: float
    told_at: float = float("-inf")
    not_before: float = 0.0
    failures: int = 0


class Jobs:
    """All that goes on beside the agents. A context manager; outlives the Faust app when that starts anew."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._open: dict[str, _Open] = {}
        self._jobs: dict[str, _Job] = {}
        self._owned: set[int] = set()
        self._generation = -1
        self._producers = Producers(ctx)
        self._clearing = Clearing(ctx, self._producers, self._wake)
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._progress: GlobalTable[str] = GlobalTable(ctx.kafka, ctx.topic(CAMPAIGN_PROGRESS), _state_of)
        self._reputation = GlobalTable(ctx.kafka, ctx.topic(DOMAIN_REPUTATION), DomainReputation.decode)

    def __enter__(self) -> Self:
        self._progress.start()
        self._reputation.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self._jobs.values():
            job.cancel.set()
        self._clearing.stop()
        self._progress.close()
        self._reputation.close()

    def attach(self, life: Life, rows: Rows) -> Callable[[], None]:
        """Look after the rows of an app, from its event loop; returns what ends that.

        Raises `TableLost`: then the process has to start again.
        """
        self._check()
        self._generation = -1
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.ensure_future(self._follow(life, rows))

        def detach() -> None:
            task.cancel()
            self._let_go(set())

        return detach

    def reputation(self, domain: str) -> DomainReputation | None:
        """The standing of a sending domain, where one is known."""
        return self._reputation.get(domain)

    def changed(self, campaign_id: str, partition: int, row: CampaignRow) -> None:
        """A row of ours is as follows now."""
        job = self._jobs.get(campaign_id)
        if job is not None and not job.serves(row):
            job.cancel.set()
            del self._jobs[campaign_id]
            if row.state == "failed" and row.origin == job.row.origin and not self._admitted(campaign_id):
                self._clear_away(campaign_id, job.leftovers)
        if not row.open:
            self._open.pop(campaign_id, None)
            self._clearing.forget(campaign_id)
        elif campaign_id in self._open:
            self._open[campaign_id].row = row
        else:
            self._open[campaign_id] = _Open(row, partition, time.monotonic())
        self._woken.set()

    async def _follow(self, life: Life, rows: Rows) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_EVERY)
            self._woken.clear()
            try:
                self._take_over(life, rows)
                self._check()
                if life.settled and self._progress.ready(0):
                    await self._look(life)
            except TableLost as e:
                await life.app.crash(e)  # the next app is not attached: see `attach`
                return
            except (StreamsError, RuntimeError):
                log.exception("looking after the campaigns failed; it goes on")

    def _check(self) -> None:
        self._progress.check()
        self._reputation.check()

    def _take_over(self, life: Life, rows: Rows) -> None:
        """Open rows of partitions that have just become ours; nothing of those that have gone."""
        if not life.settled or self._generation == life.app.consumer_generation_id:
            return
        self._generation = life.app.consumer_generation_id
        self._owned = life.owned(self._ctx.topic(PLANNER_INPUTS))
        self._let_go(self._owned)
        for name, value in rows.items():
            partition = partition_of(name, self._ctx.installation.partitions)
            if partition in self._owned:  # also those that we had: somebody else may have had them in between
                self.changed(name, partition, CampaignRow.decode(value))

    def _let_go(self, keep: set[int]) -> None:
        for name, one in list(self._open.items()):
            if one.partition not in keep:
                del self._open[name]
                self._clearing.forget(name)
                job = self._jobs.pop(name, None)
                if job is not None:
                    job.cancel.set()

    async def _look(self, life: Life) -> None:
        now = time.monotonic()
        inputs: list[Output] = []
        for name, one in sorted(self._open.items(), key=lambda item: item[1].row.created_at):
            told = self._next(name, one, now)
            if told is not None:
                inputs.append(told)
        self._clearing.go()
        await life.outbox.send(inputs)

    def _next(self, name: str, one: _Open, now: float) -> Output | None:
        """What is to be written about a campaign now; starts its plan."""
        if one.row.state == "planning":
            return self._plan(name, one, now)
        if one.row.complete is not None:
            return self._confirm(name, one, now)
        if one.row.archived_at is not None:
            return self._clear(name, one, now)
        if now - one.since > COMMANDS_WAIT and now - one.told_at > COMMANDS_WAIT:
            one.told_at = now
            return self._input(name, self._word(name, one.row, "expired"))
        return None

    def _clear(self, name: str, one: _Open, now: float) -> Output | None:
        """Its owner is told once its recipients are gone."""
        if not self._clearing.cleared(name, one.row.created_at) or now - one.told_at < REPORT_AGAIN_AFTER:
            return None
        one.told_at = now
        return self._input(name, self._word(name, one.row, "cleared"))

    def _confirm(self, name: str, one: _Open, now: float) -> Output | None:
        """The plan again, until the gate's progress shows the campaign."""
        if now - one.told_at < (PUBLISH_AGAIN_AFTER if not self._admitted(name) else 1.0):
            return None
        first, one.told_at = one.told_at == float("-inf"), now
        if self._admitted(name):
            return self._input(name, self._word(name, one.row, "admitted"))
        complete = one.row.complete
        if first or complete is None:
            return None  # it was published a moment ago
        return Output(self._ctx.topic(GATE_INPUTS), complete.relay.encode(), complete.encode(), complete.headers())

    def _plan(self, name: str, one: _Open, now: float) -> Output | None:
        job = self._jobs.get(name)
        if job is None:
            running = sum(1 for j in self._jobs.values() if j.result is None)
            if running < AT_ONCE and now >= one.not_before:
                if self._admitted(name):
                    one.not_before = now + 1.0
                    return self._input(name, self._word(name, one.row, "admitted"))
                self._start(name, one.row)
            return None
        if job.result is None or (job.reported_at is not None and now - job.reported_at < REPORT_AGAIN_AFTER):
            return None
        if isinstance(job.result, PlannerInput):
            job.reported_at = now
            return self._input(name, job.result)
        del self._jobs[name]
        return self._failed(name, one, job.result, now)

    def _failed(self, name: str, one: _Open, error: Exception, now: float) -> Output | None:
        one.not_before = now + min(30.0, 2.0 * 2**one.failures)
        one.failures += 1
        if isinstance(error, Cancelled):
            one.not_before = now
        elif isinstance(error, SourceUnavailable | StreamsError) or one.failures < TRIES:
            log.warning("campaign %s is planned again in %.0f s: %s", name, one.not_before - now, error)
            if isinstance(error, SourceUnavailable):
                return self._waits(name, one.row, str(error))
        else:
            problem = Problem(field="", problem=f"it could not be planned: {type(error).__name__}: {error}")
            word = self._word(name, one.row, "refused").model_copy(update={"state": "failed", "problems": (problem,)})
            return self._input(name, word)
        return None

    def _waits(self, name: str, row: CampaignRow, why: str) -> Output:
        """Progress that says what planning waits for."""
        known = row.campaign
        progress = CampaignProgress(
            campaign_id=name,
            name=known.name if known is not None else str((row.request or {}).get("name") or name),
            state="planning",
            warnings=(f"it waits: {why}",),
            updated_at=self._ctx.clock.now(),
        )
        return Output(self._ctx.topic(CAMPAIGN_PROGRESS), name.encode(), progress.encode(), progress.headers())

    def _start(self, name: str, row: CampaignRow) -> None:
        job = self._jobs[name] = _Job(row)
        work = Work(self._ctx, name, row, self.reputation, job.cancel.is_set, self._producers, job.leftovers)

        def run() -> None:
            try:
                job.result = work_on(work)
            except Exception as e:  # noqa: BLE001 - whatever it is, the campaign's owner is told
                job.result = e
            self._wake()

        threading.Thread(target=run, name=f"plan {name}", daemon=True).start()

    def _clear_away(self, name: str, keys: list[bytes]) -> None:
        """Recipients of a plan that was given up; those that an earlier process wrote stay, of no use to anybody."""

        def run() -> None:
            try:
                remove_parts(self._ctx, self._producers, keys)
            except StreamsError as e:
                log.warning("recipients of %s, whose plan failed, stay on the topic: %s", name, e)

        if keys:
            threading.Thread(target=run, name=f"clear {name}", daemon=True).start()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the app has ended meanwhile
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    def _admitted(self, name: str) -> bool:
        """Whether the gate's progress shows the campaign."""
        state = self._progress.get(name)
        return state is not None and state not in NOT_ADMITTED

    def _word(
        self, name: str, row: CampaignRow, kind: Literal["admitted", "expired", "refused", "cleared"]
    ) -> PlannerInput:
        return PlannerInput(campaign_id=name, kind=kind, origin=row.origin, received_at=self._ctx.clock.now())

    def _input(self, name: str, word: PlannerInput) -> Output:
        return Output(self._ctx.topic(PLANNER_INPUTS), name.encode(), word.encode(), word.headers())


def _state_of(value: bytes) -> str:
    return str(orjson.loads(value)["state"])
