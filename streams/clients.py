"""One factory for every confluent-kafka client, so that all of them agree.

What must be the same everywhere is set here once: the partitioner of the Java client and of Faust
(librdkafka's own default puts keys elsewhere), acknowledgement by all replicas, idempotence, commits only by
hand, read-committed, and the security settings that a user wrote. Log lines and errors of librdkafka go to
the logger `streams.kafka`, with every secret removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from streams.errors import BrokerRefused, BrokerUnavailable, DeliveryFailed

_log = logging.getLogger("streams.kafka")

_SECRET_WORDS = ("password", "secret", "token", "key.pem", "oauthbearer.config", "jaas")
_REFUSALS = frozenset({
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
})  # fmt: skip

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One record to produce. Without `partition` its key decides (murmur2; no key: any)."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an acknowledged record lies."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Kafka:
    """How to reach Kafka, and the clients that do. Builds clients; opens no connection itself.

    `options` are librdkafka settings as a user writes them (`sasl_password` or `sasl.password`); they reach
    every client. `session_timeout_ms` is how long a silent group member keeps its partitions.
    `embedded` says that this is the in-memory broker, whose limits a few callers must know.
    """

    bootstrap: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    session_timeout_ms: int = 6_000
    embedded: bool = False

    def producer(self, **overrides: Any) -> Producer:
        """An idempotent producer: acknowledged by all replicas, in order, without duplicates of its own.

        Overrides are librdkafka settings with underscores for dots (`linger_ms=0`), here and below.
        """
        return Producer(
            self._config(
                {
                    "enable.idempotence": True,
                    "acks": "all",
                    "partitioner": "murmur2_random",
                    "linger.ms": 5,
                    "queue.buffering.max.messages": 500_000,
                    "queue.buffering.max.kbytes": 65_536,
                },
                overrides,
            )
        )

    def transactional(self, transactional_id: str, transaction_timeout_ms: int = 10_000, **overrides: Any) -> Producer:
        """A transactional producer; the caller runs `init_transactions`, which fences its predecessor.

        `retry.backoff.ms` of 1 and no linger: at the defaults transactions that carry offsets fall to 20 a
        second.
        """
        return self.producer(**{
            "transactional.id": transactional_id,
            "transaction.timeout.ms": transaction_timeout_ms,
            "linger.ms": 0,
            "retry.backoff.ms": 1,
            **_dotted(overrides),
        })  # fmt: skip

    def consumer(
        self,
        group: str,
        *,
        read_committed: bool = True,
        auto_offset_reset: str = "error",
        **overrides: Any,
    ) -> Consumer:
        """A consumer that commits only when told to.

        `auto_offset_reset` is what happens where the group has no offset (`earliest`, `latest`, `error`).
        The default refuses, because an offset that is reset silently loses or repeats records.
        """
        return Consumer(
            self._config(
                {
                    "group.id": group,
                    "enable.auto.commit": False,
                    "isolation.level": "read_committed" if read_committed else "read_uncommitted",
                    "auto.offset.reset": auto_offset_reset,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": self.session_timeout_ms,
                    "heartbeat.interval.ms": max(200, self.session_timeout_ms // 6),
                    "allow.auto.create.topics": False,
                },
                overrides,
            )
        )

    def admin(self, **overrides: Any) -> AdminClient:
        """An admin client. Its methods return futures; keep it until they are done, or they never are."""
        return AdminClient(self._config({}, overrides))

    def _config(self, own: Mapping[str, Any], overrides: Mapping[str, Any]) -> Config:
        options = _dotted(self.options)
        log = _Redacting(_log, secrets(options))
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "rampa",
            "socket.nagle.disable": True,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 2_000,
            "log.connection.close": False,
            "error_cb": log.on_error,
            "logger": log,
            **own,
            **options,
            **_dotted(overrides),
        }


def _dotted(options: Mapping[str, Any]) -> Config:
    """Settings under librdkafka's names: underscores become dots, but for confluent's own `*_cb`."""
    return {name if name.endswith("_cb") else name.replace("_", "."): v for name, v in options.items()}


def secrets(options: Mapping[str, str]) -> tuple[str, ...]:
    """The values among these settings that must never be shown."""
    dotted = _dotted(options)
    return tuple(str(v) for k, v in dotted.items() if v and any(word in k for word in _SECRET_WORDS))


def redact(text: str, hidden: Iterable[str]) -> str:
    """`text` with every hidden value replaced."""
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


class _Redacting:
    """What confluent-kafka takes for a logger: passes lines on without the secrets in them."""

    def __init__(self, log: logging.Logger, hidden: tuple[str, ...]) -> None:
        self._log = log
        self._hidden = hidden

    def log(self, level: int, message: str, *args: object) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, "%s", redact(message % args if args else message, self._hidden))

    def on_error(self, error: KafkaError) -> None:
        level = logging.ERROR if error.fatal() else logging.WARNING
        self.log(level, "%s: %s", error.name(), error.str())


class Silent:
    """A logger for clients whose trouble is expected and told otherwise."""

    def log(self, *_args: object) -> None:
        """Drop the line."""


class Deliveries:
    """Delivery reports of many records: pass it as `on_delivery`, then ask it what failed."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.failed = 0
        self.first_error: str | None = None

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged += 1
            return
        self.failed += 1
        if self.first_error is None:
            self.first_error = f"to {message.topic()}: {error.str()} ({error.name()})"

    def raise_if_failed(self) -> None:
        """Raise DeliveryFailed when a record was refused."""
        if self.failed:
            raise DeliveryFailed(
                f"Kafka did not take {self.failed} of {self.failed + self.acknowledged} records, the first "
                f"{self.first_error}. Nothing is lost as long as the input is processed again; "
                "see the broker's log.",
                self.failed,
            )


def flush_or_raise(producer: Producer, timeout: float, deliveries: Deliveries | None = None) -> None:
    """Wait until everything that was produced is acknowledged.

    Raises DeliveryFailed when records are still waiting after `timeout` seconds, or when `deliveries`
    counted a refusal (flush alone does not tell).
    """
    waiting = producer.flush(timeout)
    if deliveries is not None:
        deliveries.raise_if_failed()
    if waiting:
        raise DeliveryFailed(
            f"{waiting} records were not acknowledged within {timeout:g} s. "
            "Check that the brokers answer (rampa doctor).",
            waiting,
        )


def produce_all(producer: Producer, records: Iterable[Record], timeout: float = 30.0) -> list[Place]:
    """Produce `records`, wait until all are acknowledged, and say where each lies, in their order.

    Blocks while the producer's queue is full. Raises DeliveryFailed; then some may have been written.
    """
    deliveries = Deliveries()
    places: list[Place | None] = []
    for record in records:
        places.append(None)
        _produce(producer, record, deliveries, places, time.monotonic() + timeout)
    flush_or_raise(producer, timeout, deliveries)
    return [place for place in places if place is not None]


def _produce(
    producer: Producer,
    record: Record,
    deliveries: Deliveries,
    places: list[Place | None],
    deadline: float,
) -> None:
    index = len(places) - 1

    def delivered(error: KafkaError | None, message: Message) -> None:
        deliveries(error, message)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is None and topic is not None and partition is not None and offset is not None:
            places[index] = Place(topic, partition, offset)

    while True:
        try:
            producer.produce(
                record.topic,
                value=record.value,
                key=record.key,
                partition=-1 if record.partition is None else record.partition,
                headers=list(record.headers),
                on_delivery=delivered,
            )
        except BufferError:
            producer.poll(0.1)
            if time.monotonic() > deadline:
                flush_or_raise(producer, 0, deliveries)
        else:
            producer.poll(0)
            return


def wait_for_broker(
    kafka: Kafka, timeout: float = 60.0, say: Callable[[str], None] = _log.warning, every: float = 10.0
) -> None:
    """Return when a broker answers. While none does, `say` so at once and then each `every` seconds.

    Raises BrokerUnavailable after `timeout` seconds, BrokerRefused at once when the broker refuses our
    credentials or certificate.
    """
    errors: list[KafkaError] = []
    admin = kafka.admin(error_cb=errors.append, logger=Silent())  # what it would log, `say` says once
    hidden = secrets(kafka.options)
    started = time.monotonic()
    said: float | None = None
    while True:
        left = started + timeout - time.monotonic()
        try:
            admin.list_topics(timeout=max(0.1, min(1.0, left / 2)))
        except KafkaException as error:
            admin.poll(0.05)  # serves error_cb, which knows more than "no metadata"
            reason = _reason(error, errors, hidden)
            _raise_if_refused(kafka, errors, hidden)
        else:
            return
        now = time.monotonic()
        if now >= started + timeout:
            raise BrokerUnavailable(
                f"No Kafka broker at {kafka.bootstrap} answered within {timeout:g} s ({reason}). "
                "Start it, or correct kafka.bootstrap in the settings."
            )
        if said is None or now - said >= every:
            said = now
            say(f"Kafka at {kafka.bootstrap} does not answer ({reason}); waiting up to {left:.0f} s more.")
        time.sleep(0.1)


def _reason(error: KafkaException, seen: Sequence[KafkaError], hidden: Iterable[str]) -> str:
    first: KafkaError = seen[-1] if seen else error.args[0]
    return redact(first.str(), hidden)


def _raise_if_refused(kafka: Kafka, seen: Sequence[KafkaError], hidden: Iterable[str]) -> None:
    for error in seen:
        if error.code() in _REFUSALS:
            raise BrokerRefused(
                f"Kafka at {kafka.bootstrap} refuses us: {redact(error.str(), hidden)}. "
                "Check security_protocol, sasl_* and ssl_* under [kafka] in the settings."
            )
