"""Following one campaign in a terminal until it ends."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live

from console.access import Access
from console.views import progress_line, status_panel
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_PROGRESS
from streams.table import GlobalTable

ENDED = frozenset({"completed", "cancelled", "rejected", "failed"})


LINE_EVERY = 3.0
"""Seconds between two lines, where there is no terminal to draw on."""


def watch_campaign(
    access: Access, campaign_id: str, screen: Console, *, line_every: float = LINE_EVERY
) -> CampaignProgress | None:
    """Show the campaign's figures until it ends; the last of them. Ctrl-C stops watching.

    Where `screen` is no terminal: a line when something has changed, and the figures at the end.
    """
    with access.table(CAMPAIGN_PROGRESS, CampaignProgress, only=campaign_id) as table:
        table.ready(10)
        if screen.is_terminal:
            return _draw(table, campaign_id, screen)
        return _write(table, campaign_id, screen, line_every)


def _draw(table: GlobalTable[CampaignProgress], campaign_id: str, screen: Console) -> CampaignProgress | None:
    shown: CampaignProgress | None = None
    with Live(console=screen, refresh_per_second=8, transient=False) as live:
        while shown is None or shown.state not in ENDED:
            found = table.get(campaign_id)
            if found is not None and found != shown:
                live.update(status_panel(found))
                shown = found
            time.sleep(0.1)
    return shown


def _write(
    table: GlobalTable[CampaignProgress], campaign_id: str, screen: Console, every: float
) -> CampaignProgress | None:
    said, due = "", time.monotonic()
    while True:
        found = table.get(campaign_id)
        ended = found is not None and found.state in ENDED
        line = progress_line(found) if found is not None else said
        if line != said and (ended or time.monotonic() >= due):
            screen.print(line, markup=False, soft_wrap=True)
            said, due = line, time.monotonic() + every
        if found is not None and ended:
            screen.print(status_panel(found))
            return found
        time.sleep(0.1)
