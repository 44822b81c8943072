"""What the simulator counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from simulator.answers import Taken


@dataclass(slots=True)
class Stats:
    """Figures since the start; times are seconds since the epoch."""

    connections: int = 0
    open_connections: int = 0
    peak_connections: int = 0  # those refused included, until they are closed
    messages: int = 0  # taken, those without a reply included
    unreplied: int = 0  # taken, but a rule cut the connection before the 250
    recipients: int = 0
    octets: int = 0
    store_errors: int = 0
    first: float | None = None
    last: float | None = None
    rules: Counter[str] = field(default_factory=Counter)  # how often each has applied
    by_second: Counter[int] = field(default_factory=Counter)  # messages taken in each second

    def connected(self) -> None:
        """A client has come."""
        self.connections += 1
        self.open_connections += 1
        self.peak_connections = max(self.peak_connections, self.open_connections)

    def took(self, message: Taken) -> None:
        """A message was taken and stored."""
        self.messages += 1
        self.unreplied += not message.replied
        self.recipients += len(message.recipients)
        self.octets += len(message.body)
        self.by_second[int(message.at)] += 1
        self.first = message.at if self.first is None else self.first
        self.last = message.at

    def snapshot(self) -> dict[str, Any]:
        """All figures for JSON; `per_second` is the mean between first and last, `peak_per_second` the best."""
        seconds = (self.last or 0.0) - (self.first or 0.0)
        return {
            "connections": self.connections,
            "open_connections": self.open_connections,
            "peak_connections": self.peak_connections,
            "messages": self.messages,
            "unreplied": self.unreplied,
            "recipients": self.recipients,
            "octets": self.octets,
            "store_errors": self.store_errors,
            "first": self.first,
            "last": self.last,
            "per_second": round((self.messages - 1) / seconds, 1) if seconds > 0 else None,
            "peak_per_second": max(self.by_second.values(), default=0),
            "rules": dict(sorted(self.rules.items())),
        }
