"""Recipients by pointer: the parts of a batch on `batch.recipients`, fetched when they are needed.

A consumer of its own in a thread of its own; the last few parts stay in memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import OFFSET_END, KafkaException, TopicPartition

from schemas.batch import Pointer, part_checksum
from schemas.chunk import Chunk
from streams.clients import Kafka
from streams.errors import BrokerUnavailable, RecordGone
from streams.fetch import Fetcher

log = logging.getLogger(__name__)

MEETING = 1.2
"""Seconds that librdkafka takes to begin with partitions that it has not met, and a little."""


class RecipientsError(Exception):
    """Recipients of a batch cannot be had: which record, and what is wrong with it."""


class RecipientsLate(RecipientsError):
    """They may be there, but the broker does not give them now: to be tried again."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a batch's recipients: rows of values under `columns`, the first of which is the address."""

    start: int
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def row(self, index: int) -> dict[str, Any]:
        """The variables of one recipient."""
        return dict(zip(self.columns, self.rows[index - self.start], strict=False))


def parse_part(value: bytes, chunk: Chunk, pointer: Pointer) -> Part:
    """The part that `pointer` names. Raises RecipientsError when the record is another one, or was changed."""
    checksum = part_checksum(value)
    if pointer.checksum not in {"", checksum}:
        raise RecipientsError(
            f"{place(pointer)} is not what was planned: its checksum is {checksum}, not {pointer.checksum}; "
            "the topic was made anew, or somebody else writes to it"
        )
    try:
        data = orjson.loads(value)
        found = (data["campaign_id"], data["batch_number"], data["start"], len(data["rows"]))
        columns, rows = tuple(data["columns"]), data["rows"]
    except (ValueError, KeyError, TypeError) as e:
        raise RecipientsError(f"{place(pointer)} is not a record of recipients: {e!r}") from e
    wanted = (chunk.campaign_id, chunk.batch_number, pointer.start, pointer.count)
    if found != wanted:
        raise RecipientsError(
            f"{place(pointer)} should hold {_words(wanted)}, but it holds {_words(found)}; "
            "the topic was made anew, or the plan names another one"
        )
    return Part(pointer.start, columns, rows)


def place(pointer: Pointer) -> str:
    """Where a part stands, for people."""
    return f"batch.recipients[{pointer.partition}]@{pointer.offset}"


def _words(of: tuple[str, int, int, int]) -> str:
    return f"batch {of[0]}/{of[1]} from index {of[2]}, {of[3]} recipients"


class Recipients:
    """Fetches parts. For one event loop; `close` when it is over."""

    def __init__(self, kafka: Kafka, topic: str, *, keep: int = 16, timeout: float = 10.0) -> None:
        """Keeps the `keep` parts last used; gives a fetch up after `timeout` seconds."""
        self._fetcher = Fetcher(kafka, "recipients", timeout=timeout)
        self._topic = topic
        self._keep = keep
        self._parts: OrderedDict[tuple[int, int], Part] = OrderedDict()
        self._fetching: dict[tuple[int, int], asyncio.Task[Part]] = {}
        self._thread = ThreadPoolExecutor(1, "recipients")

    def warm(self) -> None:
        """Get to know all partitions in the background: the first fetch of each would take a second longer."""
        self._thread.submit(self._meet)

    async def row(self, chunk: Chunk, index: int) -> dict[str, Any]:
        """The variables of one recipient. Raises RecipientsError."""
        return (await self._part(chunk, _pointer_of(chunk, index))).row(index)

    async def parts(self, chunk: Chunk) -> list[Part]:
        """The parts that hold what a permit allows, in the order of its ranges. Raises RecipientsError."""
        pointers: dict[int, Pointer] = {}
        for index, end in chunk.ranges:
            while index < end:
                pointer = _pointer_of(chunk, index)
                pointers[pointer.start] = pointer
                index = pointer.start + pointer.count  # noqa: PLW2901 - on to the next part
        return [await self._part(chunk, pointer) for pointer in pointers.values()]

    async def _part(self, chunk: Chunk, pointer: Pointer) -> Part:
        key = pointer.partition, pointer.offset
        if key not in self._parts:
            return await self._fetched(chunk, pointer)
        self._parts.move_to_end(key)
        return self._parts[key]

    async def _fetched(self, chunk: Chunk, pointer: Pointer) -> Part:
        """However many ask for a part at once, it is fetched once."""
        key = pointer.partition, pointer.offset
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._fetch_and_keep(chunk, pointer))
        return await asyncio.shield(task)

    async def _fetch_and_keep(self, chunk: Chunk, pointer: Pointer) -> Part:
        key = pointer.partition, pointer.offset
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._thread, self._fetch, pointer)
            part = parse_part(value, chunk, pointer)
        finally:
            del self._fetching[key]
        self._parts[key] = part
        while len(self._parts) > self._keep:
            self._parts.popitem(last=False)
        return part

    def _fetch(self, pointer: Pointer) -> bytes:
        """Blocks. Raises RecipientsError when there is no such record."""
        try:
            value = self._fetcher.fetch(self._topic, pointer.partition, pointer.offset).value
        except RecordGone:
            value = None
        except BrokerUnavailable as e:
            raise RecipientsLate(str(e)) from e
        if value is None:
            raise RecipientsError(
                f"{place(pointer)} is not there: the recipients were deleted, or the topic was made anew"
            )
        return value

    def _meet(self) -> None:
        consumer, deadline = self._fetcher.consumer(), time.monotonic() + MEETING
        try:
            known = consumer.list_topics(self._topic, timeout=5.0).topics[self._topic].partitions
            consumer.assign([TopicPartition(self._topic, p, OFFSET_END) for p in known])
            while time.monotonic() < deadline:
                consumer.poll(0.1)
            consumer.unassign()
        except (KafkaException, KeyError) as e:
            log.info("%s could not be visited ahead: %s", self._topic, e)

    def close(self) -> None:
        """Ends its thread and leaves the broker."""
        self._thread.submit(self._fetcher.close)
        self._thread.shutdown(wait=True)


def _pointer_of(chunk: Chunk, index: int) -> Pointer:
    for pointer in chunk.pointers:
        if pointer.start <= index < pointer.start + pointer.count:
            return pointer
    raise RecipientsError(f"no pointer of {chunk.permit_id} covers index {index} of {chunk.campaign_id}")
