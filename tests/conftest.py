"""Brokers for tests: the embedded one and Apache Kafka, each started once, when a test first asks for it.

A test that runs on both takes `any_kafka`. Every test names its topics, groups and transactional ids with its
own `prefix`, so tests share a broker without seeing each other and pass in any order.
"""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from waiting import eventually

from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.jars import default_home, fetch
from streams.brokers.local import QUICK, LocalBroker
from streams.clients import Kafka
from streams.errors import BrokerNotInstalled

# Two slow cores that other tests use too: how long an example takes says nothing.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

_numbers = itertools.count()


@pytest.fixture(scope="session")
def kafka_home() -> Path:
    """Apache Kafka's jars. Without them: a failure with CI=true, else a skip that says why."""
    home = default_home()
    try:
        fetch(home)
    except BrokerNotInstalled as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"Apache Kafka is needed here: {error}")
        sys.stderr.write(f"\n!! tests on Apache Kafka are skipped: {error}\n")
        pytest.skip(f"Apache Kafka: {error}")
    return home


@pytest.fixture(scope="session")
def embedded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The embedded broker, one for the whole run."""
    with EmbeddedBroker(tmp_path_factory.mktemp("embedded")) as broker:
        yield broker.kafka


@pytest.fixture(scope="session")
def apache_kafka(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Apache Kafka, one JVM for the whole run. Tests that stop it start a `LocalBroker` of their own."""
    with LocalBroker(tmp_path_factory.mktemp("apache"), home=kafka_home, jvm_options=QUICK) as broker:
        yield broker.kafka


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.apache)])
def any_kafka(request: pytest.FixtureRequest) -> Kafka:
    """Both brokers, one after the other."""
    kafka: Kafka = request.getfixturevalue(f"{request.param}_kafka")
    return kafka


@pytest.fixture
def prefix() -> str:
    """What this test's topics, groups and transactional ids begin with; never used before."""
    return f"t{next(_numbers)}-{uuid.uuid4().hex[:8]}."


@pytest.fixture
def wait_for() -> Callable[..., object]:
    """Wait for a condition with a deadline: see `waiting.eventually`."""
    return eventually
