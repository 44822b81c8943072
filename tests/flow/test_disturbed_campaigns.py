"""What people do in the middle of a campaign, and a relay that goes away. One pipeline for all of these tests."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import orjson
import pytest
from floods import Floods
from supervised import Supervised
from verdict import Wire
from waiting import eventually

from console import submitting
from schemas.command import CampaignCommand
from schemas.topics import SEND_JOURNAL
from simulator.process import SimulatorProcess
from simulator.rules import Slow
from streams.clients import Kafka
from streams.table import read_topic

pytestmark = pytest.mark.apache

WIRE = Wire(connections=6, ahead=1, rate=200)
PREFIX = "disturbed."


@pytest.fixture(scope="module")
def stage(apache_kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    directory = tmp_path_factory.mktemp("disturbed")
    relay = {"connections": WIRE.connections, "rate": f"{WIRE.rate:g}/s"}
    with SimulatorProcess(directory / "provider", rules=[Slow(at="message", milliseconds=15)]) as provider, Supervised(
        apache_kafka, PREFIX, directory, provider, relay=relay, planners=1, gates=1, batch=100
    ) as these:  # fmt: skip
        yield these.up()


def test_a_rolling_restart_leaves_nobody_in_doubt(stage: Supervised) -> None:
    """Three senders are stopped one after the other, as planned; each comes back before the next one goes."""
    floods = Floods(stage, "rolling", 1000)
    floods.keep()
    for name in ("sender-1", "sender-2", "sender-3"):
        restart(stage, floods, name)
        assert floods.open
    done = floods.finish(60)
    assert [(d.accepted, d.in_doubt, d.conserved()) for d in done] == [(1000, 0, 1000)] * len(done)
    assert {a: n for a, n in stage.look().items() if n > 1} == {}
    assert floods.taken() == 1000 * len(done)


def restart(stage: Supervised, floods: Floods, name: str) -> None:
    """SIGTERM in the middle of campaigns; returns when the next process of that name has work."""
    taken = floods.taken()
    eventually(lambda: floods.taken() > taken + 50, 60, lambda: stage.say("rolling0", {"more mail"}))
    floods.keep()
    before = stage.one(name)
    stage.send(before, signal.SIGTERM)
    eventually(lambda: stage.one(name).starts > before.starts, 30, lambda: str(stage.status()))
    assert stage.one(name).last_end == "exit status 0"
    eventually(lambda: stage.owns(name), 60, lambda: stage.say("rolling0", {"a new owner"}))


def test_after_a_cancel_only_what_was_intended_goes_out(stage: Supervised) -> None:
    """The command is acknowledged when progress shows it; the owners of its batches hear of it a moment later.

    From then on nothing is begun: only what its connections had on the wire goes out. In between, what is begun was
    intended before: at most what is on the wire and half a second's worth ahead.
    """
    stage.flood("cancelled", 5000)
    eventually(lambda: stage.of("cancelled") > 300, 60, lambda: stage.say("cancelled", {"mail goes out"}))
    asked = time.time()
    answer = submitting.command(stage.access, CampaignCommand(campaign_id="cancelled", action="cancel"))
    acknowledged = time.time()
    assert answer.state == "cancelled"
    shown = stage.wait("cancelled", "cancelled")
    eventually(lambda: quiet(stage), 30, lambda: stage.say("cancelled", {"nothing in flight"}))
    done = stage.wait("cancelled", "cancelled")
    times = sorted(m.time for m in stage.mails() if m.recipients[0].endswith("@cancelled.example"))
    late = [t for t in times if t > acknowledged]
    last = max(heard(stage))
    after = [t for t in times if t > last]
    print(
        f"cancel: the last mail {times[-1] - asked:.3f} s after the command, which was acknowledged after "
        f"{acknowledged - asked:.3f} s; {len(late)} mails later than that, {len(after)} after all owners had heard; "
        f"in flight when it was shown: {shown.in_flight}"
    )
    assert len(late) <= WIRE.of_one_suspended
    assert len(after) <= WIRE.of_one_killed
    assert (done.in_doubt, done.in_flight, done.waiting) == (0, 0, 0)
    assert done.accepted == len(times)
    assert done.accepted + done.cancelled == done.recipients == done.conserved() == 5000
    stage.flood("afterwards", 20)  # the pipeline goes on; of the cancelled campaign nothing more comes
    stage.wait("afterwards", "completed")
    assert stage.of("cancelled") == len(times)


def quiet(stage: Supervised) -> bool:
    found = stage.progress("cancelled")
    return found is not None and found.in_flight == 0


def heard(stage: Supervised) -> list[float]:
    """When the owner of each batch that was being sent recorded the order, in Unix seconds."""
    first: dict[int, float] = {}
    for record in read_topic(stage.access.kafka, stage.access.name(SEND_JOURNAL)):
        row = orjson.loads(record.value or b"{}")
        if row.get("campaign_id") == "cancelled" and row.get("control") == "cancel":
            first.setdefault(row["batch_number"], record.timestamp_ms / 1000)
    return list(first.values())


@pytest.mark.parametrize("seconds", [10, pytest.param(600, marks=[pytest.mark.chaos, pytest.mark.timeout(1200)])])
def test_a_relay_that_was_away_costs_nobody(stage: Supervised, seconds: int) -> None:
    """Its server is killed and comes back on the same port. Meanwhile `explain` says why nothing goes out."""
    name, provider = f"away{seconds}", stage.provider
    assert provider is not None
    stage.flood(name, 1500)
    eventually(lambda: stage.of(name) > 300, 60, lambda: stage.say(name, {"mail goes out"}))
    provider.kill()
    gone = time.monotonic()
    stage.wait_hold(name, "relay_down")
    said = stage.rampa("campaign", "explain", name)
    assert "main" in said
    assert "next try is" in said.lower() or "tried now" in said
    eventually(lambda: time.monotonic() > gone + seconds, seconds + 5, every=0.5)
    between = stage.of(name)
    assert between < 1500
    provider.start()
    back = time.monotonic()
    eventually(lambda: stage.of(name) > between, 90, lambda: stage.say(name, {"more mail"}))
    again = time.monotonic() - back
    done = stage.wait(name, "completed", timeout=60)
    taken = {a: n for a, n in stage.look().items() if a.endswith(f"@{name}.example")}
    print(f"away for {seconds} s: goes on {again:.1f} s after it was back; in doubt {done.in_doubt}")
    assert max(taken.values()) == 1
    assert (done.accepted + done.in_doubt, done.failed, done.conserved()) == (1500, 0, 1500)
    assert done.in_doubt <= WIRE.of_one_killed
    doubt = stage.listed(name, "in_doubt")
    assert len(doubt) == done.in_doubt
    assert {f"p{i}@{name}.example" for i in range(1500)} - set(doubt) <= taken.keys()
