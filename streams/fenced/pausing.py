"""Which partitions of the input are paused: fetched from no more, while the member stays what it is."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import Consumer, TopicPartition


class Pauses:
    """Of one consumer."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._paused: set[int] = set()

    def follow(self, consumer: Consumer, owned: Collection[int], *, pause: bool) -> None:
        """All of `owned` are paused, or none. What was fetched and not given is kept."""
        wanted = set(owned) if pause else set()
        if more := wanted - self._paused:
            consumer.pause([TopicPartition(self._topic, p) for p in more])
        if less := (self._paused - wanted) & set(owned):
            consumer.resume([TopicPartition(self._topic, p) for p in less])
        self._paused = wanted

    def forget(self, partition: int) -> None:
        """It is not owned any more, or is assigned anew and was resumed."""
        self._paused.discard(partition)
