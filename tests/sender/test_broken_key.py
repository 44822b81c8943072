"""A DKIM key that cannot be used holds the mail of its domain; nobody fails by it. Real broker, real sockets."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from sending import Gate, SenderThread, context, people, settings

from simulator.process import SimulatorProcess
from simulator.settings import Settings as SimulatorSettings
from streams.clients import Kafka
from streams.settings import DkimSettings, DomainSettings


@pytest.mark.parametrize("broken", [None, b"no key"], ids=["missing", "garbage"])
def test_a_broken_key_holds_the_batch_until_it_is_mended(
    embedded_kafka: Kafka, tmp_path: Path, broken: bytes | None
) -> None:
    prefix, file = f"key{uuid.uuid4().hex[:6]}.", tmp_path / "r1.pem"
    if broken is not None:
        file.write_bytes(broken)
    shown = SimulatorSettings(record_headers=("DKIM-Signature",))
    with (
        SimulatorProcess(tmp_path / "mailbox", settings=shown) as mailbox,
        Gate(embedded_kafka, prefix) as gate,
    ):
        signed = DomainSettings(relay="main", dkim=DkimSettings(selector="r1", key_file=file))
        these = settings(mailbox.port, prefix).model_copy(update={"domains": {"bore.example": signed}})
        gate.plan(people(3))
        with SenderThread(context(embedded_kafka, these, "s1", tmp_path)):
            held = gate.final(gate.permit())
        assert (held.stopped, held.begun, held.failed, held.unsent) == ("unready", 0, (), ((0, 3),))
        assert "the DKIM key of bore.example" in (held.detail or "")
        assert "rampa doctor" in (held.detail or "")
        key = ed25519.Ed25519PrivateKey.generate()
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write_bytes(key.private_bytes(*form))
        with SenderThread(context(embedded_kafka, these, "s1", tmp_path)):
            assert gate.final(gate.permit()).accepted == 3
        taken = list(mailbox.records())
        assert [("d=bore.example" in one.headers["DKIM-Signature"]) for one in taken] == [True] * 3
