"""What the demo shows at the end, from the receiving server's own record. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from rich.table import Table

from schemas.strategy import Strategy
from simulator.record import RecordEntry
from streams.clock import Clock


@dataclass(frozen=True, slots=True)
class Day:
    """One sending day as the receiving server saw it."""

    number: int
    day: date
    mails: int
    limit: int | None
    first: str
    last: str

    @property
    def kept(self) -> bool:
        return self.limit is None or self.mails <= self.limit


def days(entries: Iterable[RecordEntry], clock: Clock, zone: str, strategy: Strategy) -> list[Day]:
    """The local days on which mail arrived, each with its limit."""
    moments = sorted(clock.at(e.time).astimezone(ZoneInfo(zone)) for e in entries)
    counts = Counter(m.date() for m in moments)
    found = []
    for number, (day, mails) in enumerate(sorted(counts.items()), 1):
        those = [m for m in moments if m.date() == day]
        limit = strategy.step(number).daily_limit
        found.append(Day(number, day, mails, limit, f"{those[0]:%H:%M}", f"{those[-1]:%H:%M}"))
    return found


def days_table(rows: Iterable[Day]) -> Table:
    """Day by day."""
    table = Table("sending day", "date", "mails", "limit", "first", "last", "", box=None)
    for r in rows:
        mark = "[green]✓[/]" if r.kept else "[red]over the limit[/]"
        limit = "-" if r.limit is None else str(r.limit)
        table.add_row(str(r.number), f"{r.day:%a %Y-%m-%d}", str(r.mails), limit, r.first, r.last, mark)
    return table


def twice(entries: Iterable[RecordEntry]) -> int:
    """How many messages the server took more than once."""
    seen = Counter(e.message_id for e in entries)
    return sum(n > 1 for n in seen.values())
