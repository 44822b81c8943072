"""What must be answered before a process may join its group."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException

from streams.fenced.errors import OperatorNeeded
from streams.fenced.transaction import refusal

_PAUSE = 0.2
_SAY_EVERY = 10.0


def until_answered(attempt: Callable[[], object], stop: Callable[[], bool], say: Callable[[str], object]) -> bool:
    """Try until it succeeds, saying why not now and then; a broker may be away, topics not yet created.

    False when `stop()` came first. Raises `Fenced` or `TransactionFailed` for what trying again cannot mend.
    """
    said = float("-inf")
    while not stop():
        try:
            attempt()
        except KafkaException as e:
            error: KafkaError = e.args[0]
            if error.fatal():
                raise refusal(error) from e
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                say(error.str())
            time.sleep(_PAUSE)
        else:
            return True
    return False


def check_topics(consumer: Consumer, input_topic: str, state_topic: str) -> None:
    """State lies on the partition of its input, so both topics must exist and have equally many."""
    counts = {}
    for topic in (input_topic, state_topic):
        found = consumer.list_topics(topic, timeout=5.0).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        counts[topic] = len(found.partitions)
    if counts[input_topic] != counts[state_topic]:
        raise OperatorNeeded(
            f"{input_topic} has {counts[input_topic]} partitions and {state_topic} {counts[state_topic]}; "
            "state lies on the partition of its input, so make both equal before anything is processed"
        )
