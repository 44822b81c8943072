"""A cluster that wants TLS and a password: all roles reach it, the planner's Faust as well as librdkafka's clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Certificates, certificates_in
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from pipeline import Pipeline, request

from simulator.process import SimulatorProcess
from streams import process
from streams.brokers.local import QUICK, LocalBroker
from streams.clients import Kafka, wait_for_broker
from streams.errors import StreamsError

USER, PASSWORD = "ana", "a-long-secret"


class SecuredBroker(LocalBroker):
    """Apache Kafka with one listener more: TLS, and SASL by SCRAM or PLAIN."""

    def __init__(self, directory: Path, home: Path, certificates: Certificates) -> None:
        super().__init__(directory, home=home, jvm_options=QUICK)
        self.port = process.free_port()
        self._certificates = certificates

    def _configure(self) -> None:
        super()._configure()
        pem = self.directory / "server.pem"
        made = self._certificates
        pem.write_bytes(made.key.read_bytes() + made.localhost.read_bytes() + made.authority.read_bytes())
        settings = self.directory / "server.properties"
        lines = settings.read_text("ascii").splitlines()
        extra = {
            "listeners=": f",SECURE://127.0.0.1:{self.port}",
            "advertised.listeners=": f",SECURE://localhost:{self.port}",
            "listener.security.protocol.map=": ",SECURE:SASL_SSL",
        }
        lines = [line + next((more for key, more in extra.items() if line.startswith(key)), "") for line in lines]
        listener, login = "listener.name.secure", "org.apache.kafka.common.security"
        lines += [
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={pem}",
            f"{listener}.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
            f"{listener}.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;",
            f'{listener}.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        ]
        settings.write_text("\n".join(lines) + "\n", encoding="ascii")

    def clients(self, mechanism: str, password: str = PASSWORD) -> Kafka:
        """Clients for that listener."""
        return Kafka(f"localhost:{self.port}", self.options(mechanism, password), self.kafka.session_timeout_ms)

    def options(self, mechanism: str, password: str = PASSWORD) -> dict[str, str]:
        """As a user writes them under [kafka]."""
        return {
            "security_protocol": "SASL_SSL", "sasl_mechanism": mechanism, "sasl_username": USER,
            "sasl_password": password, "ssl_ca_location": str(self._certificates.authority),
        }  # fmt: skip


@pytest.fixture(scope="module")
def secured(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    certificates = certificates_in(tmp_path_factory.mktemp("authority"))
    with SecuredBroker(tmp_path_factory.mktemp("secured"), kafka_home, certificates) as broker:
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        user = UserScramCredentialUpsertion(USER, credentials, PASSWORD.encode())
        admin = broker.kafka.admin()
        for done in admin.alter_user_scram_credentials([user]).values():
            done.result(30)
        yield broker


@pytest.mark.apache
def test_a_campaign_goes_its_whole_way_through_tls_and_scram(
    secured: SecuredBroker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in secured.options("SCRAM-SHA-512").items():
        monkeypatch.setenv(f"RAMPA_KAFKA__{name.upper()}", value)  # for the processes
    kafka = secured.clients("SCRAM-SHA-512")
    with SimulatorProcess(tmp_path / "provider") as provider, Pipeline(kafka, prefix, tmp_path, provider) as p:
        p.start()
        p.submit(request("segura", 20))
        assert p.wait("segura", "completed", timeout=90).accepted == 20
        assert len(p.mails()) == 20
        for name in ("planner-1", "gate-1", "sender-1"):
            assert PASSWORD not in (tmp_path / f"{name}.log").read_text("utf-8", "replace")


@pytest.mark.apache
def test_plain_over_tls_is_taken_and_a_wrong_password_or_authority_is_an_error_that_says_so(
    secured: SecuredBroker, certificates_of_others: Path
) -> None:
    wait_for_broker(secured.clients("PLAIN"), 30)
    with pytest.raises(StreamsError, match=r"(?i)authentication|password|credentials") as refused:
        wait_for_broker(secured.clients("PLAIN", "another"), 15)
    assert "another" not in str(refused.value)
    kafka = secured.clients("PLAIN")
    foreign = replace(kafka, options={**kafka.options, "ssl_ca_location": str(certificates_of_others)})
    with pytest.raises(StreamsError, match=r"(?i)certificate|ssl|tls"):
        wait_for_broker(foreign, 5)


@pytest.fixture
def certificates_of_others(tmp_path: Path) -> Path:
    return certificates_in(tmp_path).authority
