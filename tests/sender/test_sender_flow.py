"""A permit goes in; mail, events and results come out. Real broker, real sockets."""

from __future__ import annotations

from pathlib import Path

from sending import Gate, SenderThread, context, people, recipients_of, settings

from simulator.process import SimulatorProcess
from streams.clients import Kafka


def test_a_permit_goes_the_whole_way(any_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    with SimulatorProcess(tmp_path / "mailbox") as mailbox, Gate(any_kafka, prefix) as gate:
        gate.plan(people(120), part=50)
        with SenderThread(context(any_kafka, settings(mailbox.port, prefix), "s1", tmp_path)):
            chunk = gate.permit()
            result = gate.final(chunk)
            gate.until(120)
        assert recipients_of(mailbox.records()) == dict.fromkeys(people(120), 1)
    assert (result.accepted, result.begun, result.unsent, result.stopped) == (120, 120, (), "done")
    assert sum(result.sent_on.values()) == 120
    assert gate.kinds() == {"accepted": 120}
    event = next(e for e in gate.events if e.recipient_index == 7)
    assert (event.recipient, event.recipient_domain, event.tags) == ("p7@mail.example", "mail.example", {"team": "x"})
    assert (event.smtp_code, event.attempt, event.relay) == (250, 1, "main")
    assert event.message_id.endswith("@bore.example>")
