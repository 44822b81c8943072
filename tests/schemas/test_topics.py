"""The registry holds what the contract names."""

from __future__ import annotations

import pytest

from schemas.topics import TOPICS, all_topics, topic

CONTRACT = {
    "campaign.requests": "delete", "campaign.commands": "delete", "domain.commands": "delete",
    "planner.inputs": "delete",
    "campaigns": "compact", "campaign.invalid_rows": "delete", "batch.recipients": "compact", "gate.inputs": "delete",
    "gate.state": "compact", "batches": "compact", "campaign.progress": "compact", "chunks": "delete",
    "send.journal": "compact", "mail.events": "delete", "reputation.counts": "compact", "domain.reputation": "compact",
    "campaign.fallbacks": "delete", "templates": "compact", "suppressions": "compact", "alerts": "delete",
    "installation": "compact",
}  # fmt: skip


def test_the_topics_are_those_of_the_contract() -> None:
    assert {t.name: t.cleanup for t in TOPICS} == CONTRACT


def test_what_a_role_reads_from_others_has_dead_letters() -> None:
    names = {t.name for t in all_topics()}
    for read in (
        "campaign.requests",
        "campaign.commands",
        "domain.commands",
        "planner.inputs",
        "gate.inputs",
        "chunks",
        "mail.events",
    ):
        assert f"{read}.dlq" in names


def test_retention_is_in_milliseconds() -> None:
    assert topic("campaign.requests").config() == {"cleanup.policy": "delete", "retention.ms": "604800000"}
    assert topic("campaigns").config() == {"cleanup.policy": "compact"}


def test_a_dead_letter_has_room_for_a_full_record_and_its_reasons() -> None:
    assert int(topic("campaign.requests.dlq").config()["max.message.bytes"]) > 1_048_576


def test_an_unknown_topic_says_where_to_look() -> None:
    with pytest.raises(KeyError, match="rampa topics list"):
        topic("campain.requests")
