"""What is known of each sending domain: the settings, and the gate's own table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from console.access import Access
from console.errors import ConsoleError
from console.explain import clean
from planner.resolve import resolve_strategy
from schemas.base import rfc3339
from schemas.domain_names import known_by
from schemas.gate_state import GateRow
from schemas.strategy import StrategySpec, StrategyType
from schemas.topics import GATE_STATE
from sender.gate.quota import domain_limit

STRATEGIES: tuple[StrategyType, ...] = ("ramp_up", "conservative", "batch")


def standing_lines(standing: Mapping[str, Any]) -> Iterator[str]:
    """One of the `standings` for people. Pure."""
    paused, today = standing["paused"], standing["today"]
    limits = [f"{'no limit' if n is None else n} by {kind}" for kind, n in standing["daily_limit"].items()]
    sent = f"{standing['sent_today']} sent, {standing['reserved_today']} reserved"
    facts = {
        "domain": standing["domain"],
        "relay": standing["relay"],
        "time zone": standing["timezone"],
        "warm-up": "over: the domain is warm" if standing["warm"] else f"sending day {standing['sending_day']}",
        "today": "nothing has gone out yet" if today is None else f"{today}: {sent}",
        "paused": f"yes: {standing['reason']}" if paused and standing["reason"] else "yes" if paused else "no",
        "messages a day": ", ".join(limits),
    }
    if (refused := standing["refused"]) is not None:
        tried = f"{refused['attempts']} tries since {refused['since']}"
        facts["refused"] = f"relay {standing['relay']} takes nothing from it: {refused['error']} ({tried})"
    yield from (clean(f"{name:16} {value}") for name, value in facts.items())


def known_domain(name: str, domains: Iterable[str]) -> str:
    """The sending domain among `domains` that a person means by `name`. Raises ConsoleError when there is none."""
    domain = known_by(name)
    if domain not in domains:
        raise ConsoleError(f'{name!r} is not in the settings; add [domains."{name}"] with its relay.')
    return domain


def standings(access: Access) -> list[dict[str, Any]]:
    """One mapping a domain of the settings, by name."""
    rows = access.newest(GATE_STATE, GateRow, lambda key: key.startswith(b"domain:"))
    strategies = [resolve_strategy(StrategySpec(type=name), {}, warm=False) for name in STRATEGIES]
    found = []
    for name, domain in sorted(access.settings.domains.items()):
        row = rows[f"domain:{name}"].row if f"domain:{name}" in rows else {}
        day = int(row.get("sending_day", 1))
        warm = domain.warm or bool(row.get("warm"))
        found.append({
            "domain": name,
            "relay": domain.relay,
            "timezone": domain.timezone,
            "warm": warm,
            "sending_day": day,
            "today": row.get("day"),
            "sent_today": row.get("used", 0),
            "reserved_today": row.get("reserved", 0),
            "paused": bool(row.get("paused")),
            "reason": row.get("pause_reason"),
            "refused": _refused(row.get("down")),
            "daily_limit": {s.type: domain_limit(s, day, warm=warm)[0] for s in strategies},
        })  # fmt: skip
    return found


def _refused(down: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """That its relay takes nothing from the domain, as far as the gate's row says so: the server's words, since when,
    how often it was tried, when it is tried again (real time; None: it is being tried)."""
    if down is None:
        return None
    next_try = None if down.get("probe") else datetime.fromtimestamp(int(down.get("next_real", 0)), UTC)
    return {
        "error": down.get("error"), "since": down.get("since"), "attempts": down.get("attempts"),
        "next_try": None if next_try is None else rfc3339(next_try),
    }  # fmt: skip
