"""A campaign that is followed where there is no terminal."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from console.access import Access
from console.views import progress_line
from console.watching import watch_campaign
from schemas.batch import HoldReason
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_PROGRESS
from streams.clients import Kafka
from streams.settings import KafkaSettings, Settings

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)


def progress(**more: object) -> CampaignProgress:
    return CampaignProgress.model_validate(
        {"campaign_id": "c", "state": "running", "recipients": 10, "waiting": 10, "updated_at": NOW, **more}
    )


def test_a_line_says_where_a_campaign_stands_and_what_holds_it() -> None:
    hold = HoldReason(reason="window", detail="it is\x1b night")
    said = progress_line(progress(accepted=4, waiting=5, in_doubt=1, percent=50.2, holds=[hold]))
    assert said == "c: running, 50 %: 4 accepted, 5 waiting, 0 in flight, 1 in doubt; held: it is  night"


def test_without_a_terminal_what_changes_is_written_line_by_line(
    embedded_kafka: Kafka, prefix: str, wait_for: Callable[..., object]
) -> None:
    access = Access(Settings(kafka=KafkaSettings(topic_prefix=prefix)), embedded_kafka)
    topic = NewTopic(prefix + CAMPAIGN_PROGRESS.name, 1, 1, config=CAMPAIGN_PROGRESS.config())
    admin = embedded_kafka.admin()
    for future in admin.create_topics([topic]).values():
        future.result(20)
    access.put(CAMPAIGN_PROGRESS, "c", progress())
    text, seen = io.StringIO(), list[CampaignProgress | None]()
    screen = Console(file=text, width=200, highlight=False)
    watching = threading.Thread(
        target=lambda: seen.append(watch_campaign(access, "c", screen, line_every=0.0)), daemon=True
    )
    watching.start()
    wait_for(lambda: "10 waiting" in text.getvalue())
    access.put(CAMPAIGN_PROGRESS, "c", progress(accepted=5, waiting=5))
    wait_for(lambda: "5 waiting" in text.getvalue())
    access.put(CAMPAIGN_PROGRESS, "c", progress(accepted=5, waiting=5, updated_at=NOW.replace(hour=11)))
    last = progress(state="completed", accepted=10, waiting=0)
    access.put(CAMPAIGN_PROGRESS, "c", last)
    watching.join(60)
    assert seen == [last]
    lines = text.getvalue().splitlines()
    assert [line.split(":")[1].strip() for line in lines[:3]] == ["running, 0 %", "running, 0 %", "completed, 0 %"]
    assert "10 = 0 invalid" in text.getvalue()
    assert text.getvalue().endswith("\n")
