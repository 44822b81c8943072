"""Planners for tests: one that runs for a whole module, and topics of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from planner_world import REQUEST, World

from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_PROGRESS, CAMPAIGN_REQUESTS
from streams.clients import Kafka


@pytest.fixture
def own_world(apache_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[World]:
    """Fresh topics on Apache Kafka; the test starts its planners itself."""
    world = World(apache_kafka, prefix, tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="module", params=["embedded", pytest.param("apache", marks=pytest.mark.apache)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Topics on each broker with a planner at work, shared by the tests of a module: each has ids of its own."""
    kafka: Kafka = request.getfixturevalue(f"{request.param}_kafka")
    world = World(kafka, f"w{uuid4().hex[:8]}.", tmp_path_factory.mktemp("planner"))
    world.put(CAMPAIGN_PROGRESS, b"{}", key="evil")  # before its start: no planner may stumble over it
    world.process()
    # Two that nothing happens to for ten seconds, begun here so that their tests need not wait alone.
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "unseen"})
    world.put(CAMPAIGN_COMMANDS, {"campaign_id": "never", "action": "cancel"}, key="never")
    yield world
    world.close()
