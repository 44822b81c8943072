"""Reading the accounts behind relays, and telling the gate what they allow.

Beside the sender's work, in a thread of its own: whatever comes of a reading, sending goes on. A record says what an
account said at a time, so that it may be told twice, by several senders, or by one that lost its partitions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Producer

from schemas.records import RelayAccount
from sender.relays import ACCOUNTS, Account, RelayDown
from sender.ses.account import AccountLimits
from streams.clients import Kafka
from streams.settings import RelaySettings

log = logging.getLogger(__name__)

EVERY = 300.0
"""Real seconds between two readings of an account; its owner may ask once a second (`GetAccount`)."""
SOON = 15.0
"""... of one that cannot send, or whose quota is nearly used up, or that could not be read."""
NEARLY = 0.9


class AccountReader:
    """Reads every account whose relay type has one. A context manager."""

    def __init__(
        self, kafka: Kafka, topic: str, relays: Mapping[str, RelaySettings], *, every: float = EVERY, soon: float = SOON
    ) -> None:
        """`topic`: where the gate reads; each record goes there under its relay's name."""
        self._kafka = kafka
        self._topic = topic
        self._relays = {name: relay for name, relay in relays.items() if relay.type in ACCOUNTS}
        self._every, self._soon = every, soon
        self.reads = 0
        """How often an account was asked, whatever came of it."""
        self._accounts: dict[str, Account] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="accounts", daemon=True)

    def __enter__(self) -> Self:
        if self._relays:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does not wait for a reading that is on its way: it may take a minute, and the thread dies with us."""
        self._stop.set()

    def _read_all(self) -> None:
        producer = self._kafka.producer(linger_ms=0)
        due = dict.fromkeys(self._relays, 0.0)
        while not self._stop.is_set():
            for name in [name for name, at in due.items() if at <= time.monotonic()]:
                due[name] = time.monotonic() + self._read(name, producer)
            producer.poll(0)
            self._stop.wait(max(0.0, min(due.values()) - time.monotonic()))
        producer.flush(1.0)
        for account in self._accounts.values():
            account.close()

    def _read(self, name: str, producer: Producer) -> float:
        """Reads one account and tells what it said; in how many seconds it is to be read again."""
        self.reads += 1
        try:
            if name not in self._accounts:
                self._accounts[name] = ACCOUNTS[self._relays[name].type](self._relays[name])
            limits = self._accounts[name].account()
        except RelayDown as e:
            log.warning("the account of relay %s cannot be read: %s", name, e)
            return self._every if e.code in {400, 403} else self._soon  # no permission to: that lasts
        except Exception:
            log.exception("the account of relay %s cannot be read", name)
            return self._every
        again = self._soon if pressing(limits) else self._every
        told = told_of(name, limits, time.time(), again)
        with suppress(BufferError, KafkaException):  # the next reading says it all
            producer.produce(self._topic, told.encode(), name.encode(), headers=list(told.headers()))
            producer.poll(0)
        return again


def pressing(limits: AccountLimits) -> bool:
    """Whether what the account says holds mail back, or soon will."""
    return bool(limits.refusal) or (limits.per_day is not None and limits.sent_last_day >= NEARLY * limits.per_day)


def told_of(relay: str, limits: AccountLimits, read_real: float, again: float) -> RelayAccount:
    """What the gate is told. Counts are whole, and never in the account's disfavour."""
    return RelayAccount(
        relay=relay, read_real=read_real, again_seconds=again, rate=limits.per_second,
        quota=None if limits.per_day is None else int(limits.per_day),
        sent=-int(-max(0.0, limits.sent_last_day) // 1), refusal=limits.refusal or None,
    )  # fmt: skip
