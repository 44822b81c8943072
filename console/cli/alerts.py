"""`rampa alerts`: what an operator should look at."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.common import AsJson, Config, friendly, out, print_json, say

if TYPE_CHECKING:
    from schemas.records import Alert


@friendly
def alerts(
    domain: Annotated[
        str | None, typer.Argument(metavar="[DOMAIN]", help="Of this sending domain; default: all.", show_default=False)
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with those that come; with --json one object a line.")
    ] = False,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only those that are not over: no failures, which have happened.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Relays that refuse everything, or one of our domains; senders that do not answer, used-up quotas, failed chunks
    and batches, recipients in doubt; oldest first.

    With --open: a relay or domain, and what is said by now, until its mail is taken again, senders until one answers, a
    quota until its UTC day has ended, doubt until nobody is in doubt. Chunks and batches that failed have happened;
    they are never open."""
    from console import alerts as known
    from console.access import Access
    from console.clock import installation_clock
    from console.domains import known_domain
    from schemas.progress import CampaignProgress
    from schemas.topics import CAMPAIGN_PROGRESS

    access = Access.open(config, say=say)
    name = known_domain(domain, access.settings.domains) if domain else None
    if follow:
        for alert in known.alerts(access, name, follow=True):
            _show(alert, as_json=as_json)
        return
    found = list(known.alerts(access, name))
    shown = found
    if only_open:
        shown = known.still_open(found, installation_clock(access).now())
        if any(alert.kind in known.SAID for alert in shown):
            shown = known.as_of_now(shown, access.newest(CAMPAIGN_PROGRESS, CampaignProgress).values())
    if as_json:
        print_json([alert.model_dump(mode="json") for alert in shown])
        return
    for alert in shown:
        _show(alert)
    if not shown:
        out.print("No alerts.")


def _show(alert: Alert, *, as_json: bool = False) -> None:
    from console.alerts import line

    if as_json:
        sys.stdout.write(alert.encode().decode() + "\n")
        sys.stdout.flush()
        return
    style = "dim" if alert.resolved else {"critical": "red", "warning": "yellow"}.get(alert.severity)
    out.print(line(alert), style=style, markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("alerts", epilog="Example: rampa alerts --follow")(alerts)
