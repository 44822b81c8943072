"""One step of the owner: what gathers for the next transaction, and what may happen once that is durable."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from schemas.chunk import ChunkResult
from schemas.identity import batch_id
from sender.events import HEADERS as EVENT_HEADERS
from sender.events import event_values
from sender.held import Held
from sender.journal.values import Fact
from sender.traffic import BatchKey
from streams.deadletter import dead_letter
from streams.fenced import Effects, Input, Output, Outputs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Topics:
    """Names on this installation's broker."""

    chunks: str
    gate_inputs: str
    mail_events: str


@dataclass(frozen=True, slots=True)
class Voice:
    """How the owner says things: to which topics, with which tags of a campaign, by which clock in seconds."""

    topics: Topics
    tags: Callable[[str], Mapping[str, str]]
    real: Callable[[], float]


@dataclass(slots=True)
class Part:
    """What one step gathers about one batch: rows, records, and what happens once they are durable."""

    state: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)
    outputs: list[tuple[int, Output]] = field(default_factory=list)
    events: list[tuple[int, Outputs]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)

    def mark(self) -> tuple[int, int, int, int]:
        """How much is gathered."""
        return len(self.state), len(self.outputs), len(self.events), len(self.after)

    def forget(self, mark: tuple[int, int, int, int]) -> None:
        """What was gathered since."""
        gathered: tuple[list[Any], ...] = (self.state, self.outputs, self.events, self.after)
        for one, size in zip(gathered, mark, strict=True):
            del one[size:]


@dataclass(slots=True)
class Turn:
    """What one step gathers: by batch, so that what cannot be written of one is left out as a whole."""

    now: datetime
    voice: Voice
    parts: dict[BatchKey, Part] = field(default_factory=dict)
    letters: list[tuple[int, Output]] = field(default_factory=list)
    touched: dict[BatchKey, Held] = field(default_factory=dict)

    def part(self, key: BatchKey) -> Part:
        """What is gathered about a batch."""
        part = self.parts.get(key)
        if part is None:
            part = self.parts[key] = Part()
        return part

    def effects(self) -> Effects | None:
        """All of it; None: nothing was gathered."""
        effects = Effects(outputs=self.letters)
        after: list[Callable[[], None]] = []
        for part in self.parts.values():
            effects.state += part.state
            effects.outputs += part.outputs
            effects.bulk += part.events
            after += part.after
        effects.token = after
        return effects if after or effects.state or effects.outputs or effects.bulk else None

    def later(self, held: Held, action: Callable[[], None]) -> None:
        """To be done when what is gathered about the batch is durable."""
        self.part(held.key).after.append(action)

    def answer(self, held: Held, result: ChunkResult) -> None:
        """A report on a batch, to the gate."""
        held.shown, held.shown_at = held.journal, self.voice.real()
        self.send(held.key, held.partition, result)

    def send(self, key: BatchKey, partition: int, result: ChunkResult) -> None:
        """A record for the gate."""
        out = Output(self.voice.topics.gate_inputs, result.relay.encode(), result.encode(), ChunkResult.headers())
        self.part(key).outputs.append((partition, out))

    def tell(self, held: Held, facts: Sequence[Fact]) -> None:
        """What happened to messages, to the world."""
        chunk = held.journal.permit.chunk
        if not facts or chunk is None:
            return
        campaign, number = held.key
        tags = self.voice.tags(campaign)
        values = event_values(
            facts, campaign, number, relay=chunk.relay, sending_domain=chunk.sending_domain, tags=tags
        )
        events = Outputs(self.voice.topics.mail_events, batch_id(campaign, number).encode(), values, EVENT_HEADERS)
        self.part(held.key).events.append((held.partition, events))

    def dead(self, record: Input, error: str, attempts: int) -> None:
        """A record of the input that nobody can use."""
        log.warning("%s[%d]@%d is a dead letter: %s", record.topic, record.partition, record.offset, error)
        letter = dead_letter(self.voice.topics.chunks, record, error, attempts, at=datetime.now(UTC))
        self.letters.append((record.partition, letter))
