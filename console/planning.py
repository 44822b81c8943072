"""A plan as lines for people."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from console.access import Access
from console.errors import ConsoleError, NotRunning
from console.explain import clean
from planner.dry_run import DryRun, fingerprint_of
from planner.intake import Further
from planner.meaning import also_wrong
from schemas.records import Template
from schemas.topics import TEMPLATES
from schemas.words import counted
from streams.clock import REAL
from streams.settings import Settings

LISTED = 20


def further(settings: Settings, *, look: bool = False) -> Further:
    """What else these settings find wrong with a request; with `look` also with the recipients that it names.

    Settings without domains are not those of a planner: they find nothing.
    """
    if not settings.domains:
        return lambda _, __: []
    found = functools.partial(also_wrong, settings=settings, now=REAL.now())
    return functools.partial(found, source=lambda one: fingerprint_of(one, settings)) if look else found


def stored_templates(config: Path | None) -> Callable[[str], Template | None]:
    """Looks a template up where it is stored. Raises ConsoleError when no broker runs that could be asked."""

    def lookup(template_id: str) -> Template | None:
        try:
            access = Access.open(config)
        except NotRunning as e:
            raise ConsoleError(f"The request names the stored template {template_id!r}. {e}") from None
        return access.newest(TEMPLATES, Template, lambda key: key == template_id.encode()).get(template_id)

    return lookup


def plan_lines(result: DryRun) -> Iterator[str]:
    """The batches of a dry run, those of one sending day on one line."""
    plan: dict[str, Any] = orjson.loads(result.json())
    counts = f"{counted(plan['recipients'], 'recipient')}, {plan['invalid']} invalid, {plan['duplicate']} duplicate"
    batches_of = counted(len(plan["batches"]), "batch", "batches")
    yield f"{counts}: {batches_of} on {counted(plan['sending_days'], 'sending day')}"
    for warning in result.warnings:
        yield f"warning: {warning}"
    if plan["batches"]:
        yield f"from {plan['starts_at']} to {plan['ends_at']}, if the domain advances every sending day"
    else:
        yield "nobody would be mailed"
    for day, group in groupby(plan["batches"], key=lambda b: b["sending_day"]):
        batches = list(group)
        first, last = batches[0], batches[-1]
        numbers = f"batch {first['number']}" if first is last else f"batches {first['number']}-{last['number']}"
        total = sum(b["size"] for b in batches)
        yield f"  day {day:3}  {first['scheduled_for']}  {numbers}: {counted(total, 'message')}"
    for row in result.left_out[:LISTED]:
        yield f"  row {row.row} is {row.kind}: {clean(row.address)} ({row.reason})"
    if len(result.left_out) > LISTED:
        yield f"  and {result.invalid + result.duplicate - LISTED} more"
