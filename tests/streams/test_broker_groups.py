"""Groups of the embedded broker that cannot form, and that they are helped."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.cimpl import NewTopic
from hypothesis import given
from hypothesis import strategies as st
from waiting import eventually

from streams.brokers.groups import Unformed, _join_request, join_as, leaders_of_forming
from streams.clients import Kafka


def test_a_group_is_unformed_when_it_has_named_one_leader_for_too_long() -> None:
    unformed = Unformed(patience=10)
    assert unformed.look({"g": "a"}, 0) == []
    assert unformed.look({"g": "a"}, 9) == []
    assert unformed.look({"g": "a", "h": "x"}, 10) == [("g", "a")]
    assert unformed.look({"g": "a", "h": "x"}, 19) == []  # what was done for it has not shown yet
    assert unformed.look({"g": "a", "h": "x"}, 20) == [("g", "a"), ("h", "x")]


@pytest.mark.parametrize("between", [{}, {"g": "b"}])
def test_a_group_that_formed_or_has_another_leader_is_waited_for_anew(between: dict[str, str]) -> None:
    unformed = Unformed(patience=10)
    unformed.look({"g": "a"}, 0)
    unformed.look(between, 9)
    assert unformed.look({"g": "a"}, 10) == []
    assert unformed.look({"g": "a"}, 20) == [("g", "a")]


@given(st.text(max_size=50), st.text(max_size=50))
def test_the_length_that_a_request_gives_is_its_length(group: str, member: str) -> None:
    request = _join_request(group, member, 6000)
    assert struct.unpack(">ihh", request[:8]) == (len(request) - 4, 11, 5)


def test_a_group_whose_leader_left_while_it_was_forming_gets_its_work_after_all(
    embedded_kafka: Kafka, prefix: str
) -> None:
    group, topic, admin = prefix + "group", prefix + "topic", embedded_kafka.admin()
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(10)
    with _member(embedded_kafka, group) as leader, _member(embedded_kafka, group) as other:
        leader.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
        leader.subscribe([topic])
        eventually(lambda: _owned(leader) == 2, 30, "the first member has all")
        other.subscribe([topic])
        eventually(lambda: _owned(other) == 0 and group in leaders_of_forming(admin), 30, "the other one has come")
        leader.close()
        name = leaders_of_forming(admin)[group]
        eventually(lambda: other.poll(0.1) is None and bool(other.memberid()), 30, "the other one is a member")
        assert leaders_of_forming(admin)[group] == name != other.memberid()
        join_as(embedded_kafka, group, name)
        eventually(lambda: _owned(other) == 2, 60, "the other one has all")
        assert group not in leaders_of_forming(admin)


@contextmanager
def _member(kafka: Kafka, group: str) -> Iterator[Consumer]:
    member = kafka.consumer(group, auto_offset_reset="earliest")
    try:
        yield member
    finally:
        member.close()


def _owned(member: Consumer) -> int:
    member.poll(0.05)
    return len(member.assignment())
