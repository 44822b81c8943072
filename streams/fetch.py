"""One record by its place: what a pointer names, read when it is needed.

Reading to the place is the only way to know what is there: the embedded broker gives a wrong end of a topic when
asked for it.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.clients import Kafka
from streams.errors import BrokerUnavailable, RecordGone
from streams.fenced.model import Input
from streams.fenced.records import as_input

_AWAY = {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class Fetcher:
    """Reads single records. It blocks, and is for one thread. `close` when it is over."""

    def __init__(self, kafka: Kafka, name: str, *, timeout: float = 10.0) -> None:
        """`name` is the consumer group's that is never joined; a fetch is given up after `timeout` seconds."""
        self._kafka = kafka
        self._name = name
        self._timeout = timeout
        self._consumer: Consumer | None = None

    def fetch(self, topic: str, partition: int, offset: int) -> Input:
        """The record there.

        Raises RecordGone when it is not there (compacted, expired, never written), BrokerUnavailable when the broker
        does not give it within the time.
        """
        place = f"{topic}[{partition}]@{offset}"
        try:
            found = self._read(topic, partition, offset, place)
        except KafkaException as e:
            raise BrokerUnavailable(f"{place} cannot be read: {e}") from e
        if found is None:
            raise BrokerUnavailable(f"{place} was not read within {self._timeout:g} s; is the broker there?")
        return as_input(found)

    def _read(self, topic: str, partition: int, offset: int, place: str) -> Message | None:
        """None: it did not come in time."""
        consumer, deadline = self.consumer(), time.monotonic() + self._timeout
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            while time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is not None and _is_there(message, offset, place):
                    return message
        finally:
            consumer.unassign()
        return None

    def consumer(self) -> Consumer:
        """The consumer that it reads by."""
        if self._consumer is None:
            self._consumer = self._kafka.consumer(
                self._name,
                enable_partition_eof=True,
                fetch_wait_max_ms=50,
                queued_min_messages=1,
                queued_max_messages_kbytes=2048,
                fetch_queue_backoff_ms=5,  # by default a full queue keeps the next fetch waiting for a second
            )
        return self._consumer

    def close(self) -> None:
        """Leave the broker."""
        if self._consumer is not None:
            self._consumer.close()


def _is_there(message: Message, offset: int, place: str) -> bool:
    """False: wait on."""
    error = message.error()
    if error is not None:
        if error.code() in _AWAY:
            raise RecordGone(f"{place} is not there any more")
        if error.retriable() or error.code() in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}:
            return False
        raise BrokerUnavailable(f"{place} cannot be read: {error}")
    if message.offset() != offset:
        raise RecordGone(f"{place} is not there any more")
    return True
