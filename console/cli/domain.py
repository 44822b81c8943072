"""`rampa domain`: standing and quota of sending domains; pause and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from console.cli.common import AsJson, Config, fail, friendly, out, print_json, say

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="DOMAIN", help="A sending domain of the settings.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; shown to those who ask.", show_default=False)]


@app.command("list", epilog="Example: rampa domain list")
@friendly
def list_(as_json: AsJson = False, config: Config = None) -> None:
    """All sending domains: relay, sending day, what went out today."""
    from rich.table import Table

    from console.access import Access
    from console.domains import standings

    rows = standings(Access.open(config, say=say))
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print('No sending domains yet: add one to the settings, such as [domains."bore.example"].')
        return
    table = Table(
        "domain", "relay", "time zone", "sending day", "today", "sent", "reserved", "paused", "refused", box=None
    )
    for r in rows:
        table.add_row(
            r["domain"], r["relay"], r["timezone"], str(r["sending_day"]), str(r["today"] or "-"), str(r["sent_today"]),
            str(r["reserved_today"]), "yes" if r["paused"] else "no", "yes" if r["refused"] else "no",
        )  # fmt: skip
    out.print(table)


@app.command(epilog="Example: rampa domain show bore.example --json")
@friendly
def show(name: Name, as_json: AsJson = False, config: Config = None) -> None:
    """One sending domain, with its limits by strategy."""
    from console import alerts as known
    from console.access import Access
    from console.clock import installation_clock
    from console.domains import known_domain, standing_lines, standings

    access = Access.open(config, say=say)
    domain = known_domain(name, access.settings.domains)
    (standing,) = (r for r in standings(access) if r["domain"] == domain)
    waiting = known.still_open(known.alerts(access, domain), installation_clock(access).now())
    if as_json:
        print_json({**standing, "alerts": [alert.model_dump(mode="json") for alert in waiting]})
        return
    for line in standing_lines(standing):
        out.print(line, markup=False, soft_wrap=True)
    for alert in waiting:
        out.print(f"{'alert':16} {known.line(alert)}", markup=False, soft_wrap=True)


@app.command(epilog='Example: rampa domain pause bore.example --reason "blocked at one provider"')
@friendly
def pause(name: Name, reason: Reason = None, config: Config = None) -> None:
    """Release nothing more from this domain, whatever the campaign."""
    _order(config, name, "pause", reason)


@app.command(epilog="Example: rampa domain resume bore.example")
@friendly
def resume(name: Name, reason: Reason = None, config: Config = None) -> None:
    """Go on with a paused domain. If its relay is down, or refuses the domain, it is tried now."""
    _order(config, name, "resume", reason)


def _order(config: Path | None, name: str, action: Any, reason: str | None) -> None:
    from console.access import Access
    from schemas.command import DomainCommand
    from schemas.domain_names import known_by
    from schemas.topics import DOMAIN_COMMANDS

    access = Access.open(config, say=say)
    domain = known_by(name)
    if domain not in access.settings.domains:
        known = ", ".join(access.settings.domains) or "none yet"
        fail(f"{name!r} is not a sending domain of the settings; known: {known}")
    access.put(DOMAIN_COMMANDS, domain, DomainCommand(domain=domain, action=action, reason=reason))
    out.print(f"{name}: {action} is on its way; see: rampa domain show {name}", markup=False)
