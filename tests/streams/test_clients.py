"""The factory of clients: what all share, what must never be shown, and how trouble is told."""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path

import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.clients import (
    Deliveries,
    Kafka,
    Record,
    flush_or_raise,
    produce_all,
    redact,
    secrets,
    wait_for_broker,
)
from streams.errors import BrokerRefused, BrokerUnavailable, DeliveryFailed
from streams.process import free_port

OPTIONS = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "rampa",
    "sasl_password": "hunter2-very-secret",
}


def test_settings_of_a_user_reach_librdkafka_with_dots() -> None:
    config = Kafka("x:1", OPTIONS)._config({}, {"linger_ms": 7})
    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.password"] == OPTIONS["sasl_password"]
    assert config["linger.ms"] == 7
    assert callable(config["error_cb"])


def test_security_settings_are_accepted_by_every_kind_of_client() -> None:
    kafka = Kafka("127.0.0.1:1", OPTIONS)
    kafka.admin()
    kafka.producer()
    kafka.transactional("t")
    kafka.consumer("g").close()


def test_a_misspelt_setting_is_refused_by_name() -> None:
    from confluent_kafka import KafkaException

    with pytest.raises(KafkaException, match=r"sasl\.pasword"):
        Kafka("x:1", {"sasl_pasword": "x"}).producer()


def test_secrets_are_not_in_the_representation() -> None:
    assert "hunter2" not in repr(Kafka("x:1", OPTIONS))


def test_secrets_are_taken_out_of_text() -> None:
    hidden = secrets({**OPTIONS, "ssl.key.password": "abc", "ssl_key_pem": "PEM", "client_id": "rampa"})
    assert set(hidden) == {"hunter2-very-secret", "abc", "PEM"}
    assert redact("login hunter2-very-secret failed: abc", hidden) == "login *** failed: ***"


def test_log_lines_of_librdkafka_come_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    logger = Kafka("x:1", OPTIONS)._config({}, {})["logger"]
    with caplog.at_level(logging.WARNING, logger="streams.kafka"):
        logger.log(logging.WARNING, "%s [%s] %s", "FAIL", "x", "password hunter2-very-secret")
    assert caplog.messages == ["FAIL [x] password ***"]


def test_a_broker_that_is_away_is_told_at_once_and_then_given_up() -> None:
    said: list[str] = []
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(
        BrokerUnavailable, match=rf"{address} answered within 1 s .*Start it, or correct kafka.bootstrap"
    ):
        wait_for_broker(Kafka(address), 1.0, said.append)
    assert len(said) == 1
    assert said[0].startswith(f"Kafka at {address} does not answer")


def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, free_port())
    away = threading.Event()
    starter = threading.Thread(target=lambda: (away.wait(10), broker.start()))
    starter.start()
    try:
        wait_for_broker(Kafka(broker.bootstrap), 20, lambda _: away.set())
        assert away.is_set()
    finally:
        starter.join()
        broker.stop()


def test_a_broker_that_refuses_us_is_not_waited_for() -> None:
    """What listens there speaks no TLS: a handshake that fails is a refusal, not an absence."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                    connection.recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        kafka = Kafka(f"127.0.0.1:{server.getsockname()[1]}", {"security_protocol": "SSL"})
        try:
            with pytest.raises(BrokerRefused, match=r"(?i)refuses us: .*ssl.*security_protocol, sasl_\* and ssl_\*"):
                wait_for_broker(kafka, 20, lambda _: None)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_records_that_cannot_be_delivered_raise_with_the_reason() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        kafka = Kafka(f"127.0.0.1:{deaf.getsockname()[1]}", {"message_timeout_ms": "300"})
        with pytest.raises(
            DeliveryFailed, match=r"did not take 3 of 3 records, the first to nowhere: .*timed out"
        ) as caught:
            produce_all(kafka.producer(), [Record("nowhere", b"x", partition=0)] * 3, timeout=10)
    assert caught.value.failed == 3


def test_records_that_are_still_waiting_raise_too() -> None:
    """The broker takes connections and never answers: what librdkafka says of one that refuses them waits in the same
    queue as the record, and would be counted."""
    patient = {"api_version_request_timeout_ms": "300000", "socket_connection_setup_timeout_ms": "300000"}
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        producer = Kafka(f"127.0.0.1:{deaf.getsockname()[1]}", patient).producer()
        producer.produce("nowhere", b"x", partition=0)
        with pytest.raises(DeliveryFailed, match=r"1 records were not acknowledged within 0\.1 s"):
            flush_or_raise(producer, 0.1)
        producer.purge()


def test_a_full_queue_makes_the_caller_wait_and_loses_nothing(embedded_kafka: Kafka, prefix: str) -> None:
    producer = embedded_kafka.producer(queue_buffering_max_messages=10)
    places = produce_all(producer, (Record(f"{prefix}x", b"%d" % n, b"k") for n in range(500)))
    assert [p.offset for p in places] == list(range(500))


def test_deliveries_count_what_was_acknowledged(embedded_kafka: Kafka, prefix: str) -> None:
    deliveries = Deliveries()
    producer = embedded_kafka.producer()
    for _ in range(7):
        producer.produce(f"{prefix}x", b"v", on_delivery=deliveries)
    flush_or_raise(producer, 15, deliveries)
    assert (deliveries.acknowledged, deliveries.failed) == (7, 0)


def test_a_group_without_offsets_is_an_error_unless_the_caller_says_otherwise(
    embedded_kafka: Kafka, prefix: str
) -> None:
    from confluent_kafka import KafkaError, TopicPartition

    produce_all(embedded_kafka.producer(), [Record(f"{prefix}x", b"v", partition=0)])
    consumer = embedded_kafka.consumer(f"{prefix}g")
    try:
        consumer.assign([TopicPartition(f"{prefix}x", 0)])
        message = consumer.poll(15)
        assert message is not None
        error = message.error()
        assert error is not None
        assert error.code() == KafkaError._AUTO_OFFSET_RESET
    finally:
        consumer.close()
