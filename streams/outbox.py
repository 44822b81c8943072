"""Producing from an event loop: send records, and go on when Kafka has acknowledged all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from streams.clients import Kafka, Place
from streams.errors import DeliveryFailed
from streams.fenced.model import Output

MAX_RECORD_BYTES = 4_000_000
"""Before compression; the broker has its own limit (1 MB by default) on what arrives."""


class OutboxBroken(DeliveryFailed):
    """The producer cannot be used any more; make a new one and process the input again."""


class Outbox:
    """One idempotent producer behind `await send(...)`.

    Records of one key keep the order of the calls. While no broker answers `send` waits, without end: what was
    accepted is not given up. Delivery reports come in through a thread of its own.
    """

    def __init__(self, kafka: Kafka, **overrides: Any) -> None:
        self._producer = kafka.producer(**{
            "linger.ms": 0,
            "message.timeout.ms": 0,
            "compression.type": "gzip",  # the one that aiokafka reads without further libraries
            "message.max.bytes": MAX_RECORD_BYTES,
            "queue.buffering.max.kbytes": 32_768,
            **overrides,
        })  # fmt: skip
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="outbox", daemon=True)
        self._poller.start()

    async def send(self, outputs: Sequence[Output]) -> list[Place]:
        """Produce all, wait until all are acknowledged; where each lies, in their order.

        Raises DeliveryFailed when Kafka refuses one (some of the others may have been written), and
        OutboxBroken when this producer is beyond use.
        """
        if not outputs:
            return []
        batch = _Batch(len(outputs))
        for index, output in enumerate(outputs):
            await self._produce(output, batch, index)
        return await batch.done

    def close(self, timeout: float = 1.0) -> None:
        """Give what is on its way `timeout` seconds, and let go."""
        self._producer.flush(timeout)
        self._closing.set()
        self._poller.join(timeout)

    async def _produce(self, output: Output, batch: _Batch, index: int) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            batch.loop.call_soon_threadsafe(batch.deliver, index, _place(output, error, message))

        while True:
            try:
                self._producer.produce(
                    output.topic,
                    value=output.value,
                    key=output.key,
                    partition=-1 if output.partition is None else output.partition,
                    headers=list(output.headers),
                    on_delivery=delivered,
                )
            except BufferError:
                await asyncio.sleep(0.02)
            except KafkaException as e:
                raise _failure(output, e.args[0]) from e
            else:
                return

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)


class _Batch:
    """The records of one `send`."""

    def __init__(self, size: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[list[Place]] = self.loop.create_future()
        self._places: dict[int, Place] = {}
        self._size = size

    def deliver(self, index: int, place: Place | DeliveryFailed) -> None:
        if self.done.done():
            return
        if isinstance(place, DeliveryFailed):
            self.done.set_exception(place)
            return
        self._places[index] = place
        if len(self._places) == self._size:
            self.done.set_result([self._places[i] for i in range(self._size)])


def _place(output: Output, error: KafkaError | None, message: Message) -> Place | DeliveryFailed:
    if error is not None:
        return _failure(output, error)
    return Place(output.topic, message.partition() or 0, message.offset() or 0)


def _failure(output: Output, error: KafkaError) -> DeliveryFailed:
    text = f"Kafka did not take a record of {len(output.value or b'')} bytes for {output.topic}: {error.str()}"
    if error.fatal():
        return OutboxBroken(f"{text}. The producer is beyond use and is made anew.", 1)
    return DeliveryFailed(f"{text}. See the broker's log.", 1)
