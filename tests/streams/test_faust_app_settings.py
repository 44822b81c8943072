"""What a Faust app is given: settings that do not surprise, credentials, keys on Java's partitions."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import faust
import pytest

from schemas.records import ClockRecord, InstallationRecord
from streams.clients import Kafka
from streams.clock import REAL
from streams.context import Context
from streams.errors import StreamsError
from streams.faust_app import changelog, faust_app, partition_of
from streams.faust_guard import Boot
from streams.faust_security import credentials
from streams.settings import Settings


def context(data: Path, **kafka: object) -> Context:
    settings = Settings.model_validate({"kafka": {"bootstrap": "h1:1,h2:2", "topic_prefix": "pre.", **kafka}})
    installation = InstallationRecord(
        id="inst", partitions=7, clock=ClockRecord(epoch_real=0, epoch_virtual=0), product_version="0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    client = Kafka("h1:1,h2:2", settings.kafka.client_options())
    return Context(settings, client, REAL, installation, "s3", data)


def test_what_would_surprise_is_off_and_the_environment_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_SESSION_TIMEOUT", "99")
    monkeypatch.setenv("WEB_ENABLED", "true")
    app = faust_app(context(tmp_path), "planner")
    conf = app.conf
    assert (conf.web_enabled, conf.topic_allow_declare, conf.topic_disable_leader) == (False, False, True)
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (6.0, 1.0)
    assert conf.consumer_group_instance_id == "pre.rampa-planner-inst-s3"
    assert conf.id == "pre.rampa-planner"
    assert [str(url) for url in conf.broker] == ["aiokafka://h1:1", "aiokafka://h2:2"]
    assert str(conf.datadir).startswith(str(tmp_path / "faust" / "s3"))
    assert str(conf.store) == "memory:"
    with pytest.warns(faust.exceptions.AlreadyConfiguredWarning):
        conf.web_enabled = True  # as Faust's own command line does
    boot = app.boot_strategy
    assert isinstance(boot, Boot)
    assert not boot._should_enable_web()
    assert list(boot.web_server()) == []
    assert changelog(context(tmp_path), "planner", "campaigns") == "pre.rampa-planner-campaigns-changelog"


def test_sasl_and_tls_are_taken_from_the_settings_of_librdkafka() -> None:
    plain = credentials({"security.protocol": "SASL_SSL", "sasl.username": "u", "sasl.password": "p"})
    assert isinstance(plain, faust.SASLCredentials)
    assert (plain.username, plain.password, plain.mechanism.value, plain.protocol.value) == (
        "u",
        "p",
        "PLAIN",
        "SASL_SSL",
    )
    assert plain.ssl_context is not None
    assert plain.ssl_context.verify_mode == ssl.CERT_REQUIRED
    scram = credentials({"security_protocol": "sasl_plaintext", "sasl_mechanism": "SCRAM-SHA-512"})
    assert isinstance(scram, faust.SASLCredentials)
    assert (scram.mechanism.value, scram.protocol.value, scram.ssl_context) == ("SCRAM-SHA-512", "SASL_PLAINTEXT", None)
    tls = credentials({"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"})
    assert isinstance(tls, faust.SSLCredentials)
    assert not tls.context.check_hostname
    assert credentials({}) is None


def test_a_mechanism_that_faust_cannot_have_is_an_error_that_says_so() -> None:
    with pytest.raises(StreamsError, match=r"GSSAPI.*set PLAIN"):
        credentials({"security.protocol": "sasl_plaintext", "sasl.mechanism": "GSSAPI"})


@pytest.mark.parametrize(
    ("key", "java"), [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)]
)
def test_keys_fall_on_the_partitions_that_java_gives_them(key: str, java: int) -> None:
    # Values of Utils.murmur2 from Kafka's own UtilsTest.
    assert partition_of(key, 7) == (java & 0x7FFFFFFF) % 7
