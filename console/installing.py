"""First start: topics, and the record that all processes share."""

from __future__ import annotations

import time
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from schemas.records import ClockRecord, InstallationRecord
from schemas.topics import all_topics
from streams.admin import ensure_installation
from streams.clients import Kafka
from streams.settings import Settings


def product_version() -> str:
    """The installed version of rampa."""
    try:
        return version("rampa")
    except PackageNotFoundError:
        return "0+unknown"


def install(settings: Settings, kafka: Kafka) -> InstallationRecord:
    """Create missing topics and the installation's record; the record that holds.

    Raises PartitionCountChanged when the topics have other partition counts than recorded.
    """
    real = time.time()
    start = settings.clock.start
    virtual = datetime.fromisoformat(start).timestamp() if start else real
    clock = ClockRecord(epoch_real=real, epoch_virtual=virtual, speed=settings.clock.speed)
    return ensure_installation(
        kafka,
        all_topics(),
        partitions=settings.kafka.partitions,
        prefix=settings.kafka.topic_prefix,
        replication=settings.kafka.replication,
        clock=clock,
        product_version=product_version(),
    )
