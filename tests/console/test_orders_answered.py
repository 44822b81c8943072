"""What `rampa campaign resolve` says, by what the gate answers; the test plays planner and gate."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from waiting import eventually

from console.access import Access
from console.submitting import Answer, command
from schemas.command import CampaignCommand, GateCommand, Origin
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_PROGRESS, GATE_INPUTS, all_topics
from streams.admin import create_topics
from streams.clients import Kafka, Record, produce_all
from streams.deadletter import dead_letter
from streams.fenced import Input
from streams.settings import KafkaSettings, Settings
from streams.table import TopicReader

NOW = datetime(2026, 2, 2, tzinfo=UTC)
ASIDE = "resolve: 1 recipient was settled, but a batch is put aside and nobody of it was: batch 2: row c/2#0"


@pytest.fixture
def access(embedded_kafka: Kafka, prefix: str) -> Access:
    used = {CAMPAIGN_COMMANDS.name, CAMPAIGN_COMMANDS.dlq, CAMPAIGN_PROGRESS.name, GATE_INPUTS.name, GATE_INPUTS.dlq}
    create_topics(embedded_kafka, [t for t in all_topics() if t.name in used], 1, prefix)
    return Access(Settings(kafka=KafkaSettings(topic_prefix=prefix)), embedded_kafka)


def in_doubt(access: Access, n: int) -> None:
    progress = CampaignProgress(campaign_id="c", state="completed", recipients=3, in_doubt=n, updated_at=NOW)
    access.put(CAMPAIGN_PROGRESS, "c", progress)


def gate(access: Access, left: int, refusal: str | None) -> None:
    """Waits for the order; so many are in doubt afterwards, and then it is a dead letter."""
    reader = TopicReader(access.kafka, access.name(CAMPAIGN_COMMANDS))
    record = eventually(lambda: next(iter(reader.read(0.1)), None), 30, "the order")
    reader.close()
    assert record is not None
    order = CampaignCommand.decode(record.value or b"")
    in_doubt(access, left)
    if refusal is None:
        return
    said = GateCommand(
        relay="main", origin=Origin(topic=record.topic, partition=record.partition, offset=record.offset), at=NOW,
        campaign_id="c", action="resolve", resolution=order.resolution,
    )  # fmt: skip
    given = Input(access.name(GATE_INPUTS), 0, 0, b"main", said.encode(), (), 0)
    letter = dead_letter(given.topic, given, refusal, 1, at=NOW)
    produce_all(access.kafka.producer(), [Record(letter.topic, letter.value, letter.key, None, letter.headers)])


ACCEPTED = CampaignCommand(campaign_id="c", action="resolve", resolution="accepted")


def answer(access: Access, left: int, refusal: str | None, order: CampaignCommand = ACCEPTED) -> Answer:
    in_doubt(access, 2)
    played = threading.Thread(target=gate, args=(access, left, refusal))
    played.start()
    try:
        return command(access, order)
    finally:
        played.join(30)


def test_an_order_that_a_batch_could_not_carry_out_says_so_though_others_could(access: Access) -> None:
    said = answer(access, 1, ASIDE)
    assert said.state == "refused"
    assert "".join(said.refused).startswith("resolve: 1 recipient was settled, but a batch is put aside")


def test_an_order_on_the_strategy_says_that_the_schedule_stays(access: Access) -> None:
    said = answer(access, 1, None, CampaignCommand(campaign_id="c", action="strategy", strategy={"type": "batch"}))
    assert said.state == "strategy done; it is completed; the schedule (window, weekends) stays as it was planned"


def test_an_order_that_settled_everybody_is_done_at_once(access: Access) -> None:
    said = answer(access, 0, None)
    assert (said.state, said.refused) == ("resolve done; it is completed", ())
