"""What an SES account allows, read over HTTP and told to the gate."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from ses_world import ACCOUNT, Answer, SesServer, error, settings
from waiting import eventually

from console.doctor import examine
from schemas.records import RelayAccount
from schemas.topics import GATE_INPUTS, named
from sender.accounts import AccountReader, pressing, told_of
from sender.gate.shell import decode
from sender.ses.account import limits_of
from streams.admin import create_topics
from streams.clients import Kafka
from streams.settings import RelaySettings
from streams.table import read_topic

PAUSED = ACCOUNT | {"SendingEnabled": False}


def account(**quota: float) -> dict[str, object]:
    return ACCOUNT | {"SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 0.0} | quota}


def told(kafka: Kafka, topic: str) -> list[RelayAccount]:
    """What stands on the gate's topic."""
    found = [decode(record.value) for record in read_topic(kafka, topic)]
    assert all(isinstance(one, RelayAccount) for one in found)
    return [one for one in found if isinstance(one, RelayAccount)]


@pytest.fixture
def topic(embedded_kafka: Kafka, prefix: str) -> str:
    create_topics(embedded_kafka, [GATE_INPUTS], 2, prefix)
    return named(prefix, GATE_INPUTS)


def test_counts_are_whole_and_never_in_the_accounts_disfavour() -> None:
    limits = limits_of(account(Max24HourSend=200.5, SentLast24Hours=10.2))
    found = told_of("amazon", limits, 5.0, 300.0)
    assert (found.rate, found.quota, found.sent, found.refusal) == (14.0, 200, 11, None)
    unlimited = told_of("amazon", limits_of(account(Max24HourSend=-1.0)), 5.0, 300.0)
    assert unlimited.quota is None


@pytest.mark.parametrize(
    ("said", "soon"),
    [
        (account(), False), (account(SentLast24Hours=45000.0), True), (PAUSED, True),
        (ACCOUNT | {"EnforcementStatus": "SHUTDOWN"}, True), (account(Max24HourSend=-1.0, SentLast24Hours=9e9), False),
    ],
)  # fmt: skip
def test_what_holds_mail_back_is_read_again_soon(said: dict[str, object], soon: bool) -> None:
    assert pressing(limits_of(said)) is soon


def test_every_account_is_read_at_start_and_again_and_the_gate_understands_it(
    embedded_kafka: Kafka, topic: str, server: SesServer
) -> None:
    relays = {"amazon": settings(server.url), "main": RelaySettings(host="mail.example")}
    before = time.time()
    with AccountReader(embedded_kafka, topic, relays, every=0.2, soon=0.1):
        eventually(lambda: told(embedded_kafka, topic), 30)
        server.account = Answer(200, PAUSED)
        eventually(lambda: told(embedded_kafka, topic)[-1].refusal, 30)
    found = told(embedded_kafka, topic)
    assert {one.relay for one in found} == {"amazon"}
    assert (found[0].rate, found[0].quota, found[0].sent, found[0].refusal) == (14.0, 50000, 1234, None)
    assert before <= found[0].read_real <= time.time()
    assert [one.read_real for one in found] == sorted(one.read_real for one in found)
    assert "resume it in the SES console" in (found[-1].refusal or "")


@pytest.mark.parametrize(
    "failing",
    [
        error("AccessDeniedException", 403, "not authorized to perform ses:GetAccount"),
        error("TooManyRequestsException", 429, "Rate exceeded"),
        Answer(close="late"),
        Answer(200, {"SendQuota": {"MaxSendRate": "many"}}),
    ],
    ids=["denied", "throttled", "cut", "nonsense"],
)
def test_an_account_that_cannot_be_read_tells_nothing_and_stops_nobody(
    embedded_kafka: Kafka, topic: str, server: SesServer, failing: Answer
) -> None:
    server.account = failing
    with AccountReader(embedded_kafka, topic, {"amazon": settings(server.url)}, every=0.1, soon=0.1):
        eventually(lambda: server.asked() > 1, 30)
        assert told(embedded_kafka, topic) == []
        server.account = Answer(200, ACCOUNT)
        eventually(lambda: told(embedded_kafka, topic), 30)


def test_moto_whose_accounts_cannot_be_read_is_no_trouble(embedded_kafka: Kafka, topic: str) -> None:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        with AccountReader(
            embedded_kafka, topic, {"amazon": settings(f"http://{host}:{port}")}, every=0.1, soon=0.1
        ) as reader:
            eventually(lambda: reader.reads > 1, 30)
            assert told(embedded_kafka, topic) == []
    finally:
        moto.stop()


def test_doctor_shows_what_the_account_allows(tmp_path: Path, server: SesServer) -> None:
    file = tmp_path / "rampa.toml"
    file.write_text(
        f'data = "{tmp_path}"\n[relays.amazon]\ntype = "ses"\nregion = "us-east-1"\nendpoint_url = "{server.url}"\n'
        '[kafka]\nbootstrap = "embedded"\n'
    )
    check = next(c for c in examine(file) if c.name == "relay amazon")
    assert check.state == "ok", check
    assert "14 messages a second, 1234 of 50000 in 24 hours are used, HEALTHY" in check.detail
    server.account = Answer(200, PAUSED)
    check = next(c for c in examine(file) if c.name == "relay amazon")
    assert (check.state, "paused for this account" in check.detail) == ("failed", True)
