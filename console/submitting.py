"""Writing requests and commands, and waiting for the pipeline's answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from console.access import Access
from console.deadletters import headers_of
from console.explain import awaited, is_down
from schemas.campaign import Campaign, CampaignState
from schemas.command import CampaignCommand, GateCommand
from schemas.identity import derived_campaign_id
from schemas.progress import CampaignProgress, Problem
from schemas.request import CampaignRequest
from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_PROGRESS, CAMPAIGN_REQUESTS, CAMPAIGNS, GATE_INPUTS, Topic
from schemas.words import counted
from streams.clients import Place
from streams.fenced.model import Input
from streams.table import TopicReader

ANSWER_WITHIN = 20.0
"""Seconds that a command waits for the planner's answer before it says that none came yet."""
REFUSED_WITHIN = 4.0
"""Seconds that a request with a known id is watched for a refusal."""


@dataclass(frozen=True, slots=True)
class Answer:
    campaign_id: str
    state: str
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def submit(access: Access, request: CampaignRequest, say: Callable[[str], None]) -> Answer:
    """Write the request and wait for what the planner makes of it: planned, or refused with every problem."""
    from planner.resolve import canonical

    campaign_id = request.campaign_id or derived_campaign_id(canonical(request))
    with access.table(CAMPAIGN_PROGRESS, CampaignProgress, only=campaign_id) as table:
        table.ready(10)
        known = table.get(campaign_id)
        new = known is None or known.state == "rejected"
        since = None if known is None else known.updated_at
        place = access.put(CAMPAIGN_REQUESTS, campaign_id, request)
        # A known id is answered by silence when the content is the same, by a dead letter when it is not.
        deadline = time.monotonic() + (ANSWER_WITHIN if new else REFUSED_WITHIN)
        refused = _refusal(
            access,
            CAMPAIGN_REQUESTS,
            place,
            lambda: _late(deadline) or (new and _decided(table.get(campaign_id), since)),
        )
        found = table.get(campaign_id)
    if refused is not None:
        return Answer(campaign_id, "refused", refused)
    if found is None:
        say("No planner has answered yet: is one running (`rampa up`, `rampa worker planner`)? The request is kept.")
        return Answer(campaign_id, "submitted")
    if _is_another(access, campaign_id, request):
        text = "is taken by a campaign with other content, which is not touched; send this one under an id of its own"
        return Answer(campaign_id, "refused", (f"campaign_id: {campaign_id!r} {text}",))
    if found.state in {"rejected", "failed"}:
        return Answer(campaign_id, found.state, tuple(f"{p.field}: {p.problem}" for p in found.problems))
    if not new:
        state = f"already known, {found.state}; the same request again changes nothing"
    elif found.state == "planning":
        state = (
            f"planning: {counted(found.recipients, 'recipient')} read so far; see: rampa campaign watch {campaign_id}"
        )
    else:
        state = found.state
    return Answer(campaign_id, state, (), found.warnings)


def _is_another(access: Access, campaign_id: str, request: CampaignRequest) -> bool:
    """Whether the campaign of that id was made of another request: one that came at the same moment, perhaps."""
    from planner.resolve import content_hash

    if request.campaign_id is None:
        return False  # the id follows from the content
    there = access.newest(CAMPAIGNS, Campaign, lambda key: key == campaign_id.encode()).get(campaign_id)
    return there is not None and there.content_hash != content_hash(request)


def _late(deadline: float) -> bool:
    return time.monotonic() > deadline


def _decided(found: CampaignProgress | None, since: datetime | None) -> bool:
    """Whether this progress is an answer to what was just asked: past planning, and not an older one's."""
    return found is not None and found.state != "planning" and found.updated_at != since


_NEXT_PROBLEM = re.compile(r"; (?!known: )(?=[a-z_]+(?:\.\w+)*: )")
"""What parts the problems of a dead letter: the next one begins with its field. Known names are no field."""


def problems_of(headers: Mapping[str, str]) -> list[str]:
    """The problems that the headers of a dead letter name, as `field: what is wrong`.

    They are listed in `problems`, where it is there and can be read; otherwise they are parted in `error`.
    """
    try:
        listed = [Problem.model_validate(one) for one in json.loads(headers.get("problems", "[]"))]
    except (ValueError, TypeError):
        listed = []
    if listed:
        return [f"{p.field}: {p.problem}" if p.field else p.problem for p in listed]
    error = headers.get("error", "")
    return _NEXT_PROBLEM.split(error) if error else []


def _refusal(access: Access, topic: Topic, place: Place, stop: Callable[[], bool]) -> tuple[str, ...] | None:
    """The reasons of the dead letter that was made of the record at `place`; None when there is none until `stop`.

    The planner makes it of the record, the gate of the command that the planner made of it.
    """
    readers = [TopicReader(access.kafka, access.name(t) + ".dlq") for t in (topic, GATE_INPUTS)]
    try:
        while not stop():
            for record in (r for reader in readers for r in reader.read(0.1)):
                if _is_of(record, access.name(topic), place):
                    return tuple(problems_of(headers_of(record)))
    finally:
        for reader in readers:
            reader.close()
    return None


def _is_of(letter: Input, topic: str, place: Place) -> bool:
    """Whether a dead letter was made of the record at `place`, or of the gate's command that came of it."""
    headers = headers_of(letter)
    if headers.get("topic") == topic:
        return (headers.get("partition"), headers.get("offset")) == (str(place.partition), str(place.offset))
    try:
        origin = GateCommand.decode(letter.value or b"").origin
    except ValidationError:
        return False
    return (origin.topic, origin.partition, origin.offset) == (topic, place.partition, place.offset)


_REACHED: dict[str, frozenset[CampaignState]] = {
    "pause": frozenset({"paused"}),
    "resume": frozenset({"running", "scheduled", "completed"}),
    "cancel": frozenset({"cancelled"}),
}
_ENDED = frozenset({"completed", "cancelled", "rejected", "failed"})


def pointless(order: CampaignCommand, now: CampaignProgress) -> str | None:
    """Why an order can do nothing to a campaign that stands so; None when it can. Pure."""
    action, state = order.action, now.state
    if state in {"rejected", "failed"} or now.archived_at is not None:
        was = state if now.archived_at is None else f"archived at {now.archived_at:%Y-%m-%d %H:%M} UTC"
        return f"it was {was}; nothing of it is sent"
    if action in {"pause", "resume", "strategy"} and state in _ENDED:
        return f"it is {state}; there is nothing left to {'change' if action == 'strategy' else action}"
    if action == "cancel" and state == "completed":
        return "it is completed; there is nothing left to cancel"
    return _about_nobody(order, now)


def _about_nobody(order: CampaignCommand, now: CampaignProgress) -> str | None:
    """Why an order to try again or to resolve is about nobody; None when it is about somebody, or another order."""
    cancelled = now.state == "cancelled"
    if order.action == "retry" and cancelled:
        return "it is cancelled; nobody of it is tried again"
    if order.action == "retry" and not now.deferred and not any(is_down(hold) for hold in now.holds):
        if not now.failed:
            return "nobody has failed or waits for another try; there is nobody to try again"
        if now.failed == now.given_up:
            return "who has failed was in doubt and given up by `resolve --drop`: they may have their mail"
    if order.action == "resolve" and not now.in_doubt:
        return "nobody is in doubt; there is nothing to resolve"
    if order.resolution == "resend" and cancelled:
        return "it is cancelled; nobody of it is mailed again; say --accepted or --drop"
    return None


def warning(order: CampaignCommand, now: CampaignProgress) -> str | None:
    """What a person should know of an order that is carried out all the same; None when there is nothing. Pure."""
    return awaited(now) if order.action == "resolve" and now.awaited else None


def not_yet(order: CampaignCommand) -> str:
    """What an order waits for that is on its topic and shows no effect yet. Pure."""
    kept, see = f"{order.action} is kept, but not done yet", f"`rampa campaign status {order.campaign_id}`"
    if order.action != "resolve":
        return f"{kept}; see: {see.strip('`')}"
    if order.resolution == "resend" and order.address is None:
        return f"{kept}: it waits for the gate, which mails them again; is one running? See {see} and `rampa alerts`"
    return (
        f"{kept}: it waits for a sender that owns the batch; is one running? See {see} and `rampa alerts`. "
        "A second order waits behind this one and finds only who is still in doubt then"
    )


def _done(order: CampaignCommand, after: CampaignProgress) -> str:
    left = ""
    if order.action == "strategy":
        left = "; the schedule (window, weekends) stays as it was planned"
    elif order.action == "resolve" and order.address is None and after.in_doubt:
        left = f", and {counted(after.in_doubt, 'recipient is', 'recipients are')} still in doubt; see `rampa alerts`"
    return f"{order.action} done; it is {after.state}{left}"


def command(access: Access, order: CampaignCommand) -> Answer:
    """Write a command and wait until progress shows its effect, or a dead letter why it has none."""
    wanted = _REACHED.get(order.action)
    campaign_id = order.campaign_id
    with access.table(CAMPAIGN_PROGRESS, CampaignProgress, only=campaign_id) as table:
        table.ready(10)
        before = table.get(campaign_id)
        place = access.put(CAMPAIGN_COMMANDS, campaign_id, order)
        deadline = time.monotonic() + ANSWER_WITHIN

        def seen() -> bool:
            nonlocal deadline
            now = table.get(campaign_id)
            if now is None or _late(deadline):
                return now is not None
            if order.action == "resolve" and before is not None:
                if now.in_doubt < before.in_doubt:  # by some of the batches; another one may yet say that it cannot
                    deadline = min(deadline, time.monotonic() + REFUSED_WITHIN)
                return now.in_doubt < before.in_doubt and (order.address is not None or not now.in_doubt)
            return now.state in wanted if wanted is not None else now != before

        refused = _refusal(access, CAMPAIGN_COMMANDS, place, seen)
        after = table.get(campaign_id)
    if refused is not None:
        return Answer(campaign_id, "refused", refused)
    late = order.action == "resolve" and before is not None and after is not None and after.in_doubt >= before.in_doubt
    if late or after is None or (wanted is not None and after.state not in wanted):
        return Answer(campaign_id, not_yet(order))
    return Answer(campaign_id, after.state if wanted is not None else _done(order, after))
