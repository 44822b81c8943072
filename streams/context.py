"""What a worker process is given: settings, broker, clock, and its place in the installation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.records import InstallationRecord
from schemas.topics import Topic, named
from streams.clients import Kafka
from streams.clock import Clock
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a role is built from. `slot` names this process among those of its role."""

    settings: Settings
    kafka: Kafka
    clock: Clock
    installation: InstallationRecord
    slot: str
    data: Path

    def topic(self, t: Topic) -> str:
        """The topic's name on this installation's broker."""
        return named(self.settings.kafka.topic_prefix, t)

    def group(self, role: str) -> str:
        """The consumer group of a role."""
        return f"{self.settings.kafka.topic_prefix}rampa-{role}"

    def transactional_id(self, role: str) -> str:
        """Stable for a slot of this data directory: its next start aborts what its predecessor left open."""
        return f"{self.settings.kafka.topic_prefix}rampa-{role}-{self.slot}"
