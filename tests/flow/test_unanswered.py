"""A relay that closes the connection after each message: it is down, and few are in doubt, or get a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from console.alerts import alerts
from simulator.process import SimulatorProcess
from simulator.rules import Drop
from streams.clients import Kafka

PEOPLE = 300
LOST = 10
"""More than it takes to find it out on two connections, by one probe or two."""


@pytest.mark.parametrize("policy", ["hold", "resend"])
def test_a_relay_that_closes_after_each_message_is_held_probed_and_used_again(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path, policy: str
) -> None:
    rules = [Drop(at="message", limit=LOST)]
    with SimulatorProcess(tmp_path / "provider", rules=rules) as provider:
        relay = {"connections": 2}
        with Pipeline(embedded_kafka, prefix, tmp_path, provider, relay=relay) as p:
            p.start()
            p.submit(request("mute", PEOPLE, in_doubt=policy))
            done = p.wait("mute", "completed")
            assert (done.accepted, done.failed) == (PEOPLE - done.in_doubt, 0)
            assert done.in_doubt == LOST if policy == "hold" else done.in_doubt <= LOST // 2  # who was lost twice
            mailed = [r for m in p.mails() for r in m.recipients]
            assert len(mailed) == len(set(mailed)) == done.accepted

            def told() -> list[bool]:
                return [a.resolved for a in alerts(p.access) if a.kind == "relay_down"]

            eventually(lambda: told() == [False, True], 30, lambda: str(list(alerts(p.access))))
            detail = next(a.detail for a in alerts(p.access) if a.kind == "relay_down")
            assert "closes the connection after each message, before its reply" in detail
            assert sum(provider.stop()["rules"].values()) == LOST
