"""Following one campaign in a terminal until it ends."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live

from console.access import Access
from console.views import status_panel
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_PROGRESS

ENDED = frozenset({"completed", "cancelled", "rejected", "failed"})


def watch_campaign(access: Access, campaign_id: str, screen: Console) -> CampaignProgress | None:
    """Show the campaign's figures until it ends; the last of them. Ctrl-C stops watching."""
    with access.table(CAMPAIGN_PROGRESS, CampaignProgress, only=campaign_id) as table:
        table.ready(10)
        shown: CampaignProgress | None = None
        with Live(console=screen, refresh_per_second=8, transient=False) as live:
            while shown is None or shown.state not in ENDED:
                found = table.get(campaign_id)
                if found is not None and found != shown:
                    live.update(status_panel(found))
                    shown = found
                time.sleep(0.1)
        return shown
