"""The planner: one page that shows the whole graph.

    campaign.requests  --intake_request-->   planner.inputs        what is right, under its campaign's id
                                     '--->   campaign.requests.dlq what is not, every problem named by field
    campaign.commands  --intake_command-->   planner.inputs
    domain.commands    --intake_domain--->   gate.inputs           under the domain's relay
    planner.inputs     --decide---------->   campaigns, campaign.progress, gate.inputs, dead letters
                                     '--->   the table `campaigns`: one row a campaign, never removed
    gate               --------------->      planner.inputs        a campaign is archived: its recipients are to go
    the table          --jobs (threads)-->   batch.recipients, campaign.invalid_rows, gate.inputs,
                                             campaign.progress; then planner.inputs (resolved, planned, refused,
                                             admitted, expired, cleared)
    campaign.progress  --followed-------->   until the gate shows a plan, it is published again

An input counts as read when its row and all its outputs are acknowledged (`streams/faust_app.py`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from datetime import datetime

from pydantic import ValidationError

from planner import commands, intake
from planner.jobs import Jobs
from planner.meaning import also_wrong
from planner.originals import Originals
from planner.state import CampaignRow, DeadLetter, Effect, decide
from planner.strategies.resolve import resolve_strategy
from schemas.base import Model
from schemas.command import Origin, PlannerInput
from schemas.progress import Problem
from schemas.strategy import Strategy, StrategySpec
from schemas.topics import (
    CAMPAIGN_COMMANDS,
    CAMPAIGN_REQUESTS,
    DOMAIN_COMMANDS,
    GATE_INPUTS,
    PLANNER_INPUTS,
    Topic,
)
from streams.context import Context
from streams.deadletter import dead_letter
from streams.faust_app import Handled, Life, Refused, Rows, add_agent, changelog
from streams.faust_group import ensure_changelog
from streams.faust_guard import GuardedApp
from streams.faust_run import prepare, run_app
from streams.fenced.model import Input, Output
from streams.outbox import Outbox

log = logging.getLogger(__name__)

ROLE = "planner"
TABLE = "campaigns"
SOURCES = (CAMPAIGN_REQUESTS, CAMPAIGN_COMMANDS, DOMAIN_COMMANDS, PLANNER_INPUTS)


def run(ctx: Context, stop: threading.Event) -> None:
    """Plan until `stop` is set. Waits while no broker answers. Blocks.

    Raises TopicsWrong when topics are missing or have other partition counts than recorded, and TableLost when what
    it follows cannot be followed any more: then the process has to start again.
    """
    if not prepare(ctx, ROLE, SOURCES, stop):
        return
    name = changelog(ctx, ROLE, TABLE)
    ensure_changelog(ctx.kafka, name, ctx.installation.partitions, ctx.settings.kafka.replication)
    with Jobs(ctx) as jobs:
        run_app(ctx, lambda app, outbox: build(ctx, app, outbox, jobs), ROLE, stop)


def build(ctx: Context, app: GuardedApp, outbox: Outbox, jobs: Jobs) -> Life:
    """The topology on a fresh app."""
    life = Life(ctx, app, outbox)
    rows = Rows(app, TABLE, ctx.installation.partitions)
    originals = Originals(ctx.kafka)
    agents = Agents(ctx, rows, jobs, originals)
    add_agent(life, CAMPAIGN_REQUESTS, agents.intake_request)
    add_agent(life, CAMPAIGN_COMMANDS, agents.intake_command)
    add_agent(life, DOMAIN_COMMANDS, agents.intake_domain)
    add_agent(life, PLANNER_INPUTS, agents.decide)
    life.closers += [jobs.attach(life, rows), originals.close]
    return life


class Agents:
    """What each agent does with a record. Times are those of the record, so that reading it again changes nothing."""

    def __init__(self, ctx: Context, rows: Rows, jobs: Jobs, originals: Originals) -> None:
        self._ctx = ctx
        self._rows = rows
        self._jobs = jobs
        self._originals = originals

    async def intake_request(self, record: Input) -> Handled:
        """A request of anyone, under any key."""
        at, origin = self._at(record), _origin(record)
        settings = self._ctx.settings
        further = functools.partial(also_wrong, settings=settings, now=at, reputation=self._jobs.reputation)
        found = await asyncio.to_thread(  # a template is tried, which may take a while
            intake.read_request, record.value, origin, at, settings.planner.max_problems, further
        )
        if isinstance(found, PlannerInput):
            return Handled([self._output(PLANNER_INPUTS, found.campaign_id, found)])
        outputs = [self._dead(CAMPAIGN_REQUESTS, record, found.problems)]
        told = intake.invalid(found, origin, at)
        if told is not None:
            outputs.append(self._output(PLANNER_INPUTS, told.campaign_id, told))
        return Handled(outputs)

    async def intake_command(self, record: Input) -> Handled:
        """An order to a campaign."""
        found = intake.read_command(record.value, _origin(record), self._at(record))
        if isinstance(found, PlannerInput):
            return Handled([self._output(PLANNER_INPUTS, found.campaign_id, found)])
        return Handled([self._dead(CAMPAIGN_COMMANDS, record, found.problems)])

    async def intake_domain(self, record: Input) -> Handled:
        """An order to a sending domain."""
        found = intake.read_domain_command(record.value)
        if isinstance(found, intake.Refusal):
            return Handled([self._dead(DOMAIN_COMMANDS, record, found.problems)])
        try:
            order = commands.domain_to_gate(found, self._ctx.settings.domains, _origin(record), self._at(record))
        except commands.UnknownDomain as e:
            raise Refused(str(e)) from None
        return Handled([self._output(GATE_INPUTS, order.relay, order)])

    async def decide(self, record: Input) -> Handled:
        """An input of a campaign, before its one owner."""
        try:
            given = PlannerInput.decode(record.value or b"")
        except ValidationError as e:
            raise Refused(f"not an input of the planner: {e.errors(include_url=False)[:3]}") from None
        if (record.key or b"").decode(errors="replace") != given.campaign_id:
            raise Refused(f"this input of campaign {given.campaign_id!r} stands under another key")
        name, partition = given.campaign_id, record.partition
        value = self._rows.get(name)
        known = CampaignRow.decode(value) if value is not None else None
        decision = decide(known, given, self._strategy)
        outputs = [await self._effect(effect) for effect in decision.effects]
        row = decision.row
        if row is None:
            return Handled(outputs, None if known is None else lambda: self._jobs.changed(name, partition, known))
        value = row.encode()
        outputs.append(self._rows.row(partition, name, value))
        return Handled(outputs, lambda: self._apply(name, partition, row, value))

    def _apply(self, name: str, partition: int, row: CampaignRow, value: bytes) -> None:
        self._rows.apply(name, value)
        self._jobs.changed(name, partition, row)

    def _strategy(self, spec: StrategySpec, domain: str) -> Strategy:
        settings = self._ctx.settings
        known = settings.domains.get(domain)
        standing = self._jobs.reputation(domain)
        return resolve_strategy(
            spec,
            settings.strategies,
            warm=bool(known and known.warm) or bool(standing and standing.warm),
            suffered=standing is not None and standing.state == "problems",
        )

    async def _effect(self, effect: Effect) -> Output:
        if not isinstance(effect, DeadLetter):
            return self._output(effect.topic, effect.key, effect.record)
        origin, extra = effect.origin, {}
        record = await self._originals.read(origin)
        if record is None:
            record = Input(origin.topic, origin.partition, origin.offset, effect.key.encode(), effect.value, (), 0)
            extra["rewritten"] = "the original is not on its topic any more; this says the same"
        return dead_letter(
            self._ctx.topic(effect.topic), record, effect.error, 1, at=self._ctx.clock.now(), extra=extra
        )

    def _output(self, topic: Topic, key: str, record: Model) -> Output:
        return Output(self._ctx.topic(topic), key.encode(), record.encode(), record.headers())

    def _dead(self, topic: Topic, record: Input, problems: tuple[Problem, ...]) -> Output:
        log.warning("%s[%d]@%d is refused: %s", record.topic, record.partition, record.offset, commands.said(problems))
        return dead_letter(
            self._ctx.topic(topic), record, commands.said(problems), 1, at=self._ctx.clock.now(),
            extra={"problems": _listed(problems)},
        )  # fmt: skip

    def _at(self, record: Input) -> datetime:
        return self._ctx.clock.at(record.timestamp_ms / 1000)


def _origin(record: Input) -> Origin:
    return Origin(topic=record.topic, partition=record.partition, offset=record.offset)


def _listed(problems: tuple[Problem, ...]) -> str:
    """The problems as JSON, for programs; as many as a header should hold."""
    return "[" + ",".join(p.model_dump_json() for p in problems[:100]) + "]"
