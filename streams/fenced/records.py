"""Records as librdkafka gives them, as values of ours."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Message

from streams.fenced.model import Input


def as_input(message: Message) -> Input:
    """A message without error as an `Input`. A header without value becomes an empty one."""
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return Input(
        topic=cast("str", message.topic()),
        partition=cast("int", message.partition()),
        offset=cast("int", message.offset()),
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value or b"") for name, value in headers),
        timestamp_ms=message.timestamp()[1],
    )
