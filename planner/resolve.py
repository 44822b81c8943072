"""From a request to a `Campaign` in which nothing is open, or to every problem, named by field.

Pure: settings, stored templates, the source's fingerprint and the time are given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import orjson

from planner import templates as template_check
from planner.addresses import check
from planner.errors import AddressError, ProblemsFound, SourceError
from planner.names import unknown
from planner.strategies import KINDS
from planner.strategies.resolve import resolve_strategy
from schemas.calendar import NeverOpens, next_sendable
from schemas.campaign import (
    Campaign,
    RecipientSource,
    ResolvedPace,
    ResolvedSchedule,
    ResolvedTemplate,
    SourceFingerprint,
)
from schemas.identity import derived_campaign_id
from schemas.progress import Problem
from schemas.records import DomainReputation, Template
from schemas.request import CampaignRequest, Pace, Recipients, Schedule, TemplateSpec, Tracking
from schemas.strategy import Strategy, StrategySpec
from schemas.template.links import links_of

__all__ = [
    "Installation", "campaign_id_of", "canonical", "content_hash", "resolve_campaign", "resolve_pace",
    "resolve_schedule", "resolve_strategy",
]  # fmt: skip

T = TypeVar("T")
FARTHEST_START = timedelta(days=5 * 366)


class Domain(Protocol):
    """What is read of `[domains."..."]`."""

    @property
    def relay(self) -> str: ...
    @property
    def timezone(self) -> str: ...
    @property
    def warm(self) -> bool: ...


class Installation(Protocol):
    """What is read of the settings (`streams.settings.Settings` is one)."""

    @property
    def domains(self) -> Mapping[str, Domain]:
        """Under their names in lower case and A-labels."""

    @property
    def relays(self) -> Mapping[str, Any]: ...
    @property
    def strategies(self) -> Mapping[str, StrategySpec]: ...


def canonical(request: CampaignRequest) -> bytes:
    """The content of a request, the same bytes for every spelling of it; its id is not content."""
    content = request.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"campaign_id"})
    if "window" in request.schedule.model_fields_set and request.schedule.window is None:
        content.setdefault("schedule", {})["window"] = None  # null means any time; left out, the strategy's own
    where = content.get("recipients", {}).get("where", {})
    for column, wanted in where.items():
        where[column] = wanted if isinstance(wanted, list) else [wanted]
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def content_hash(request: CampaignRequest) -> str:
    """SHA-256, hex, of the canonical request."""
    return hashlib.sha256(canonical(request)).hexdigest()


def campaign_id_of(request: CampaignRequest) -> str:
    """The id that was given, or the one that follows from the content."""
    return request.campaign_id or derived_campaign_id(canonical(request))


def resolve_pace(pace: Pace) -> ResolvedPace:
    """The caps of one campaign."""
    return ResolvedPace(rate=pace.rate, connections=pace.connections)


def resolve_schedule(
    schedule: Schedule, strategy: Strategy, *, timezone: str, now: datetime
) -> tuple[ResolvedSchedule, tuple[str, ...]]:
    """When a campaign may send, and warnings. `timezone` is the domain's. Raises `ProblemsFound`."""
    kind = KINDS[strategy.type]
    warnings = []
    if problems := _problems_of_any(schedule, now):
        raise ProblemsFound(problems)
    window = schedule.window if "window" in schedule.model_fields_set else kind.window
    now = now.astimezone(UTC).replace(microsecond=0)
    start = now if schedule.start_at is None else schedule.start_at.astimezone(UTC)
    if start < now:
        warnings.append(f"schedule.start_at {start:%Y-%m-%dT%H:%M:%SZ} is in the past: it starts now")
        start = now
    resolved = ResolvedSchedule(
        start_at=start,
        timezone=schedule.timezone or timezone,
        window=window,
        skip_weekends=kind.skip_weekends if schedule.skip_weekends is None else schedule.skip_weekends,
    )
    try:
        next_sendable(resolved, start)
    except NeverOpens as e:
        raise ProblemsFound([Problem(field="schedule.window", problem=str(e))]) from None
    return resolved, tuple(warnings)


def _problems_of_any(schedule: Schedule, now: datetime) -> list[Problem]:
    """What is wrong with a schedule whatever the strategy is."""
    problems = []
    if schedule.window is not None and any(t.tzinfo is not None for t in schedule.window):
        problems.append(Problem(field="schedule.window", problem="times are local: write them without an offset"))
    start = schedule.start_at
    if start is not None and start - now > FARTHEST_START:
        text = f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} is more than {FARTHEST_START.days} days ahead"
        problems.append(Problem(field="schedule.start_at", problem=f"{text}; is the year right?"))
    return problems


def resolve_campaign(
    request: CampaignRequest,
    *,
    content_hash: str,
    created_at: datetime,
    settings: Installation,
    templates: Callable[[str], Template | None],
    fingerprint: SourceFingerprint | SourceError,
    now: datetime,
    reputation: DomainReputation | None = None,
) -> Campaign:
    """The campaign of a request. Raises `ProblemsFound` with all that is wrong with it.

    `fingerprint` is what the recipient source said of itself, or the error that it raised.
    """
    found: list[Problem] = []
    from_email, sending_domain, domain = _sender(request, settings.domains, found)
    reply_to = _reply_to(request, found)
    relay = _relay(request, sending_domain, domain, settings.relays, found)
    warm = bool(domain and domain.warm) or bool(reputation and reputation.warm)
    suffered = reputation is not None and reputation.state == "problems"
    strategy = _collect(
        found, lambda: resolve_strategy(request.strategy, settings.strategies, warm=warm, suffered=suffered)
    )
    schedule = _schedule(request, strategy, domain, now, found)
    _fallback(request, found)
    template = _template(request.template, "template", templates, found)
    source = _source(request.recipients, fingerprint, found)
    if found or strategy is None or schedule is None or template is None or source is None:
        raise ProblemsFound(found)
    return Campaign(
        campaign_id=campaign_id_of(request),
        name=request.name or campaign_id_of(request),
        content_hash=content_hash,
        created_at=created_at,
        from_email=from_email,
        from_name=request.from_.name,
        reply_to=reply_to,
        sending_domain=sending_domain,
        relay=relay,
        template=template,
        source=source,
        strategy=strategy,
        start_day=_start_day(strategy, reputation, warm=warm),
        day_timezone=domain.timezone if domain else None,
        pace=resolve_pace(request.pace),
        schedule=schedule[0],
        tracking=Tracking(opens=request.tracking.opens, clicks=request.tracking.clicks),
        links=links_of(template.html) if request.tracking.clicks and template.html is not None else (),
        in_doubt=request.in_doubt,
        max_retries=request.max_retries,
        tags=request.tags,
        warnings=(*schedule[1], *_tracking(request.tracking)),
    )


def _schedule(
    request: CampaignRequest, strategy: Strategy | None, domain: Domain | None, now: datetime, found: list[Problem]
) -> tuple[ResolvedSchedule, tuple[str, ...]] | None:
    if strategy is None:
        found += _problems_of_any(request.schedule, now)
        return None
    zone = domain.timezone if domain else "UTC"
    return _collect(found, lambda: resolve_schedule(request.schedule, strategy, timezone=zone, now=now))


def _start_day(strategy: Strategy, reputation: DomainReputation | None, *, warm: bool) -> int:
    """The sending day that the domain has come to; a warm one is at the last step."""
    reached = reputation.sending_day if reputation else 1
    return max(reached, strategy.steps[-1].day) if warm else reached


def _collect(found: list[Problem], resolve: Callable[[], T]) -> T | None:
    try:
        return resolve()
    except ProblemsFound as e:
        found += e.problems
        return None


def _sender(
    request: CampaignRequest, domains: Mapping[str, Domain], found: list[Problem]
) -> tuple[str, str, Domain | None]:
    try:
        email = check(request.from_.email)
    except AddressError as e:
        found.append(Problem(field="from.email", problem=str(e)))
        return "", "", None
    name = email.rpartition("@")[2]
    if name not in domains:
        found.append(Problem(field="from.email", problem=unknown(name, domains, "a sending domain of the settings")))
    return email, name, domains.get(name)


def _reply_to(request: CampaignRequest, found: list[Problem]) -> str | None:
    if request.reply_to is None:
        return None
    try:
        return check(request.reply_to)
    except AddressError as e:
        found.append(Problem(field="reply_to", problem=str(e)))
        return None


def _relay(
    request: CampaignRequest,
    sending_domain: str,
    domain: Domain | None,
    relays: Mapping[str, Any],
    found: list[Problem],
) -> str:
    if request.relay is not None:
        if request.relay not in relays:
            found.append(Problem(field="relay", problem=unknown(request.relay, relays, "a relay of the settings")))
        elif domain is not None and request.relay != domain.relay:
            text = f"{request.relay!r} is not the relay of {sending_domain}, which sends by {domain.relay!r}"
            found.append(Problem(field="relay", problem=f"{text}; leave `relay` out"))
    return domain.relay if domain is not None else ""


def _fallback(request: CampaignRequest, found: list[Problem]) -> None:
    if request.fallback is not None:
        text = (
            "mailing those once more who have not opened or clicked is not available yet; leave the field out, "
            "or send a second campaign"
        )
        found.append(Problem(field="fallback", problem=text))


def _tracking(tracking: Tracking) -> tuple[str, ...]:
    """A warning when somebody asked for what does not come yet; its default asks for nothing."""
    asked = [name for name in ("opens", "clicks") if name in tracking.model_fields_set and getattr(tracking, name)]
    if not asked:
        return ()
    return (f"tracking.{', tracking.'.join(asked)}: tracking is not available yet; the mail goes out without it",)


def _template(
    spec: TemplateSpec, field: str, templates: Callable[[str], Template | None], found: list[Problem]
) -> ResolvedTemplate | None:
    if spec.id is None:
        template = ResolvedTemplate(subject=spec.subject or "", html=spec.html, text=spec.text)
    else:
        stored = templates(spec.id)
        if stored is None:
            text = f"there is no stored template {spec.id!r}; `rampa template list` names them, `put` stores one"
            found.append(Problem(field=f"{field}.id", problem=text))
            return None
        template = stored.resolved()
    found += template_check.problems(template, field)
    return template


def _source(
    recipients: Recipients, fingerprint: SourceFingerprint | SourceError, found: list[Problem]
) -> RecipientSource | None:
    if recipients.unless_mailed_by:
        text = (
            "leaving out whom other campaigns have mailed is not available yet; "
            "leave the field out, or name recipients by `where`"
        )
        found.append(Problem(field="recipients.unless_mailed_by", problem=text))
    if isinstance(fingerprint, SourceError):
        field = "recipients.uri" if recipients.uri is not None else "recipients.inline"
        found.append(Problem(field=field, problem=str(fingerprint)))
        return None
    where = {
        column: list(wanted) if isinstance(wanted, tuple) else [wanted] for column, wanted in recipients.where.items()
    }
    return RecipientSource(uri=recipients.uri, where=where, fingerprint=fingerprint)
