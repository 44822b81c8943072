"""How progress looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from console.explain import awaited, clean, error_line
from schemas.progress import CampaignProgress

SUM = ("invalid", "duplicate", "suppressed", "waiting", "in_flight", "accepted", "failed", "in_doubt", "cancelled")
_COLOURS = {
    "running": "green", "completed": "bold green", "paused": "yellow", "scheduled": "cyan", "planning": "cyan",
    "cancelled": "magenta", "rejected": "red", "failed": "red",
}  # fmt: skip


def conservation(progress: CampaignProgress) -> str:
    """`4200 = 0 invalid + ... + 4200 accepted`: everybody is accounted for."""
    parts = " + ".join(f"{getattr(progress, name)} {name.replace('_', ' ')}" for name in SUM)
    sign = "=" if progress.conserved() == progress.recipients else "≠"
    return f"{progress.recipients} {sign} {parts}"


def status_panel(progress: CampaignProgress) -> RenderableType:
    """One campaign, in full."""
    head = Text.assemble(
        (progress.campaign_id, "bold"), "  ", (progress.state, _COLOURS.get(progress.state, "")),
        f"  {progress.name}" if progress.name else "",
    )  # fmt: skip
    facts = Table.grid(padding=(0, 2))
    facts.add_row(
        "strategy",
        f"{progress.strategy or '-'}   domain {progress.sending_domain or '-'}   relay {progress.relay or '-'}",
    )
    facts.add_row("recipients", conservation(progress))
    b = progress.batches
    facts.add_row(
        "batches",
        f"{b.total} = {b.completed} completed + {b.processing} processing + {b.queued} queued + {b.held} held + "
        f"{b.pending} pending + {b.cancelled} cancelled",
    )
    eta = f"   expected end {progress.eta:%Y-%m-%d %H:%M} UTC" if progress.eta else ""
    facts.add_row("progress", f"{progress.percent:.1f} %   {progress.per_minute:.1f} a minute{eta}")
    if progress.archived_at is not None:
        facts.add_row("archived", f"{progress.archived_at:%Y-%m-%d %H:%M} UTC: its recipients are gone")
    lines: list[RenderableType] = [head, facts]
    lines += [Text(f"{p.field}: {p.problem}", style="red") for p in progress.problems]
    lines += [Text(f"warning: {w}", style="yellow") for w in progress.warnings]
    if progress.cancel_reason:
        lines.append(Text(clean(f"cancelled: {progress.cancel_reason}"), style="magenta"))
    lines += [
        Text(clean(f"held: {h.detail}") + (f" (until {h.until:%Y-%m-%d %H:%M} UTC)" if h.until else ""), style="yellow")
        for h in progress.holds
    ]
    if progress.awaited and progress.archived_at is None:
        lines.append(Text(awaited(progress), style="yellow"))
    lines += [Text(error_line(e), style="red") for e in progress.last_errors]
    return Group(*lines)


def progress_line(progress: CampaignProgress) -> str:
    """One campaign on one line, for what is no terminal: a log, a pipe."""
    p = progress
    parts = [f"{p.accepted} accepted", f"{p.waiting} waiting", f"{p.in_flight} in flight"]
    parts += [f"{n} {word}" for n, word in ((p.failed, "failed"), (p.in_doubt, "in doubt")) if n]
    held = f"; held: {clean(p.holds[0].detail)}" if p.holds else ""
    return f"{p.campaign_id}: {p.state}, {p.percent:.0f} %: {', '.join(parts)}{held}"


def bar(percent: float, width: int = 24) -> str:
    """A progress bar of `width` cells."""
    filled = round(min(max(percent, 0), 100) * width / 100)
    return "━" * filled + "╌" * (width - filled)


def campaigns_table(rows: Iterable[CampaignProgress], title: str | None = None) -> Table:
    """Several campaigns, a line each."""
    table = Table(
        Column("campaign", no_wrap=True),
        "state",
        "",
        "%",
        "accepted",
        "waiting",
        "failed",
        "in doubt",
        "a minute",
        "held by",
        box=None,
        title=title,
    )
    for p in rows:
        table.add_row(
            p.campaign_id, Text(p.state, style=_COLOURS.get(p.state, "")), bar(p.percent), f"{p.percent:.0f}",
            str(p.accepted), str(p.waiting + p.in_flight), str(p.failed), str(p.in_doubt), f"{p.per_minute:.0f}",
            ", ".join(dict.fromkeys(h.reason for h in p.holds)) or "-",
        )  # fmt: skip
    return table
