"""The gate's rows as JSON, and back: what stands on `gate.state` leaves out what has its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from schemas.base import rfc3339
from schemas.batch import GateCampaign
from schemas.chunk import SendError
from schemas.strategy import Strategy
from sender.gate.account import Account
from sender.gate.rows import Asked, BatchRow, CampaignRow, DomainRow, Down, Later, Permit, RelayRow, Row


def to_json(row: Row | Permit | Down | Later | Asked | Account) -> dict[str, Any]:
    """What is written of a row: plain JSON values, defaults and derived fields left out."""
    out: dict[str, Any] = {}
    for name, default, factory in _written(type(row)):
        value = getattr(row, name)
        if value == (default if factory is None else factory()):
            continue
        if name == "plan":
            row.plan_row = row.plan_row or value.model_dump(mode="json")  # type: ignore[union-attr]
            value = row.plan_row  # type: ignore[union-attr]
        out[name] = _plain(value)
    if isinstance(row, DomainRow):  # for those who read the table; nothing is read back from it
        out["used"] = row.days.get(row.day, 0) + row.maybe.get(row.day, 0) if row.day is not None else 0
        out["reserved"] = row.reserved
    return out


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a line a type
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Permit | Down | Later | Asked | Account):
        return to_json(value)
    if isinstance(value, dict):
        return {(k.isoformat() if isinstance(k, date) else k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


_FIELDS: dict[type, list[tuple[str, Any, Any]]] = {}


def _written(kind: type) -> list[tuple[str, Any, Any]]:
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = [
            (f.name, f.default, None if f.default_factory is MISSING else f.default_factory)
            for f in fields(kind)
            if not f.metadata.get("derived")
        ]
    return known


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _pairs(value: list[list[Any]]) -> list[tuple[Any, Any]]:
    return [(a, b) for a, b in value]


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        (
            "until",
            "issued_at",
            "scheduled_for",
            "released_at",
            "completed_at",
            "started_at",
            "as_of",
            "since",
            "at",
            "due",
            "allowed_since",
            "archived_at",
        ),
        _instant,
    ),
    **dict.fromkeys(("day", "utc_day", "release_day", "unsettled", "quota_alert"), date.fromisoformat),
    **dict.fromkeys(
        ("ranges", "open", "resend", "failed", "in_doubt", "dropped", "given_up", "cancelled", "minutes", "tails"),
        _pairs,
    ),
    **dict.fromkeys(("days", "maybe"), lambda v: {date.fromisoformat(k): n for k, n in v.items()}),
    "pointers": lambda v: tuple((*p, "")[:5] for p in v),  # a row of an older release has no checksums
    "permit": lambda v: from_json(Permit, v),
    "down": lambda v: from_json(Down, v),
    "account": lambda v: from_json(Account, v),
    "deferred": lambda v: [from_json(Later, e) for e in v],
    "last_deferral": SendError.model_validate,
    "plan": GateCampaign.model_validate,
    "strategy": Strategy.model_validate,
    "asked": lambda v: [from_json(Asked, a) for a in v],
    "last_errors": lambda v: [SendError.model_validate(e) for e in v],
}


_R = TypeVar("_R", RelayRow, DomainRow, CampaignRow, BatchRow, Permit, Down, Later, Asked, Account)


def from_json(kind: type[_R], row: Mapping[str, Any]) -> _R:
    """The row that was written by `to_json`; fields of other releases are left out."""
    names = {name for name, _, _ in _written(kind)}
    return kind(**{k: _READ[k](v) if k in _READ else v for k, v in row.items() if k in names})
