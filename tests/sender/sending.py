"""A gate that a test plays, recipients on the topic, and what the sender answers."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from waiting import eventually

from schemas import topics
from schemas.batch import BatchRecipients, Pointer, Range, part_checksum
from schemas.campaign import Campaign, RecipientSource, ResolvedSchedule, ResolvedTemplate, SourceFingerprint
from schemas.chunk import BatchControl, Chunk, ChunkResult
from schemas.event import MailEvent
from schemas.identity import batch_id
from schemas.records import ClockRecord, InstallationRecord
from schemas.strategy import Step, Strategy
from streams.admin import create_topics
from streams.clients import Kafka, Record, produce_all
from streams.clock import REAL
from streams.context import Context
from streams.settings import Settings
from streams.table import TopicReader

INSTALLATION = "i"
USED = (
    topics.CAMPAIGNS, topics.SUPPRESSIONS, topics.BATCH_RECIPIENTS, topics.CHUNKS, topics.SEND_JOURNAL,
    topics.GATE_INPUTS, topics.MAIL_EVENTS,
)  # fmt: skip
ALL = tuple(t for t in topics.all_topics() if t in USED or t.name == topics.CHUNKS.dlq)


def campaign(**more: Any) -> Campaign:
    """Campaign c, from bore.example by relay main."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "campaign_id": "c", "name": "c", "content_hash": "hash", "created_at": now, "from_email": "hi@bore.example",
        "sending_domain": "bore.example", "relay": "main",
        "template": ResolvedTemplate(subject="Hello {{ name }}", text="Dear {{ name }}\n"),
        "source": RecipientSource(fingerprint=SourceFingerprint(kind="inline", size=1, changed="")),
        "strategy": Strategy(
            name="batch", type="batch", steps=(Step(day=1, daily_limit=None, batch_size=500),), intervals_minutes=(30,)
        ),
        "schedule": ResolvedSchedule(start_at=now, timezone="UTC"), "tags": {"team": "x"},
    }  # fmt: skip
    return Campaign(**(values | more))


def settings(port: int, prefix: str, **relay: Any) -> Settings:
    """Settings whose relay `main` is on that port of this machine."""
    return Settings.model_validate({
        "relays": {"main": {"host": "127.0.0.1", "port": port, "tls": "none", "timeout": "20s", **relay}},
        "domains": {"bore.example": {"relay": "main"}},
        "kafka": {"topic_prefix": prefix},
    })  # fmt: skip


def context(kafka: Kafka, these: Settings, slot: str, data: Path) -> Context:
    """What a sender process is given."""
    now = datetime.now(UTC)
    clock = ClockRecord(epoch_real=0, epoch_virtual=0)
    record = InstallationRecord(id=INSTALLATION, partitions=4, clock=clock, product_version="0", created_at=now)
    return Context(these.model_copy(update={"data": data}), kafka, REAL, record, slot, data / slot)


class SenderThread:
    """`sender.app.run` in a thread of this process."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure: BaseException | None = None

    def _run(self) -> None:
        from sender.app import run

        try:
            run(self._ctx, self._stop)
        except BaseException as e:  # noqa: BLE001 - shown by `stop`
            self.failure = e

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure


@dataclass
class Gate:
    """Issues permits and hears the answers."""

    kafka: Kafka
    prefix: str
    partitions: int = 4
    results: list[ChunkResult] = field(default_factory=list)
    events: list[MailEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_topics(self.kafka, ALL, self.partitions, self.prefix)
        self._producer = self.kafka.producer(linger_ms=0)
        self._results = TopicReader(self.kafka, self.name(topics.GATE_INPUTS))
        self._events = TopicReader(self.kafka, self.name(topics.MAIL_EVENTS))
        self._permits = itertools.count(1)
        self.pointers: dict[int, tuple[Pointer, ...]] = {}
        self._sizes: dict[int, int] = {}

    def close(self) -> None:
        self._results.close()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def name(self, topic: topics.Topic) -> str:
        return topics.named(self.prefix, topic)

    def put(self, topic: topics.Topic, key: str, value: bytes) -> tuple[int, int]:
        place = produce_all(self._producer, [Record(self.name(topic), value, key.encode())])[0]
        return place.partition, place.offset

    def plan(self, emails: Sequence[str], number: int = 1, part: int = 500, **more: Any) -> None:
        """Write a campaign and one batch of its recipients, in parts."""
        self.put(topics.CAMPAIGNS, "c", campaign(**more).encode())
        pointers = []
        for n, start in enumerate(range(0, len(emails), part)):
            rows = [[email, f"person {start + i}"] for i, email in enumerate(emails[start : start + part])]
            record = BatchRecipients(
                campaign_id="c", batch_number=number, part=n, start=start, columns=["email", "name"], rows=rows
            )
            partition, offset = self.put(topics.BATCH_RECIPIENTS, f"c/{number}#w#{n}", record.encode())
            checksum = part_checksum(record.encode())
            pointers.append(
                Pointer(partition=partition, offset=offset, start=start, count=len(rows), checksum=checksum)
            )
        self.pointers[number], self._sizes[number] = tuple(pointers), len(emails)

    def permit(self, ranges: Sequence[Range] = (), number: int = 1, **more: Any) -> Chunk:
        """Issue a permit, by default for the whole batch, for an hour."""
        now, size = datetime.now(UTC), self._sizes[number]
        values: dict[str, Any] = {
            "permit_id": f"main:{next(self._permits):012d}", "relay": "main", "campaign_id": "c",
            "batch_number": number, "batch_size": size, "ranges": tuple(ranges) or ((0, size),),
            "pointers": self.pointers[number], "content_hash": "hash", "checksum": "sum",
            "sending_domain": "bore.example", "day_timezone": "UTC", "connections": 3,
            "until": now + timedelta(hours=1), "issued_at": now,
        }  # fmt: skip
        chunk = Chunk(**(values | more))
        self.send(chunk)
        return chunk

    def order(self, action: str, version: int, number: int = 1, **more: Any) -> None:
        now = datetime.now(UTC)
        self.send(
            BatchControl(
                relay="main", campaign_id="c", batch_number=number, action=action, version=version, at=now, **more
            )
        )

    def send(self, record: Chunk | BatchControl) -> None:
        self.put(topics.CHUNKS, batch_id(record.campaign_id, record.batch_number), record.encode())

    def hear(self) -> None:
        """Take in what has come."""
        self.results += [ChunkResult.decode(r.value or b"") for r in self._results.read(0.02)]
        self.events += [MailEvent.decode(r.value or b"") for r in self._events.read(0.02)]

    def final(self, chunk: Chunk, timeout: float = 60.0) -> ChunkResult:
        """The permit's final result."""

        def there() -> ChunkResult | None:
            self.hear()
            return next((r for r in self.results if r.permit_id == chunk.permit_id and r.final), None)

        found = eventually(there, timeout, f"the final result of {chunk.permit_id}")
        assert found is not None
        return found

    def kinds(self) -> Counter[str]:
        """How many events of each type there are; the same event said twice counts once."""
        return Counter({e.event_id: e.event_type for e in self.events}.values())

    def until(self, events: int, timeout: float = 30.0) -> None:
        """Wait for so many different events."""

        def there() -> bool:
            self.hear()
            return self.kinds().total() >= events

        eventually(there, timeout, lambda: f"{events} events; there are {self.kinds()}")


def people(n: int, domain: str = "mail.example") -> list[str]:
    return [f"p{i}@{domain}" for i in range(n)]


def recipients_of(records: Iterable[Any]) -> Counter[str]:
    """How often each address was mailed, by the receiving server's own record."""
    return Counter(address for record in records for address in record.recipients)
