"""An SES account that may not send holds its campaigns, says why, and goes on when it may: by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline import Pipeline, request
from ses_world import ACCOUNT, Answer, SesServer

from console.explain import explain
from streams.clients import Kafka


def test_a_paused_account_holds_the_relay_until_it_is_resumed(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    server = SesServer()
    server.account = Answer(200, ACCOUNT | {"SendingEnabled": False})
    relay = {"type": "ses", "endpoint_url": server.url, "region": "us-east-1"}
    try:
        with Pipeline(embedded_kafka, prefix, tmp_path, relay=relay) as p:
            p.start()
            p.submit(request("cuenta", 20))
            held = p.wait_hold("cuenta", "relay_down")
            assert "sending is paused for this account" in explain(held, p.clock.now())[0]
            assert server.sent == []
            server.account = Answer(200, ACCOUNT)
            done = p.wait("cuenta", "completed", timeout=90)
            assert (done.accepted, done.failed, len(server.sent)) == (20, 0, 20)
    finally:
        server.stop()
