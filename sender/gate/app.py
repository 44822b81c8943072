"""The gate's process: built from a context, runs until it is told to stop."""

from __future__ import annotations

import threading

from schemas import topics
from sender.gate.settings import gate_settings
from sender.gate.shell import GateRole
from streams.context import Context
from streams.fenced import FencedProcessor, FencedSettings

ROLE = "gate"
TOLD = (topics.ALERTS, topics.BATCHES, topics.CAMPAIGN_PROGRESS, topics.PLANNER_INPUTS)
"""What the rows say was said is not said again, but for permits, until their result is there."""


def run(ctx: Context, stop: threading.Event) -> None:
    """Decides until `stop` is set, then hands over. Raises the errors of `streams.fenced.errors`."""
    role = GateRole(gate_settings(ctx.settings), ctx.clock, ctx.topic)
    FencedProcessor(
        ctx.kafka,
        role,
        group=ctx.group(ROLE),
        input_topic=ctx.topic(topics.GATE_INPUTS),
        state_topic=ctx.topic(topics.GATE_STATE),
        transactional_id=ctx.transactional_id(ROLE),
        settings=FencedSettings(poll=0.02, told=[ctx.topic(topic) for topic in TOLD]),
    ).run(stop.is_set)
