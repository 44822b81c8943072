"""Orders of people, on their way to the gate. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from planner.names import unknown
from schemas.command import DomainCommand, GateCommand, Origin, PlannerInput
from schemas.domain_names import known_by
from schemas.progress import Problem
from schemas.strategy import Strategy, StrategySpec


class UnknownDomain(ValueError):
    """A command for a domain that the settings do not have; the message names those that they have."""


class OfRelay(Protocol):
    @property
    def relay(self) -> str: ...


def said(problems: Iterable[Problem]) -> str:
    """Problems as one text, each with its field."""
    return "; ".join(f"{p.field}: {p.problem}" if p.field else p.problem for p in problems)


def to_gate(
    given: PlannerInput, relay: str, domain: str, resolve: Callable[[StrategySpec, str], Strategy]
) -> GateCommand:
    """A command to a campaign as the gate takes it: under the relay, a strategy with all its numbers.

    Raises `ProblemsFound` when the strategy cannot be resolved.
    """
    command = given.command
    if command is None:
        raise ValueError("this input is not a command")
    return GateCommand(
        relay=relay,
        origin=given.origin,
        at=given.received_at,
        campaign_id=given.campaign_id,
        action=command.action,
        strategy=resolve(command.strategy, domain) if command.strategy is not None else None,
        resolution=command.resolution,
        address=command.address,
        reason=command.reason,
    )


def domain_to_gate(command: DomainCommand, domains: Mapping[str, OfRelay], origin: Origin, at: datetime) -> GateCommand:
    """A command to a sending domain, under its relay. Raises `UnknownDomain`."""
    name = known_by(command.domain)
    if name not in domains:
        raise UnknownDomain(f"domain: {unknown(name, domains, 'a sending domain of the settings')}")
    return GateCommand(
        relay=domains[name].relay, origin=origin, at=at, domain=name, action=command.action, reason=command.reason
    )
