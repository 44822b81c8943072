"""The demo: start everything, submit, show it live, then account for everybody."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from console.access import Access, settings_of
from console.clock import clock_of
from console.demo import report, scene
from console.stack import Stack
from console.views import campaigns_table, conservation
from console.watching import ENDED
from planner.resolve import resolve_strategy
from schemas.progress import CampaignProgress
from schemas.strategy import StrategySpec
from schemas.topics import CAMPAIGN_PROGRESS, CAMPAIGN_REQUESTS
from simulator.process import SimulatorProcess
from simulator.record import RecordEntry
from simulator.rules import Drop
from streams.clock import ScaledClock
from streams.table import GlobalTable

GIVE_UP_AFTER = 600.0
"""Real seconds after which the demo says that it did not end; it takes about 75."""
BOGOTA = "America/Bogota"


def run_demo(screen: Console, *, keep: bool = False, data: Path | None = None, speed: float | None = None) -> bool:
    """Run it. True when everybody was mailed once and every limit was kept."""
    with ExitStack() as stack:
        home = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rampa-demo-")))
        home.mkdir(parents=True, exist_ok=True)
        screen.print(f"Everything of this demo is in {home}", style="dim", markup=False)
        provider = stack.enter_context(SimulatorProcess(home / "provider", maildir=True))
        drop = Drop(at="data", when="before", every_connection=scene.ONE_IN)
        meetup = stack.enter_context(SimulatorProcess(home / "meetup", rules=[drop]))
        config = home / "rampa.toml"
        config.write_text(
            scene.settings_toml(home / "var", provider.port, meetup.port, speed or scene.SPEED), encoding="utf-8"
        )
        started = time.monotonic()
        up = stack.enter_context(Stack(settings_of(config), config, lambda text: screen.print(text, style="dim")))
        screen.print(f"broker, planner, gate and sender started in {time.monotonic() - started:.1f} s", style="dim")
        assert up.kafka is not None and up.installation is not None  # noqa: S101, PT018 - it was started
        access = Access(up.settings, up.kafka)
        clock = clock_of(up.installation)
        _submit(access, clock)
        with access.table(CAMPAIGN_PROGRESS, CampaignProgress) as table:
            last = _watch(screen, table, clock)
        good = _account(screen, last, list(provider.records()), list(meetup.records()), clock)
        _look_at_one(screen, provider.maildir_path)
        _next_steps(screen, config)
        if keep:
            _stay(screen)
        return good


def _submit(access: Access, clock: ScaledClock) -> None:
    for request in (scene.collection(clock.now()), *scene.follow_ups()):
        access.put(CAMPAIGN_REQUESTS, request.campaign_id, request)


def _watch(screen: Console, table: GlobalTable[CampaignProgress], clock: ScaledClock) -> list[CampaignProgress]:
    wanted = 1 + len(scene.SEGMENTS)
    deadline = time.monotonic() + GIVE_UP_AFTER
    with Live(console=screen, refresh_per_second=8) as live:
        while True:
            rows = [p for _, p in sorted(table.items())]
            local = clock.now()
            title = Text(f"{local:%A %Y-%m-%d %H:%M} UTC, at {clock.speed:,.0f} times real speed", style="bold")
            live.update(Group(title, campaigns_table(rows)))
            if (len(rows) == wanted and all(p.state in ENDED for p in rows)) or time.monotonic() > deadline:
                return rows
            time.sleep(0.12)


def _account(
    screen: Console,
    campaigns: list[CampaignProgress],
    collection: list[RecordEntry],
    meetup: list[RecordEntry],
    clock: ScaledClock,
) -> bool:
    strategy = resolve_strategy(StrategySpec(type="ramp_up"), {}, warm=False)
    rows = report.days(collection, clock, BOGOTA, strategy)
    screen.print("\nDay by day, by the receiving server's own record (Bogotá):", style="bold")
    screen.print(report.days_table(rows))
    screen.print("\nEverybody accounted for:", style="bold")
    for p in campaigns:
        screen.print(
            f"  {p.campaign_id:20} {conservation(p)}   ({p.batches.total} batches)", markup=False, soft_wrap=True
        )
    both = collection + meetup
    expected = sum(p.recipients - p.invalid - p.duplicate for p in campaigns)
    doubled = report.twice(both)
    took = f"\nThe servers took {len(both)} of {expected} mails, {doubled} of them twice; the meetup's relay "
    took += f"closed one connection in {scene.ONE_IN} before it answered DATA."
    screen.print(took, markup=False, soft_wrap=True)
    kept = all(r.kept for r in rows)
    done = all(p.state == "completed" and p.conserved() == p.recipients for p in campaigns)
    good = done and kept and doubled == 0 and len(both) == expected and len(campaigns) == 1 + len(scene.SEGMENTS)
    verdict = "Nobody twice, nobody forgotten, no day over its limit." if good else "Something is not as it should be."
    screen.print(verdict, style="bold green" if good else "bold red")
    return good


def _look_at_one(screen: Console, maildir: Path) -> None:
    mails = sorted((maildir / "new").glob("*"))
    if mails:
        screen.print("\nOne of the mails:", style="bold")
        screen.print(mails[0].read_text("utf-8", "replace"), style="dim", markup=False, soft_wrap=True)


def _next_steps(screen: Console, config: Path) -> None:
    screen.print("What to try next:", style="bold")
    for line in (
        "rampa demo --keep           and in another terminal, with --config " + str(config) + ":",
        "rampa campaign status cobranza-2026-02      rampa campaign recipients cobranza-2026-02 | head",
        "rampa init                  a campaign of your own: settings, three recipients, mail into var/mail",
    ):
        screen.print("  " + line, markup=False, soft_wrap=True)


def _stay(screen: Console) -> None:
    screen.print("Still running; Ctrl-C stops it.")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        screen.print("stopping")
