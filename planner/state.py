"""What the planner knows of a campaign, and how each input changes it. Pure.

A campaign's row follows from `planner.inputs` alone, in the order of its offsets: whoever reads the same records
arrives at the same row, however often they are read. That is why the planner's own work (resolving, planning)
comes back as inputs, and why a worker that lost its partition and does not know it yet can do no harm.

A row is never removed: an id is never used again. Only a request that was `rejected` frees its id, since nothing
of it was ever planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from planner import commands
from planner.errors import ProblemsFound
from schemas.base import Instant, Model
from schemas.batch import PlanComplete, PlanFailed
from schemas.campaign import Campaign
from schemas.command import Origin, PlannerInput
from schemas.domain_names import known_by
from schemas.progress import CampaignProgress, Problem
from schemas.request import CampaignRequest
from schemas.strategy import Strategy, StrategySpec
from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_PROGRESS, CAMPAIGN_REQUESTS, CAMPAIGNS, GATE_INPUTS, Topic

State = Literal["unknown", "planning", "published", "rejected", "failed"]

MOVES: dict[State | None, frozenset[State]] = {
    None: frozenset({"unknown", "planning"}),
    "unknown": frozenset({"planning", "rejected"}),
    "planning": frozenset({"published", "rejected", "failed"}),
    "published": frozenset(),
    "rejected": frozenset({"planning", "unknown"}),
    "failed": frozenset(),
}
"""Where a campaign may go, as far as the planner is concerned; from `published` on the gate decides.

`unknown`: commands have come and no request yet (they are read from two topics, in no order).
"""


class CampaignRow(Model):
    """A row of the planner's table, under the campaign's id."""

    state: State
    origin: Origin
    created_at: Instant
    content_hash: str = ""
    domain: str = ""
    relay: str = ""
    request: dict[str, Any] | None = None
    """The request as it was written, until it is planned; once resolved without its template."""
    campaign: Campaign | None = None
    """While planning, once everything is resolved: what is planned, whoever plans it."""
    complete: PlanComplete | None = None
    """Published until the gate has it."""
    waiting: tuple[PlannerInput, ...] = ()
    """Commands that came before the plan was written: the gate would not know the campaign yet."""
    problems: tuple[Problem, ...] = ()
    archived_at: Instant | None = None
    """The gate has archived it: its recipients are to go."""
    cleared: bool = False
    """They are gone."""

    def encode(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json", by_alias=True, exclude_unset=True))

    @property
    def open(self) -> bool:
        """Whether there is something to do without a new input."""
        leaving = self.archived_at is not None and not self.cleared
        return self.state in {"planning", "unknown"} or self.complete is not None or leaving


class ForbiddenMove(AssertionError):
    """A decision that the table of moves does not have: a fault of ours."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A record to write."""

    topic: Topic
    key: str
    record: Model


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that a person wrote and that cannot be done; it stands at `origin`."""

    topic: Topic
    key: str
    value: bytes
    """What it says, for when the original has expired."""
    origin: Origin
    error: str


Effect = Publish | DeadLetter


@dataclass(frozen=True, slots=True)
class Decision:
    """The row as it is from now on (None: as it was) and what to write."""

    row: CampaignRow | None = None
    effects: tuple[Effect, ...] = ()


NOTHING = Decision()

ResolveStrategy = Callable[[StrategySpec, str], Strategy]
"""The numbers of a strategy for a sending domain. Raises `ProblemsFound`."""


def decide(known: CampaignRow | None, given: PlannerInput, resolve: ResolveStrategy) -> Decision:
    """What becomes of a campaign by one input. The same inputs in the same order give the same rows."""
    decision = _DECIDERS[given.kind](known, given, resolve)
    before = known.state if known is not None else None
    if decision.row is not None and decision.row.state not in {before, *MOVES[before]}:
        raise ForbiddenMove(f"{given.campaign_id}: {given.kind} moves it from {before} to {decision.row.state}")
    return decision


def older(given: Origin, than: Origin) -> bool:
    """Whether `given` is the record `than` or one before it in the same partition."""
    return (given.topic, given.partition) == (than.topic, than.partition) and given.offset <= than.offset


def _request(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    request, content = given.request, given.content_hash
    if request is None or content is None:
        return NOTHING
    if (
        known is None
        or known.state == "unknown"
        or (known.state == "rejected" and not older(given.origin, known.origin))
    ):
        return Decision(
            CampaignRow(
                state="planning",
                origin=given.origin,
                created_at=given.received_at,
                content_hash=content,
                domain=known_by(request.from_.email.rpartition("@")[2]),
                request=request.model_dump(mode="json", by_alias=True, exclude_unset=True),
                waiting=known.waiting if known is not None else (),
            ),
            (_planning(given, request),),
        )
    archived = known.state == "published" and known.archived_at is not None
    if (known.content_hash == content and not archived) or known.state == "rejected":
        return NOTHING
    error = (
        f"campaign_id: {given.campaign_id!r} is taken by a campaign "
        + (f"that {_archived(known)}" if archived else "with other content, which is not touched")
        + "; an id is never used again, so send this one under an id of its own"
    )
    value = request.model_dump_json(by_alias=True, exclude_unset=True).encode()
    return Decision(effects=(DeadLetter(CAMPAIGN_REQUESTS, given.campaign_id, value, given.origin, error),))


def _invalid(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    if known is not None and known.state not in {"rejected", "unknown"}:
        return NOTHING  # a campaign of that id is at work: only the dead letter tells
    return Decision(effects=(_rejection(given, "rejected"),))


def _resolved(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    campaign = given.campaign
    if known is None or campaign is None or not _belongs(known, given) or known.campaign is not None:
        return NOTHING
    request = {name: value for name, value in (known.request or {}).items() if name != "template"}
    row = known.model_copy(
        update={
            "campaign": campaign, "relay": campaign.relay, "domain": campaign.sending_domain,
            "request": request,
        }
    )  # fmt: skip
    return Decision(row, (Publish(CAMPAIGNS, given.campaign_id, campaign),))


def _planned(known: CampaignRow | None, given: PlannerInput, resolve: ResolveStrategy) -> Decision:
    if known is None or given.complete is None or not _belongs(known, given):
        return NOTHING
    done = {"state": "published", "complete": given.complete, "campaign": None, "request": None, "waiting": ()}
    return Decision(known.model_copy(update=done), _released(known, resolve))


def _refused(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    if known is None or given.state is None or not _belongs(known, given):
        return NOTHING
    row = known.model_copy(
        update={
            "state": given.state, "problems": given.problems, "request": None, "campaign": None, "waiting": (),
        }
    )  # fmt: skip
    effects: list[Effect] = [_rejection(given, given.state, known)]
    if given.state == "failed" and known.campaign is not None:
        effects.append(_given_up(given, known.campaign))
    if given.state == "rejected":
        error = commands.said(given.problems)
        effects.append(
            DeadLetter(CAMPAIGN_REQUESTS, given.campaign_id, orjson.dumps(written(known)), known.origin, error)
        )
    effects += [_dead_command(waiting, f"the campaign was {given.state}") for waiting in known.waiting]
    return Decision(row, tuple(effects))


def written(row: CampaignRow) -> dict[str, Any]:
    """The request of a campaign that is being planned, as it was written."""
    request = dict(row.request or {})
    if row.campaign is not None and "template" not in request:
        template = row.campaign.template
        inline = template.model_dump(include={"subject", "html", "text"}, exclude_none=True)
        request["template"] = {"id": template.id} if template.id is not None else inline
    return request


def _admitted(known: CampaignRow | None, given: PlannerInput, resolve: ResolveStrategy) -> Decision:
    if known is None or known.origin != given.origin or not (known.state == "planning" or known.complete is not None):
        return NOTHING
    done = {"state": "published", "complete": None, "campaign": None, "request": None, "waiting": ()}
    return Decision(known.model_copy(update=done), _released(known, resolve))


def _released(row: CampaignRow, resolve: ResolveStrategy) -> tuple[Effect, ...]:
    """The commands that waited for the plan: the gate knows the campaign once its batches are there."""
    return tuple(effect for command in row.waiting for effect in _forward(row, command, resolve))


def _command(known: CampaignRow | None, given: PlannerInput, resolve: ResolveStrategy) -> Decision:
    if given.command is None:
        return NOTHING
    if known is None or (known.state == "rejected" and not known.content_hash):
        if known is not None and older(given.origin, known.origin):
            return NOTHING
        row = CampaignRow(state="unknown", origin=given.origin, created_at=given.received_at, waiting=(given,))
        return Decision(row)
    if known.state in {"rejected", "failed"} or known.archived_at is not None:
        what = _archived(known) if known.state == "published" else f"was {known.state}"
        return Decision(effects=(_dead_command(given, f"the campaign {what}; nothing of it is sent"),))
    if known.state == "published":
        return Decision(effects=tuple(_forward(known, given, resolve)))
    seen = any(older(given.origin, waiting.origin) for waiting in known.waiting)
    return NOTHING if seen else Decision(known.model_copy(update={"waiting": (*known.waiting, given)}))


def _expired(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    if known is None or known.state != "unknown" or known.origin != given.origin:
        return NOTHING
    error = f"there is no campaign {given.campaign_id!r}; `rampa campaign list` shows those that there are"
    effects = tuple(_dead_command(waiting, error) for waiting in known.waiting)
    return Decision(known.model_copy(update={"state": "rejected", "waiting": ()}), effects)


def _archive(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    """The gate's word. (A row of an id that was rejected, and is free, was never the gate's.)"""
    if known is None or known.archived_at is not None or known.state in {"unknown", "rejected"}:
        return NOTHING
    return Decision(known.model_copy(update={"archived_at": given.received_at, "cleared": False, "complete": None}))


def _cleared(known: CampaignRow | None, given: PlannerInput, _: ResolveStrategy) -> Decision:
    if known is None or known.archived_at is None or known.cleared or known.origin != given.origin:
        return NOTHING
    return Decision(known.model_copy(update={"cleared": True}))


def _archived(row: CampaignRow) -> str:
    return f"was archived at {row.archived_at:%Y-%m-%d %H:%M} UTC, and its recipients are gone"


def _forward(row: CampaignRow, given: PlannerInput, resolve: ResolveStrategy) -> list[Effect]:
    try:
        order = commands.to_gate(given, row.relay, row.domain, resolve)
    except ProblemsFound as e:
        return [_dead_command(given, commands.said(e.problems))]
    return [Publish(GATE_INPUTS, row.relay, order)]


def _dead_command(given: PlannerInput, error: str) -> DeadLetter:
    value = given.command.model_dump_json(exclude_unset=True).encode() if given.command is not None else b""
    return DeadLetter(CAMPAIGN_COMMANDS, given.campaign_id, value, given.origin, error)


def _planning(given: PlannerInput, request: CampaignRequest) -> Publish:
    progress = CampaignProgress(
        campaign_id=given.campaign_id,
        name=request.name or given.campaign_id,
        state="planning",
        updated_at=given.received_at,
    )
    return Publish(CAMPAIGN_PROGRESS, given.campaign_id, progress)


def _rejection(given: PlannerInput, state: Literal["rejected", "failed"], known: CampaignRow | None = None) -> Publish:
    campaign = known.campaign if known is not None else None
    progress = CampaignProgress(
        campaign_id=given.campaign_id,
        name=campaign.name if campaign else given.campaign_id,
        state=state,
        problems=given.problems,
        sending_domain=campaign.sending_domain if campaign else "",
        relay=campaign.relay if campaign else "",
        strategy=campaign.strategy.name if campaign else "",
        updated_at=given.received_at,
    )
    return Publish(CAMPAIGN_PROGRESS, given.campaign_id, progress)


def _given_up(given: PlannerInput, campaign: Campaign) -> Publish:
    """For the gate, which may have been told of batches. (`rejected`: of none, and the id may be used again.)"""
    failed = PlanFailed(
        relay=campaign.relay,
        campaign_id=campaign.campaign_id,
        content_hash=campaign.content_hash,
        problems=tuple(commands.said([problem]) for problem in given.problems[:100]),
    )
    return Publish(GATE_INPUTS, campaign.relay, failed)


def _belongs(row: CampaignRow, given: PlannerInput) -> bool:
    """Whether this is the planner's own word on the request that is being planned."""
    return row.state == "planning" and row.origin == given.origin


_DECIDERS: dict[str, Callable[[CampaignRow | None, PlannerInput, ResolveStrategy], Decision]] = {
    "request": _request,
    "command": _command,
    "invalid": _invalid,
    "resolved": _resolved,
    "planned": _planned,
    "refused": _refused,
    "admitted": _admitted,
    "expired": _expired,
    "archive": _archive,
    "cleared": _cleared,
}
