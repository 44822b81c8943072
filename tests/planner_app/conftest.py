"""Planners for tests: one that runs for a whole module, and topics of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from planner_world import World

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
    world.process()
    yield world
    world.close()
