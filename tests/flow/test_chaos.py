"""The whole pipeline while its processes, and its broker, are killed, suspended and stopped at random.

Two planners, two gates and three senders run under the product's supervisor, as `rampa up` runs them. Campaigns
are submitted while there are fewer than three open, so that every disturbance finds work. At the end the provider's
own record, the senders' journal, the events and what rampa shows must agree (`verdict.py`). Two campaigns of three
hold whoever is in doubt; the third sends them again. `CHAOS_SEED` chooses the disturbances; their log is
`disturbances.jsonl` in the test's directory.

What differs on the embedded broker: it does not refuse a commit of a process that has lost its partitions, and
shows readers what an aborted transaction wrote. Nobody may be lost there either, and while processes are only killed
nobody is mailed twice. A process that was suspended past its session and woken may mail some twice; how many is
printed, not bounded. An event may come twice, or say `accepted` of somebody who is in doubt: it was written by a
transaction that was aborted. None is missing, because they go out before the rows. The broker itself holds all in
memory and is not killed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from floods import Floods
from storm import Storm
from supervised import Supervised
from verdict import Verdict, Wire
from waiting import eventually

from simulator.process import SimulatorProcess
from simulator.rules import Slow
from simulator.settings import Settings as Offered
from streams.brokers.local import QUICK, LocalBroker
from streams.clients import Kafka

SLOW = [Slow(at="message", milliseconds=15)]
"""Each message is on a wire for a while, so that a kill of a busy sender finds some there."""
EACH = ("hold", "hold", "resend")
SHORT = Wire(connections=9, ahead=1, rate=300)
LONG = Wire(connections=12, ahead=1, rate=800)
CHUNKED = Wire(connections=12, ahead=4, rate=800)
"""With CHUNKING: four messages on each connection ahead of their replies."""


@contextmanager
def supervised(kafka: Kafka, prefix: str, directory: Path, wire: Wire, **more: Any) -> Iterator[Supervised]:
    offered = Offered(chunking=wire.ahead > 1)
    relay = {"connections": wire.connections, "rate": f"{wire.rate:g}/s", "in_flight": wire.ahead}
    with SimulatorProcess(directory / "provider", rules=SLOW, settings=offered) as provider, Supervised(
        kafka, prefix, directory, provider, relay=relay, **more
    ) as stage:  # fmt: skip
        try:
            yield stage.up()
        except AssertionError:
            print((directory / "disturbances.jsonl").read_text())
            raise


def run(floods: Floods, storm: Storm, *, campaigns: int, kills: int, seconds: float) -> None:
    """Campaigns until there were so many, and so many kills; then calm, until all have ended."""

    def enough() -> bool:
        if len(floods.sent) < campaigns or storm.kills < kills:
            floods.keep()
            return False
        return True

    floods.keep()
    eventually(lambda: floods.taken() > 20, 60, lambda: storm.stage.say("c0", {"mail goes out"}))
    storm.until(enough, seconds, f"{campaigns} campaigns and {kills} kills")
    storm.calm()
    floods.finish(seconds)


def judge(floods: Floods, storm: Storm, wire: Wire, began: float, *, embedded: bool = False) -> Verdict:
    """What holds on both brokers; and, but for the embedded one, what holds on Apache Kafka alone."""
    verdict = Verdict(storm.stage, storm, floods.sent)
    missing, more, repeated = verdict.events_that_differ()
    print(f"{storm.summary()}; {sum(f.people for f in floods.sent)} mails in {time.monotonic() - began:.0f} s")
    print(f"{len(verdict.twice())} mailed twice; events missing {missing}, too many {more}, repeated {repeated}")
    verdict.nobody_is_lost()
    verdict.everyone_in_doubt_is_listed()
    assert missing == 0
    print(verdict.the_sum_held_at_any_time(), "progress records, the sum held in each")
    if not embedded:
        verdict.nobody_is_mailed_twice_who_was_not_in_doubt()
        print(verdict.doubts_are_bounded(wire))
        print(verdict.held_at_the_end(wire))
        assert (more, repeated) == (0, 0)
    return verdict


@pytest.mark.apache
@pytest.mark.timeout(180)
def test_killed_and_suspended_nobody_is_mailed_twice_and_nobody_is_lost(
    kafka_home: Path, prefix: str, tmp_path: Path
) -> None:
    """The short form of the two long ones below: the broker dies once."""
    began = time.monotonic()
    with LocalBroker(tmp_path / "kafka", home=kafka_home, jvm_options=QUICK) as broker, supervised(
        broker.kafka, prefix, tmp_path, SHORT, batch=100
    ) as stage:  # fmt: skip
        kinds = {"suspend": 1, "kill": 2, "break": 1}
        storm = Storm(stage, kinds, pause=(2, 3.5), asleep=(2, 9), in_turn=True, broker=broker)
        floods = Floods(stage, "c", 700, at_once=3, in_doubt=EACH)
        run(floods, storm, campaigns=3, kills=3, seconds=120)
        judge(floods, storm, SHORT, began)


@pytest.mark.timeout(180)
def test_on_the_embedded_broker_nobody_is_lost(embedded_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with supervised(embedded_kafka, prefix, tmp_path, SHORT, batch=100, planners=1, gates=1, senders=2) as stage:
        storm = Storm(stage, {"kill": 1}, pause=(2, 4))
        floods = Floods(stage, "c", 500, at_once=3, in_doubt=EACH)
        run(floods, storm, campaigns=3, kills=2, seconds=120)
        verdict = judge(floods, storm, SHORT, began, embedded=True)
        verdict.nobody_is_mailed_twice_who_was_not_in_doubt()


@pytest.mark.apache
@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_mails_under_a_hundred_kills(apache_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with supervised(apache_kafka, prefix, tmp_path, LONG, partitions=12) as stage:
        storm = Storm(stage)
        floods = Floods(stage, "c", 10_000, at_once=3, in_doubt=EACH)
        run(floods, storm, campaigns=10, kills=100, seconds=1800)
        judge(floods, storm, LONG, began)


@pytest.mark.apache
@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_mails_while_the_broker_dies_too(kafka_home: Path, prefix: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with LocalBroker(tmp_path / "kafka", home=kafka_home, jvm_options=QUICK) as broker, supervised(
        broker.kafka, prefix, tmp_path, CHUNKED, partitions=12
    ) as stage:  # fmt: skip
        storm = Storm(stage, {"kill": 12, "suspend": 3, "stop": 1, "break": 1}, broker=broker)
        floods = Floods(stage, "c", 10_000, at_once=3, in_doubt=EACH)
        run(floods, storm, campaigns=10, kills=100, seconds=2700)
        judge(floods, storm, CHUNKED, began)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suspend", [0, 1], ids=["killed", "suspended too"])
def test_on_the_embedded_broker_nobody_of_many_is_lost(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path, suspend: int
) -> None:
    """Nobody is mailed twice either while processes are only killed: those who send again know it."""
    began = time.monotonic()
    with supervised(embedded_kafka, prefix, tmp_path, LONG, partitions=12) as stage:
        kinds = {"kill": 3, "suspend": suspend, "stop": suspend}
        storm = Storm(stage, kinds, pause=(3, 7))  # a group there must be left alone for a while until it has its work
        floods = Floods(stage, "c", 10_000, at_once=3, in_doubt=EACH)
        run(floods, storm, campaigns=3 if suspend else 10, kills=10 if suspend else 100, seconds=2700)
        verdict = judge(floods, storm, LONG, began, embedded=True)
        if not suspend:
            verdict.nobody_is_mailed_twice_who_was_not_in_doubt()
            print(verdict.doubts_are_bounded(LONG))
