"""Reading what people write: every problem is named by its field, and what is right goes on under its id. Pure.

The bytes are theirs: not JSON, no object, fields that do not exist, values of the wrong kind. Nothing is decided
here about campaigns that are known; that is for the owner of the campaign (`state.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from planner.resolve import campaign_id_of, content_hash
from schemas.base import Model
from schemas.command import CampaignCommand, DomainCommand, Origin, PlannerInput
from schemas.identity import CAMPAIGN_ID
from schemas.mistakes import causes, said
from schemas.progress import Problem
from schemas.request import CampaignRequest

MAX_REQUEST_BYTES = 900_000
"""Brokers refuse records over 1 MB by default, and a request travels on with what is known of it."""

LEVELS = 8
"""It travels on inside other objects, which are read by the same parser: so many levels of nesting are theirs."""

M = TypeVar("M", bound=Model)
Further = Callable[[Mapping[str, Any], ValidationError], list[Problem]]
"""What else is wrong with an object that is not valid, as one can tell from the rest of it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What cannot be used, and why. `campaign_id` when one can be read from it."""

    problems: tuple[Problem, ...]
    campaign_id: str | None = None


def read_request(
    value: bytes | None, origin: Origin, at: datetime, most: int = 1000, further: Further = lambda _, __: []
) -> PlannerInput | Refusal:
    """A request as an input of its campaign's owner, or at most `most` problems."""
    found = read(CampaignRequest, value, most, further)
    if isinstance(found, Refusal):
        return found
    campaign_id = campaign_id_of(found)
    if large := too_large(found, len(value or b"")):
        return Refusal((large,), campaign_id)
    return PlannerInput(
        campaign_id=campaign_id,
        kind="request",
        origin=origin,
        received_at=at,
        request=found,
        content_hash=content_hash(found),
    )


def read_command(value: bytes | None, origin: Origin, at: datetime) -> PlannerInput | Refusal:
    """A command to a campaign as an input of its owner, or its problems."""
    found = read(CampaignCommand, value, 100)
    if isinstance(found, Refusal):
        return found
    return PlannerInput(campaign_id=found.campaign_id, kind="command", origin=origin, received_at=at, command=found)


def read_domain_command(value: bytes | None) -> DomainCommand | Refusal:
    """A command to a sending domain, or its problems."""
    return read(DomainCommand, value, 100)


def invalid(refusal: Refusal, origin: Origin, at: datetime) -> PlannerInput | None:
    """What the owner of the campaign is told of a request that cannot be used; None when no id can be read."""
    if refusal.campaign_id is None:
        return None
    return PlannerInput(
        campaign_id=refusal.campaign_id, kind="invalid", origin=origin, received_at=at, problems=refusal.problems
    )


def too_large(request: CampaignRequest, size: int) -> Problem | None:
    """What is wrong with a request of `size` bytes when they are too many; None when they are not."""
    if size <= MAX_REQUEST_BYTES:
        return None
    said = f"the request has {size:,} bytes, and {MAX_REQUEST_BYTES:,} are the most that can be taken"
    if not request.recipients.inline:
        return Problem(field="template", problem=f"{said}; write less")
    todo = "put the recipients into a file and give its `uri`, or name it with `--recipients FILE`"
    return Problem(field="recipients.inline", problem=f"{said}; {todo}")


def read(model: type[M], value: bytes | None, most: int, further: Further = lambda _, __: []) -> M | Refusal:
    """What people wrote as a `model` that can travel on as JSON, or at most `most` problems."""
    data = _object(value)
    if value is None or isinstance(data, str):
        return Refusal((Problem(field="", problem=str(data)),))
    found: tuple[Problem, ...]
    try:
        valid = model.model_validate_json(value)
        from_json(b"[" * LEVELS + valid.encode() + b"]" * LEVELS)
    except ValidationError as e:
        found = (*problems(model, e), *further(data, e))
    except orjson.JSONEncodeError as e:
        text = f"it cannot be written as JSON again: {e}; write such a number as text"
        found = (Problem(field="", problem=text),)
    except ValueError:
        found = (Problem(field="", problem="its lists and objects are nested too deeply"),)
    else:
        return valid
    return Refusal(found[:most], _id_in(data))


def _object(value: bytes | None) -> dict[str, Any] | str:
    """The JSON object in `value`, or why it is none."""
    if value is None or not value.strip():
        return "the record is empty; write one JSON object"
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError as e:
        return f"not JSON: {e}"
    if not isinstance(data, dict):
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(data), "a bare value")
        return f"one JSON object is needed, and this is {kind}"
    return data


def _id_in(data: Mapping[str, Any]) -> str | None:
    campaign_id = data.get("campaign_id")
    known = isinstance(campaign_id, str) and CAMPAIGN_ID.fullmatch(campaign_id) is not None
    return campaign_id if known else None


def problems(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """One problem for each that pydantic found: its dotted path, what is wrong, the nearest known field."""
    found = []
    for item in causes(error.errors(include_url=False, include_input=True)):
        path = path_of(item)
        text = said(item)
        if item["type"] == "extra_forbidden":
            text = _unknown_field(model, path)
        elif item["type"] == "string_pattern_mismatch" and path and path[-1] in _PATTERNS:
            text = f"{_PATTERNS[path[-1]]} (it is {_shown(item['input'])})"
        elif item["type"] not in {"missing", "json_invalid"}:
            text = f"{text} (it is {_shown(item['input'])})"
        found.append(Problem(field=".".join(path), problem=text))
    return found


def path_of(item: ErrorDetails) -> tuple[str, ...]:
    """Where a problem is, by the names of fields: pydantic names branches of unions too, which may be called so."""
    loc = item["loc"]
    unknown = len(loc) - 1 if item["type"] == "extra_forbidden" else 0
    return tuple(str(part) for n, part in enumerate(loc) if n in {0, unknown} or not _is_branch(part))


_PATTERNS = {
    "campaign_id": "an id has 1 to 100 letters, digits, dots, underscores and hyphens, the first a letter or digit",
    "id": "an id has 1 to 100 letters, digits, dots, underscores and hyphens, the first a letter or digit",
    "email": "write one plain address, such as news@example.com",
    "reply_to": "write one plain address, such as news@example.com",
    "uri": "a uri begins with file:// or s3://",
    "subject": "write one line; line breaks would end the header",
    "name": "write one line; line breaks would end the header",
}
"""What to say of text that does not have the form of its field."""


def _is_branch(part: int | str) -> bool:
    """Whether it names a branch of a union (pydantic puts them into the path), not a field."""
    return isinstance(part, str) and (
        "[" in part or part in {"str", "int", "float", "bool", "tuple", "function-before"}
    )


def _shown(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unknown_field(model: type[BaseModel], path: tuple[str, ...]) -> str:
    names = _fields_at(model, path[:-1])
    near = difflib.get_close_matches(path[-1], names, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(names)}"
    return f"there is no such field; {hint}"


def _fields_at(model: Any, path: tuple[str, ...]) -> list[str]:
    for part in path:
        field = next((f for n, f in model.model_fields.items() if part in {n, f.alias}), None)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in {Union, UnionType}:
        return next((m for arg in get_args(kind) if (m := _model_in(arg)) is not None), None)
    return None
