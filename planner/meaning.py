"""What else is wrong with a request of which a part has not the right form: who wrote it is told all at once. Pure.

What has not the right form is left out, a part that is nothing without it gets a stand-in, and the rest is resolved
as any request is. Nothing is said of what was left out, of stand-ins, nor of what depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from planner.errors import ProblemsFound, SourceError
from planner.intake import path_of
from planner.resolve import Installation, resolve_campaign
from planner.strategies import AUTO
from schemas.campaign import SourceFingerprint
from schemas.domain_names import known_by
from schemas.progress import Problem
from schemas.records import DomainReputation, Template
from schemas.request import CampaignRequest

Path = tuple[str, ...]
Source = Callable[[CampaignRequest], SourceFingerprint | SourceError]

_STAND_INS: Mapping[str, Any] = {
    "from": {"email": "nobody@nowhere.invalid"},
    "template": {"subject": "-", "text": "-"},
    "recipients": {"inline": []},
}


def also_wrong(
    data: Mapping[str, Any],
    error: ValidationError,
    *,
    settings: Installation,
    now: datetime,
    reputation: Callable[[str], DomainReputation | None] = lambda _: None,
    source: Source = lambda _: SourceFingerprint(kind="inline", size=1, changed=""),
) -> list[Problem]:
    """What is wrong with `data`, a request, beside what `error` has found.

    Stored templates are not looked up, and recipients only when `source` does.
    """
    wrong = {path_of(item) for item in error.errors(include_url=False, include_input=False)}
    if () in wrong:  # it is wrong as a whole
        return []
    rest = dict(data)
    for path in wrong:
        rest = _without(rest, path)
    request, replaced = _readable(rest)
    if request is None:
        return []
    reputation_of = reputation(known_by(request.from_.email.rpartition("@")[2]))
    try:
        resolve_campaign(
            request, content_hash="", created_at=now, settings=settings, now=now, fingerprint=source(request),
            templates=lambda name: Template(id=name, subject="-", text="-", updated_at=now), reputation=reputation_of,
        )  # fmt: skip
    except ProblemsFound as e:
        silent = {*wrong, *replaced, *_dependent(request, wrong | replaced)}
        return [one for one in e.problems if not _touches(tuple(one.field.split(".")), silent)]
    return []


def _readable(rest: dict[str, Any]) -> tuple[CampaignRequest | None, set[Path]]:
    """The request, and which of its fields were taken out of it once more, or replaced."""
    replaced: set[Path] = set()
    for _ in range(2):
        try:
            return CampaignRequest.model_validate(rest), replaced
        except ValidationError as e:
            names = {str(item["loc"][0]) for item in e.errors(include_url=False, include_input=False)}
        replaced |= {(name,) for name in names}
        rest = {name: value for name, value in rest.items() if name not in names}
        rest |= {name: _STAND_INS[name] for name in names & _STAND_INS.keys()}
    return None, replaced


def _without(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """`tree` without what stands at `path`; a list goes as a whole."""
    name, rest = path[0], path[1:]
    inner = tree.get(name)
    if rest and isinstance(inner, dict):
        return {**tree, name: _without(inner, rest)}
    return {key: value for key, value in tree.items() if key != name}


def _dependent(request: CampaignRequest, silent: Iterable[Path]) -> set[Path]:
    """What cannot be judged: the strategy's numbers without its type, which `auto` takes from the domain."""
    type_is_open = ("strategy", "type") in silent or (request.strategy.type == AUTO and ("from",) in silent)
    return {("strategy",)} if type_is_open else set()


def _touches(field: Path, silent: Iterable[Path]) -> bool:
    """Whether the field is one of these, stands in one, or holds one."""
    return any(field[: len(path)] == path[: len(field)] for path in silent)
