"""How a command reaches an installation: its broker, its topics, its clock."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from console.errors import ConsoleError, NotRunning
from schemas.base import Model
from schemas.topics import Topic, named
from streams.brokers.lock import running
from streams.clients import Kafka, Place, Record, produce_all, wait_for_broker
from streams.fenced.model import Input
from streams.settings import Settings, SettingsError, load
from streams.table import GlobalTable, read_topic

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Model)
OWN_BROKERS = ("embedded", "local")


def broker_directory(settings: Settings) -> Path:
    """Where the embedded or local broker keeps its lock, log and data."""
    return settings.data / f"kafka-{settings.kafka.bootstrap}"


def settings_of(config: Path | None) -> Settings:
    """The settings. Raises ConsoleError with every problem."""
    try:
        return load(config)
    except SettingsError as e:
        raise ConsoleError(f"The settings cannot be used: {e}") from None


def sending_settings_of(config: Path | None) -> Settings:
    """The settings of who sends: with the secrets that it takes. Raises ConsoleError with every problem."""
    settings = settings_of(config)
    lacking = [
        f"  relays.{name}: {relay.lacks}; set it ({password_place(name)}), or leave username out"
        for name, relay in settings.relays.items() if relay.lacks
    ]  # fmt: skip
    if lacking:
        raise ConsoleError("\n".join(["The settings cannot be used:", *lacking]))
    return settings


def password_place(relay: str) -> str:
    """Where the password of a relay is written."""
    variable = f"RAMPA_RELAYS__{relay.upper()}__PASSWORD"
    return f"{variable} in the environment" if relay.isidentifier() else f'"password" in [relays.{relay}]'


def kafka_of(settings: Settings) -> Kafka:
    """Clients for the installation's broker. Raises NotRunning when our own broker is not up."""
    kafka = settings.kafka
    timeout = int(kafka.session_timeout / timedelta(milliseconds=1))
    if kafka.bootstrap not in OWN_BROKERS:
        return Kafka(kafka.bootstrap, kafka.client_options(), session_timeout_ms=timeout)
    found = running(broker_directory(settings))
    if found is None:
        raise NotRunning(
            f'No {kafka.bootstrap} broker runs on the data directory "{settings.data}". Start it with `rampa up` '
            "in another terminal, or name a cluster in kafka.bootstrap."
        )
    return Kafka(found.bootstrap, {}, session_timeout_ms=timeout, embedded=kafka.bootstrap == "embedded")


def data_id(data: Path) -> str:
    """The random id of a data directory, made at its first use: it names this installation's processes."""
    data.mkdir(parents=True, exist_ok=True)
    file = data / "id"
    try:
        with file.open("x", encoding="ascii") as f:
            f.write(uuid.uuid4().hex[:12])
    except FileExistsError:
        pass
    text = file.read_text(encoding="ascii").strip()
    if not text:
        raise ConsoleError(f"{file} is empty; remove it and start again")
    return text


@dataclass(frozen=True, slots=True)
class Access:
    """Reading and writing topics on behalf of a person."""

    settings: Settings
    kafka: Kafka

    @classmethod
    def open(cls, config: Path | None, *, say: Callable[[str], None] = lambda _: None, wait: float = 10.0) -> Access:
        """Reach the broker of the settings. Raises ConsoleError, BrokerUnavailable or BrokerRefused."""
        settings = settings_of(config)
        kafka = kafka_of(settings)
        wait_for_broker(kafka, wait, say)
        return cls(settings, kafka)

    def name(self, topic: Topic) -> str:
        """The topic's name on this broker."""
        return named(self.settings.kafka.topic_prefix, topic)

    def put(self, topic: Topic, key: str | None, value: Model | bytes | None) -> Place:
        """Write one record and return where it lies. Raises DeliveryFailed."""
        body = value.encode() if isinstance(value, Model) else value
        headers = value.headers() if isinstance(value, Model) else ()
        producer = self.kafka.producer(linger_ms=0)
        record = Record(self.name(topic), body, None if key is None else key.encode(), None, headers)
        return produce_all(producer, [record], timeout=15.0)[0]

    def table(self, topic: Topic, model: type[M], only: str | None = None) -> GlobalTable[M]:
        """A compacted topic as a table that is followed; `only` keeps one key."""
        keep = None if only is None else (lambda key, _: key == only)
        return GlobalTable(self.kafka, self.name(topic), model.decode, filter=keep).start()

    def newest(self, topic: Topic, model: type[M], keep: Callable[[bytes], bool] | None = None) -> dict[str, M]:
        """The newest record of each key of a compacted topic, as it stands now.

        One that is not a `model` (anybody may write anything) is left out, with a warning in the log.
        """
        newest: dict[bytes, Input] = {}
        for record in read_topic(self.kafka, self.name(topic)):
            key = record.key or b""
            if record.value is None:
                newest.pop(key, None)
            elif keep is None or keep(key):
                newest[key] = record
        found: dict[str, M] = {}
        for key, record in newest.items():
            name = key.decode(errors="replace")
            try:
                found[name] = model.decode(record.value or b"")
            except ValueError:
                place = f"{record.topic}[{record.partition}]@{record.offset}"
                log.warning("%s, key %s, is left out: it is no %s", place, name, model.__name__)
        return found
