"""Keeps the embedded broker's consumer groups going.

A group whose leader leaves it while it is forming (one more member has just come) never forms again: the broker goes on
naming the leader that left, everybody else waits for what it never says, and new members do too. Only a leader that
stops being heard of is put out, after the session time-out. So when a group has named the same leader for a while
without having formed, that leader is made a member once more, by a request in its name, and is not heard of again.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from streams.clients import Kafka, Silent

log = logging.getLogger(__name__)

PATIENCE = 12.0
"""Seconds; a group on this broker forms within a session time-out (6 s), and once more when its leader has died."""
_EVERY = 3.0
_PROTOCOLS = ("cooperative-sticky", "faust", "range", "roundrobin", "sticky")
"""A member must offer what its group has agreed on, and the broker does not tell what that is."""
_JOIN_GROUP = 11


class Unformed:
    """Which groups have named the same leader for `patience` seconds without having formed. Pure."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._since: dict[str, tuple[str, float]] = {}

    def look(self, forming: Mapping[str, str], now: float) -> list[tuple[str, str]]:
        """`forming`: the leader of each group that is forming. Returns such groups and leaders, each once a while."""
        self._since = {
            group: self._since[group] if self._since.get(group, ("", 0.0))[0] == leader else (leader, now)
            for group, leader in forming.items()
        }
        found = [(group, leader) for group, (leader, since) in self._since.items() if now - since >= self._patience]
        for group, leader in found:
            self._since[group] = leader, now
        return found


class GroupKeeper:
    """Looks at all groups every few seconds, in a thread of its own, between `start` and `stop`."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="group keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait for a broker that has gone."""
        self._stopping.set()
        self._thread.join(0.1)

    def _run(self) -> None:
        unformed, admin = Unformed(), self._kafka.admin(logger=Silent(), error_cb=lambda _: None)
        while not self._stopping.wait(_EVERY):
            try:
                for group, leader in unformed.look(leaders_of_forming(admin), time.monotonic()):
                    log.warning("group %s waits for a leader that has left; it is put out now", group)
                    join_as(self._kafka, group, leader)
            except (KafkaException, OSError) as e:
                if not self._stopping.is_set():
                    log.info("the consumer groups cannot be looked at: %s", e)


def leaders_of_forming(admin: AdminClient, timeout: float = 3.0) -> dict[str, str]:
    """The leader that the broker names of each group that has not formed; of those that have committed offsets.

    It gives the leader where others give the assignor. Raises `KafkaException` and `TimeoutError`.
    """
    groups = [g.group_id for g in admin.list_consumer_groups(request_timeout=timeout).result(timeout + 1).valid]
    if not groups:
        return {}
    asked = admin.describe_consumer_groups(groups, request_timeout=timeout)
    found = {group: answer.result(timeout + 1) for group, answer in asked.items()}
    return {
        group: one.partition_assignor
        for group, one in found.items()
        if one.state != ConsumerGroupState.STABLE and one.partition_assignor
    }


def join_as(kafka: Kafka, group: str, member: str, timeout: float = 8.0) -> None:
    """Joins a group under a member id that is given, and is not heard of again. Raises `OSError`.

    Waits for the answer: the broker puts a member down when it has read the request.
    """
    host, _, port = kafka.bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), timeout) as connection:
        connection.sendall(_join_request(group, member, kafka.session_timeout_ms))
        connection.recv(4)


def _join_request(group: str, member: str, session_timeout_ms: int) -> bytes:
    """JoinGroup, version 5: https://kafka.apache.org/protocol#The_Messages_JoinGroup."""
    subscribed_to_nothing = struct.pack(">hii", 0, 0, -1)
    body = struct.pack(">hhi", _JOIN_GROUP, 5, 1) + _string("rampa")
    body += _string(group) + struct.pack(">ii", session_timeout_ms, session_timeout_ms)
    body += _string(member) + struct.pack(">h", -1) + _string("consumer")
    body += _protocols(_PROTOCOLS, subscribed_to_nothing)
    return struct.pack(">i", len(body)) + body


def _protocols(names: Iterable[str], metadata: bytes) -> bytes:
    offered = [_string(name) + struct.pack(">i", len(metadata)) + metadata for name in names]
    return struct.pack(">i", len(offered)) + b"".join(offered)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw
