"""181 people of a meetup, by a server that closes connections: nobody twice, nobody forgotten, and who is in doubt
is listed and settled."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from console.domains import standings
from schemas.event import MailEvent
from schemas.evidence import evidence_of
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_COMMANDS, GATE_INPUTS, MAIL_EVENTS
from simulator.process import SimulatorProcess
from simulator.rules import Drop
from streams.clients import Kafka
from streams.table import read_topic

PEOPLE = 181
DOUBTFUL = ("kept", "lost", "dropped", "seen", "waits")
RULES = [
    Drop(at="data", every=30),
    Drop(at="message", when="after", every=30),
    *(Drop(at="message", keep=name != "lost", recipient=f"{name}@doubt.example", limit=1) for name in DOUBTFUL),
]


@pytest.fixture
def pipeline(embedded_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    with SimulatorProcess(tmp_path / "provider", rules=RULES) as provider:
        relay = {"connections": 3, "rate": "200/s"}
        quick = '[strategies.quick]\ntype = "batch"\ninterval_minutes = 0'
        with Pipeline(embedded_kafka, prefix, tmp_path, provider, relay=relay, more=quick) as p:
            yield p.start()


def meetup(*addresses: str) -> dict[str, Any]:
    """A campaign to these and to others, 181 in all."""
    rows = [{"email": a, "first_name": "Ana"} for a in addresses]
    rows += [{"email": f"p{i}@meetup.example", "first_name": "Ben"} for i in range(PEOPLE - len(rows))]
    return request("meetup", recipients={"inline": rows}, strategy={"type": "quick"})


def mailed(p: Pipeline) -> Counter[str]:
    return Counter(r for m in p.mails() for r in m.recipients)


def rampa(p: Pipeline, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "console.cli.main", "campaign", *words, "--config", str(p.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def figures(p: Pipeline, **wanted: int) -> CampaignProgress:
    """Wait until the campaign's figures are these."""

    def there() -> CampaignProgress | None:
        found = p.progress("meetup")
        return found if found and all(getattr(found, name) == n for name, n in wanted.items()) else None

    found = eventually(there, 60, lambda: p.say("meetup", [str(wanted)]))
    assert found is not None
    assert found.conserved() == PEOPLE
    return found


def test_a_server_that_closes_one_connection_in_thirty_takes_all_of_them_once(pipeline: Pipeline) -> None:
    pipeline.submit(meetup())
    done = pipeline.wait("meetup", "completed")
    assert (done.accepted, done.in_doubt, done.failed, done.conserved()) == (PEOPLE, 0, 0, PEOPLE)
    assert (len(mailed(pipeline)), max(mailed(pipeline).values())) == (PEOPLE, 1)
    provider = pipeline.provider
    assert provider is not None
    assert sum(provider.stop()["rules"].values()) >= 2 * (PEOPLE // 30)  # so often it closed a connection


def test_who_is_in_doubt_is_listed_and_settled_one_by_one(pipeline: Pipeline) -> None:
    p = pipeline
    p.submit(meetup(*(f"{name}@doubt.example" for name in DOUBTFUL)))
    done = p.wait("meetup", "completed")
    assert (done.accepted, done.in_doubt) == (PEOPLE - 5, 5)
    listed = rampa(p, "recipients", "meetup", "--state", "in_doubt", "--json").stdout.splitlines()
    places = {f["email"].partition("@")[0]: (f["batch_number"], f["index"]) for f in map(json.loads, listed)}
    assert sorted(places) == sorted(DOUBTFUL)

    refused = rampa(p, "resolve", "meetup", "--accepted", "--address", "p7@meetup.example")
    assert (refused.returncode, "is accepted, not in doubt" in refused.stderr) == (1, True)

    kept = rampa(p, "resolve", "meetup", "--accepted", "--address", "kept@DOUBT.example")
    assert kept.returncode == 0, kept.stderr
    figures(p, accepted=PEOPLE - 4, in_doubt=4)
    assert rampa(p, "resolve", "meetup", "--drop", "--address", "dropped@doubt.example").returncode == 0
    figures(p, accepted=PEOPLE - 4, in_doubt=3, failed=1)

    # a program that is not ours, which knows an address and nothing else
    p.command("meetup", "resolve", resolution="resend", address="lost@doubt.example")
    figures(p, accepted=PEOPLE - 3, in_doubt=2, failed=1)
    p.command("meetup", "resolve", resolution="resend", address="lost@doubt.example")
    letters = eventually(lambda: p.dead_letters(GATE_INPUTS), 30)
    assert ["nobody in doubt in campaign meetup has the address lost@" in x["error"] for x in letters or ()] == [True]

    show_that_it_arrived(p, *places["seen"])
    figures(p, accepted=PEOPLE - 2, in_doubt=1, failed=1)

    p.domain_command("bore.example", "pause")
    eventually(lambda: standings(p.access)[0]["paused"], 30)
    p.command("meetup", "resolve", resolution="resend")
    figures(p, accepted=PEOPLE - 2, in_doubt=0, waiting=1, failed=1)
    show_that_it_arrived(p, *places["waits"])  # before he is sent to again
    figures(p, accepted=PEOPLE - 1, in_doubt=0, waiting=0, failed=1)
    p.domain_command("bore.example", "resume")
    eventually(lambda: not standings(p.access)[0]["paused"], 30)
    assert p.wait("meetup", "completed").accepted == PEOPLE - 1
    assert (len(mailed(p)), max(mailed(p).values())) == (PEOPLE, 1)  # who was dropped had been taken, too
    assert p.dead_letters(CAMPAIGN_COMMANDS) == []


def show_that_it_arrived(p: Pipeline, number: int, index: int) -> None:
    """What a feedback source writes when a delivery is reported."""
    said = [MailEvent.decode(r.value or b"") for r in read_topic(p.access.kafka, p.access.name(MAIL_EVENTS))]
    doubt = next(e for e in said if (e.event_type, e.batch_number, e.recipient_index) == ("in_doubt", number, index))
    delivered = doubt.model_copy(update={"event_type": "delivered", "event_time": datetime.now(UTC)})
    evidence = evidence_of(delivered)
    assert evidence is not None
    p.put(GATE_INPUTS, evidence.relay, evidence.encode())
