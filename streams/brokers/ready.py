"""Ready means that clients can work, not that a port is open.

After a broker listens, its group and transaction coordinators still load; whoever asks meets "coordinator
load in progress". So ask everything that a client asks first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.clients import Kafka, Silent
from streams.errors import BrokerStartFailed

_NOT_YET = frozenset({
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
})  # fmt: skip
# Any group ids do, as long as together they reach every partition of the offsets topic (four of them).
_GROUPS = [f"rampa-ready-{n}" for n in range(8)]


def wait_until_ready(kafka: Kafka, deadline: float, died: Callable[[], bool], explain: Callable[[], str]) -> None:
    """Return when metadata and both kinds of coordinator answer.

    `deadline` is a `time.monotonic()` value. Raises BrokerStartFailed with `explain()` (the broker's last
    words) when it passes or when `died()`.
    """
    # Kept in a variable: the futures of an admin client that is garbage never complete.
    admin = kafka.admin(error_cb=_ignore, logger=Silent(), reconnect_backoff_max_ms=100)
    steps: tuple[Callable[[], object], ...] = (
        lambda: admin.list_topics(timeout=1.0),
        lambda: _ask_groups(admin),
        lambda: _ask_transactions(kafka),
    )
    for step in steps:
        _retry(step, deadline, died, explain)


def _retry(step: Callable[[], object], deadline: float, died: Callable[[], bool], explain: Callable[[], str]) -> None:
    while True:
        if died():
            raise BrokerStartFailed(f"The broker ended while it was starting. {explain()}")
        try:
            step()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() not in _NOT_YET and not reason.retriable():
                raise BrokerStartFailed(f"The broker answers with {reason.str()}. {explain()}") from error
            if time.monotonic() > deadline:
                raise BrokerStartFailed(f"The broker was not ready in time ({reason.str()}). {explain()}") from error
            time.sleep(0.03)
        except TimeoutError as error:
            if time.monotonic() > deadline:
                raise BrokerStartFailed(f"The broker did not answer in time. {explain()}") from error
        else:
            return


def _ask_groups(admin: AdminClient) -> None:
    for answer in admin.describe_consumer_groups(_GROUPS, request_timeout=2.0).values():
        answer.result(timeout=5.0)


def _ask_transactions(kafka: Kafka) -> None:
    producer = kafka.transactional("rampa-ready", error_cb=_ignore, logger=Silent())
    producer.init_transactions(5.0)


def _ignore(_error: KafkaError) -> None:
    """A broker that is starting is expected to refuse."""
