"""What a command reads of topics on which anybody may write anything."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from confluent_kafka.cimpl import NewTopic

from console.access import Access
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_PROGRESS
from streams.clients import Kafka
from streams.settings import KafkaSettings, Settings


@pytest.fixture
def access(embedded_kafka: Kafka, prefix: str) -> Access:
    settings = Settings(kafka=KafkaSettings(topic_prefix=prefix))
    topic = NewTopic(prefix + CAMPAIGN_PROGRESS.name, 2, 1, config=CAMPAIGN_PROGRESS.config())
    admin = embedded_kafka.admin()
    for future in admin.create_topics([topic]).values():
        future.result(20)
    return Access(settings, embedded_kafka)


def test_a_record_that_nobody_can_read_is_left_out_with_a_warning(
    access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    good = CampaignProgress(campaign_id="c", state="running", updated_at=datetime(2026, 2, 2, tzinfo=UTC))
    for key, value in (
        ("c", b"{}"), ("c", good), ("evil", b"{}"), ("list", b"[1]"), ("gone", b"{}"), ("gone", None),
    ):  # fmt: skip
        access.put(CAMPAIGN_PROGRESS, key, value)
    with caplog.at_level(logging.WARNING):
        assert access.newest(CAMPAIGN_PROGRESS, CampaignProgress) == {"c": good}
    said = sorted(r.getMessage().partition(", ")[2] for r in caplog.records if r.name == "console.access")
    assert said == [
        "key evil, is left out: it is no CampaignProgress", "key list, is left out: it is no CampaignProgress",
    ]  # fmt: skip
