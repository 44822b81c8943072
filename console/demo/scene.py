"""What the demo is about: its settings and its campaigns. Pure values from the files beside it."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

from schemas.request import CampaignRequest

SPEED = 30_000.0
"""Seconds of the demo's clock in one real second: a day takes 2.9 s."""
STARTS = "2026-02-02T11:00:00Z"  # a Monday, 06:00 in Bogotá
COLLECTION = "cobranza-2026-02"
SEGMENTS = ("checked-in", "waitlist", "no-show")
SUBJECTS = {
    "checked-in": "Thank you for coming, {{ first_name }}",
    "waitlist": "{{ first_name }}, your seat at the next evening",
    "no-show": "We missed you, {{ first_name }}",
}
ONE_IN = 30
"""The meetup's relay closes one connection in thirty before it answers DATA."""


def asset(name: str) -> Path:
    """A file beside this module."""
    return Path(str(files("console.demo") / name))


def _html(name: str) -> str:
    return asset(f"{name}.html").read_text("utf-8")


def settings_toml(data: Path, port: int, meetup_port: int, speed: float) -> str:
    """The settings of the demo's installation, as a user would write them."""
    return f"""\
data = "{data}"
archive_after = "1000d"            # a month is a minute and a half here: look at the campaigns for longer

[kafka]
bootstrap = "embedded"
partitions = 4

[clock]
speed = {speed}
start = "{STARTS}"

[relays.main]                      # the collection's relay: a mailbox simulator on this machine
host = "127.0.0.1"
port = {port}
tls = "none"
connections = 10

[relays.meetup]                    # closes one connection in {ONE_IN} before it answers DATA
host = "127.0.0.1"
port = {meetup_port}
tls = "none"
preset = "improvmx"                # 3 connections, 5/s
messages_per_connection = 1

[domains."bore.example"]
relay = "main"
timezone = "America/Bogota"

[domains."meetup.example"]
relay = "meetup"
timezone = "Europe/Madrid"

[warmup]
assume = "healthy"                 # the demo has no feedback: every sending day counts as a good one
"""


def collection(now: datetime) -> CampaignRequest:
    """The 4200 debtors, by ramp_up from a cold domain, from the morning after next on."""
    morning = (now + timedelta(days=2)).replace(hour=5, minute=0, second=0, microsecond=0)  # midnight in Bogotá
    return CampaignRequest.model_validate({
        "campaign_id": COLLECTION,
        "name": "Cobranza febrero",
        "from": {"email": "cobros@bore.example", "name": "Bore"},
        "template": {"subject": "{{ first_name }}, tu factura de ${{ amount }}", "html": _html("cobranza")},
        "recipients": {"uri": asset("clients.csv").resolve().as_uri()},
        "strategy": {"type": "ramp_up"},
        "schedule": {"start_at": morning.isoformat(), "timezone": "America/Bogota", "window": None,
                     "skip_weekends": False},
        "tags": {"team": "collections"},
    })  # fmt: skip


def follow_ups() -> list[CampaignRequest]:
    """The meetup's three segments of one file."""
    return [
        CampaignRequest.model_validate({
            "campaign_id": f"meetup-{segment}",
            "name": f"Meetup: {segment}",
            "from": {"email": "hello@meetup.example", "name": "The meetup"},
            "template": {"subject": SUBJECTS[segment], "html": _html(segment)},
            "recipients": {"uri": asset("attendees.csv").resolve().as_uri(), "where": {"status": segment}},
            "strategy": {"type": "batch"},
        })
        for segment in SEGMENTS
    ]  # fmt: skip
