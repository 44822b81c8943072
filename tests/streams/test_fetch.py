"""One record by its place, on both brokers."""

from __future__ import annotations

import pytest
from confluent_kafka.cimpl import NewTopic

from streams.clients import Kafka, Record, produce_all
from streams.errors import BrokerUnavailable, RecordGone
from streams.fetch import Fetcher


def test_a_record_is_read_by_its_place_with_key_and_headers_and_one_that_is_not_there_is_gone(
    any_kafka: Kafka, prefix: str
) -> None:
    topic = prefix + "fetched"
    admin = any_kafka.admin()
    for future in admin.create_topics([NewTopic(topic, 2, 1)]).values():
        future.result(30)
    records = [Record(topic, b"v%d" % n, b"k", 1, headers=(("h", b"x"),)) for n in range(3)]
    places = produce_all(any_kafka.producer(linger_ms=0), records)
    fetcher = Fetcher(any_kafka, "test")
    for n in (2, 0, 1):
        found = fetcher.fetch(topic, 1, places[n].offset)
        assert (found.key, found.value, found.headers) == (b"k", b"v%d" % n, (("h", b"x"),))
        assert (found.topic, found.partition, found.offset) == (topic, 1, places[n].offset)
    beyond = [] if any_kafka.embedded else [(1, places[2].offset + 50)]  # the embedded broker only keeps silent then
    for partition, offset in ((1, places[2].offset + 1), (0, 0), *beyond):
        with pytest.raises(RecordGone, match="not there any more"):
            fetcher.fetch(topic, partition, offset)
    fetcher.close()


def test_a_broker_that_is_away_is_told_from_a_record_that_is_gone() -> None:
    fetcher = Fetcher(Kafka("127.0.0.1:1"), "test", timeout=0.5)
    with pytest.raises(BrokerUnavailable, match="is the broker there"):
        fetcher.fetch("t", 0, 0)
    fetcher.close()
