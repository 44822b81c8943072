"""What is known of each sending domain: the settings, and the gate's own table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from console.access import Access
from console.errors import ConsoleError
from planner.resolve import resolve_strategy
from schemas.domain_names import known_by
from schemas.gate_state import GateRow
from schemas.strategy import StrategySpec
from schemas.topics import GATE_STATE


def known_domain(name: str, domains: Iterable[str]) -> str:
    """The sending domain among `domains` that a person means by `name`. Raises ConsoleError when there is none."""
    domain = known_by(name)
    if domain not in domains:
        raise ConsoleError(f'{name!r} is not in the settings; add [domains."{name}"] with its relay.')
    return domain


def standings(access: Access) -> list[dict[str, Any]]:
    """One mapping a domain of the settings, by name."""
    rows = access.newest(GATE_STATE, GateRow, lambda key: key.startswith(b"domain:"))
    limits = {name: resolve_strategy(StrategySpec(type=name), {}, warm=False) for name in ("ramp_up", "conservative")}
    found = []
    for name, domain in sorted(access.settings.domains.items()):
        row = rows[f"domain:{name}"].row if f"domain:{name}" in rows else {}
        day = int(row.get("sending_day", 1))
        found.append({
            "domain": name,
            "relay": domain.relay,
            "timezone": domain.timezone,
            "warm": domain.warm,
            "sending_day": day,
            "today": row.get("day"),
            "sent_today": row.get("used", 0),
            "reserved_today": row.get("reserved", 0),
            "paused": bool(row.get("paused")),
            "reason": row.get("pause_reason"),
            "daily_limit": {kind: strategy.step(day).daily_limit for kind, strategy in limits.items()},
        })  # fmt: skip
    return found
