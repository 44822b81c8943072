"""Dead letters as a person sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from console.access import Access
from console.errors import ConsoleError, WrongUsage
from schemas.topics import TOPICS
from schemas.topics import topic as topic_named
from streams.clients import Record, produce_all
from streams.deadletter import OURS
from streams.fenced.model import Input
from streams.table import read_topic


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that nobody could use. `place` names it on its dead-letter topic."""

    topic: str
    place: str
    key_bytes: bytes | None
    value: bytes | None
    headers: dict[str, str]
    original_headers: tuple[tuple[str, bytes], ...]

    @property
    def key(self) -> str:
        return (self.key_bytes or b"").decode("utf-8", "replace")

    @property
    def error(self) -> str:
        return self.headers.get("error", "")

    @property
    def at(self) -> str:
        return self.headers.get("at", "")

    def text(self) -> str:
        """The original bytes, readable."""
        return (self.value or b"").decode("utf-8", "backslashreplace")

    def summary(self) -> dict[str, Any]:
        return {"place": self.place, "key": self.key, **self.headers, "value": self.text()}


def headers_of(record: Input) -> dict[str, str]:
    """The headers of a dead letter as text."""
    return {name: value.decode("utf-8", "replace") for name, value in record.headers}


def letters(access: Access, topic: str | None = None) -> Iterator[Letter]:
    """The dead letters of one topic, or of all, as they lie. Raises ConsoleError for a topic that has none."""
    names = [t.name for t in TOPICS if t.dead_letters]
    wanted = (topic or "").removesuffix(".dlq")
    if topic is not None and wanted not in names:
        raise ConsoleError(f"{topic!r} has no dead-letter topic; those that have: {', '.join(names)}")
    for name in [wanted] if topic is not None else names:
        source = access.name(topic_named(name)) + ".dlq"
        for r in read_topic(access.kafka, source):
            place = f"{name}/{r.partition}/{r.offset}"
            kept = tuple((k, v) for k, v in r.headers if k not in OURS)
            yield Letter(name, place, r.key, r.value, headers_of(r), kept)


def newest_last(found: Iterable[Letter]) -> list[Letter]:
    """By the time at which each was put aside; those of one time, or without one, as they lie. Pure."""
    return sorted(found, key=lambda letter: letter.at)


def one(access: Access, place: str) -> Letter:
    """The dead letter at TOPIC/PARTITION/OFFSET. Raises ConsoleError when there is none, WrongUsage for no place."""
    name = check_place(place)
    for letter in letters(access, name):
        if letter.place == place:
            return letter
    raise ConsoleError(f"There is no dead letter at {place!r}; `rampa dlq list` shows them as TOPIC/PARTITION/OFFSET.")


def check_place(place: str) -> str:
    """The topic of TOPIC/PARTITION/OFFSET. Raises WrongUsage when it is no place."""
    topic, *numbers = place.rsplit("/", 2)
    if not topic or len(numbers) != 2 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise WrongUsage(f"{place!r} is not TOPIC/PARTITION/OFFSET; `rampa dlq list` shows the places of dead letters.")
    return topic


def put_back(access: Access, letter: Letter) -> None:
    """Write it to its topic once more."""
    target = access.name(topic_named(letter.topic))
    record = Record(target, letter.value, letter.key_bytes, None, letter.original_headers)
    produce_all(access.kafka.producer(linger_ms=0), [record])
