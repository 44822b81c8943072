"""One campaign goes the whole way: from a record on a topic to mail in a mailbox."""

from __future__ import annotations

from pathlib import Path

from pipeline import Pipeline, request

from schemas.batch import Batch
from schemas.event import MailEvent
from schemas.topics import BATCHES, CAMPAIGN_REQUESTS, MAIL_EVENTS
from simulator.process import SimulatorProcess
from streams.clients import Kafka
from streams.table import read_topic


def test_a_request_becomes_mail_and_everybody_is_accounted_for(any_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    bounces = 'return_path = "bounces@bore.example"'  # the last of its domain
    with (
        SimulatorProcess(tmp_path / "provider") as provider,
        Pipeline(any_kafka, prefix, tmp_path, provider, more=bounces) as p,
    ):
        p.start()
        p.submit(request("hola", 30))
        done = p.wait("hola", "completed")
        assert (done.recipients, done.accepted, done.conserved()) == (30, 30, 30)
        mails = p.mails()
        assert sorted(r for m in mails for r in m.recipients) == sorted(f"p{i}@hola.example" for i in range(30))
        batches = p.newest(BATCHES, Batch)
        assert [(b.size, b.state, b.accepted) for b in batches.values()] == [(30, "completed", 30)]
        events = [MailEvent.decode(r.value or b"") for r in read_topic(any_kafka, p.access.name(MAIL_EVENTS))]
        assert sorted(e.recipient_index for e in events) == list(range(30))
        assert {e.event_type for e in events} == {"accepted"}
        assert {e.message_id for e in events} == {m.message_id for m in mails}
        for mail in mails:  # its bounce comes back to an address that says which it was
            assert mail.sender == f"bounces+{mail.message_id.strip('<>').partition('@')[0]}@bore.example"

        # The same again changes nothing; other content under the same id is refused and harms nothing.
        p.submit(request("hola", 30))
        p.submit(request("hola", 31), key="another key")
        p.submit(request("adios", 1))
        p.wait("adios", "completed")
        assert len(p.mails()) == 31
        letters = p.dead_letters(CAMPAIGN_REQUESTS)
        assert len(letters) == 1
        assert "hola" in letters[0]["error"]
        assert p.wait("hola", "completed").accepted == 30


def test_a_stopped_pipeline_goes_on_where_it_was(apache_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    relay = {"rate": "40/s"}
    with SimulatorProcess(tmp_path / "provider") as provider:
        with Pipeline(apache_kafka, prefix, tmp_path, provider, relay=relay) as first:
            first.start()
            first.submit(request("larga", 200))
            running = first.wait("larga", "running")
            assert running.recipients == 200
            for name in ("sender-1", "gate-1", "planner-1"):
                assert first.stop(name) == 0
            sent = len(first.mails())
            assert sent < 200
        with Pipeline(apache_kafka, prefix, tmp_path, provider, relay=relay) as second:
            second.start()
            done = second.wait("larga", "completed")
            assert (done.accepted, done.in_doubt) == (200, 0)
            recipients = [r for m in second.mails() for r in m.recipients]
            assert len(recipients) == len(set(recipients)) == 200
