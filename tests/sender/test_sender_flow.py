"""A permit goes in; mail, events and results come out. Real broker, real sockets, one sender for all tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sending import Gate, SenderThread, context, people, recipients_of, settings
from waiting import eventually

from schemas import topics
from schemas.batch import Pointer, Range
from schemas.campaign import ResolvedTemplate
from schemas.chunk import Chunk, ChunkResult
from schemas.event import MailEvent
from schemas.records import Suppression
from simulator.process import SimulatorProcess
from simulator.rules import Drop, LimitConnections, Reject, Throttle
from streams import process
from streams.clients import Kafka
from streams.settings import Settings
from streams.table import read_topic

BLOCKED = "Client host [192.0.2.1] blocked using zen.spamhaus.org"


@dataclass
class World:
    gate: Gate
    mailbox: SimulatorProcess
    flaky: SimulatorProcess
    narrow: SimulatorProcess
    batches: int = 0

    def plan(self, emails: list[str], **more: int) -> int:
        """A batch of its own for a test."""
        self.batches += 1
        self.gate.plan(emails, self.batches, **more)
        return self.batches

    def events(self, number: int) -> dict[int, MailEvent]:
        """The last event of each index of a batch."""
        self.gate.hear()
        return {e.recipient_index: e for e in self.gate.events if e.batch_number == number}

    def mailed(self, domain: str) -> dict[str, int]:
        """How often each address of a domain was mailed, by the servers' own record."""
        records = [*self.mailbox.records(), *self.flaky.records()]
        return {a: n for a, n in recipients_of(records).items() if a.endswith("@" + domain)}


def indices(ranges: tuple[Range, ...]) -> list[int]:
    return [i for start, end in ranges for i in range(start, end)]


@pytest.fixture(scope="module")
def world(embedded_kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory, prefix = tmp_path_factory.mktemp("flow"), f"flow{uuid.uuid4().hex[:6]}."
    with (
        SimulatorProcess(directory / "mailbox") as mailbox,
        SimulatorProcess(
            directory / "flaky",
            rules=[
                Drop(at="data", every_connection=30, recipient="*@one-in-thirty.example"),
                Reject(
                    at="rcpt", code=550, enhanced="5.4.5", text="Daily quota exceeded", recipient="odd@alone.example"
                ),
                Throttle(at="rcpt", per_second=10, burst=5, recipient="*@throttled.example"),
                Reject(at="rcpt", code=554, enhanced="5.7.1", text=BLOCKED, recipient="*.walled.example"),
                Reject(
                    at="message",
                    code=454,
                    text="Throttling failure: Daily message quota exceeded",
                    recipient="*@used-up.example",
                ),
            ],
        ) as flaky,
        SimulatorProcess(directory / "narrow", rules=[LimitConnections(most=2)]) as narrow,
        Gate(embedded_kafka, prefix) as gate,
    ):
        base = settings(mailbox.port, prefix)
        relay = base.relays["main"]
        relays = {
            **base.relays,
            "flaky": relay.model_copy(update={"port": flaky.port}),
            "brief-flaky": relay.model_copy(update={"port": flaky.port, "messages_per_connection": 2}),
            "narrow": relay.model_copy(update={"port": narrow.port}),
            "walled": relay.model_copy(update={"port": flaky.port}),
            "strict": relay.model_copy(update={"port": flaky.port}),
            "alone": relay.model_copy(update={"port": flaky.port}),
            "used-up": relay.model_copy(update={"port": flaky.port}),
            "dead": relay.model_copy(update={"port": process.free_port()}),
        }
        these: Settings = base.model_copy(update={"relays": relays})
        with SenderThread(context(embedded_kafka, these, "s1", directory)):
            ready = World(gate, mailbox, flaky, narrow)
            gate.final(gate.permit(number=ready.plan(["canary@awake.example"])))  # permits with little time come later
            yield ready


def test_each_recipient_gets_the_end_that_its_server_gives_it(world: World) -> None:
    emails = [
        "fine@ends.example",
        "bounce+550-5.1.1+a@ends.example",
        "greylist+1+a@ends.example",
        "defer+451-4.3.0+a@ends.example",
        "drop+kept+a@ends.example",
        "drop+data+a@ends.example",
        "Stopped@ends.example",
    ]
    stop = Suppression(address="stopped@ends.example", reason="unsubscribed", at=datetime.now(UTC))
    world.gate.put(topics.SUPPRESSIONS, stop.address, stop.encode())
    ready = world.plan(["canary@ready.example"])  # the suppression has been read when this one went out
    world.gate.final(world.gate.permit(number=ready))
    number = world.plan(emails)
    result = world.gate.final(world.gate.permit(number=number, max_retries=1))
    assert (result.accepted, result.suppressed, result.failed, result.in_doubt) == (
        2,
        1,
        ((1, 2), (3, 4), (5, 6)),
        ((4, 5),),
    )
    assert (result.begun, sum(result.sent_on.values()), result.unsent, result.stopped) == (6, 6, (), "done")
    eventually(lambda: len(world.events(number)) == 7)
    ends = world.events(number)
    assert [(e.event_type, e.attempt, e.smtp_code, e.reason) for _, e in sorted(ends.items())] == [
        ("accepted", 1, 250, ""),
        ("failed", 1, 550, "bad_mailbox"),
        ("accepted", 2, 250, ""),
        ("failed", 2, 451, "not_accepting"),
        ("in_doubt", 1, 0, "network"),
        ("failed", 2, 0, "network"),
        ("suppressed", 0, 0, "suppressed"),
    ]
    assert world.mailed("ends.example") == {
        "fine@ends.example": 1, "greylist+1+a@ends.example": 1, "drop+kept+a@ends.example": 1,
    }  # fmt: skip


def test_who_is_refused_for_now_comes_back_as_deferred_and_is_sent_when_a_permit_says_so(world: World) -> None:
    number = world.plan(["fine@later.example", "greylist+2+a@later.example", "defer+451-4.3.0+b@later.example"])
    first = world.gate.permit(number=number, max_retries=0, defer=True)
    result = world.gate.final(first)
    assert (result.accepted, result.deferred, result.failed, result.unsent) == (1, ((1, 3, 1),), (), ())
    assert (result.begun, sum(result.sent_on.values())) == (3, 3)
    assert result.deferral is not None
    assert result.deferral.email.endswith("@later.example")
    second = world.gate.permit(((1, 3),), number=number, max_retries=0, defer=True, deferrals=1)
    assert world.gate.final(second).deferred == ((1, 3, 2),)
    world.gate.send(first)  # late and again, they do nothing
    world.gate.send(second)
    last = world.gate.final(world.gate.permit(((1, 3),), number=number, max_retries=0, deferrals=2))
    assert (last.accepted, last.deferred, last.failed) == (2, (), ((2, 3),))
    eventually(lambda: len(world.events(number)) == 3)
    ends = world.events(number)
    assert [(e.event_type, e.attempt, e.smtp_code, e.reason) for _, e in sorted(ends.items())] == [
        ("accepted", 1, 250, ""), ("accepted", 3, 250, ""), ("failed", 3, 451, "expired"),
    ]  # fmt: skip
    assert ends[2].diagnostic
    put_off = [e for e in world.gate.events if e.batch_number == number and e.event_type == "deferred"]
    assert sorted((e.recipient_index, e.attempt) for e in put_off) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert len({e.message_id for e in world.gate.events if e.recipient_index == 1 and e.batch_number == number}) == 1
    assert world.mailed("later.example") == {"fine@later.example": 1, "greylist+2+a@later.example": 1}


def test_a_relay_that_blocks_us_is_down_and_nobody_has_failed(world: World) -> None:
    emails = [f"p{i}@d{i % 7}.walled.example" for i in range(200)]
    number = world.plan(emails)
    result = world.gate.final(world.gate.permit(number=number, relay="walled", defer=True, connections=2))
    assert (result.stopped, result.accepted, result.failed, result.in_doubt) == ("relay_down", 0, (), ())
    assert BLOCKED in (result.detail or "")
    put_off = indices(tuple((a, b) for a, b, _ in result.deferred))
    assert 5 <= len(put_off) == result.begun < 100
    assert sorted(put_off + indices(result.unsent)) == list(range(200))
    probe = world.gate.permit(((199, 200),), number=number, relay="walled", defer=True, connections=1, probe=True)
    assert world.gate.final(probe).stopped == "relay_down"  # and another one is tried next
    last_try = world.gate.permit(((198, 199),), number=number, relay="walled", connections=1)
    result = world.gate.final(last_try)
    assert (result.stopped, result.failed) == ("relay_down", ())
    assert 198 in indices(tuple((a, b) for a, b, _ in result.deferred))


def test_a_relay_that_blocks_us_burns_nobody_also_when_nobody_is_to_be_deferred(world: World) -> None:
    number = world.plan([f"p{i}@s{i % 7}.walled.example" for i in range(40)])
    result = world.gate.final(world.gate.permit(number=number, relay="strict", defer=False, connections=1))
    assert (result.stopped, result.accepted, result.failed) == ("relay_down", 0, ())
    assert len(indices(tuple((a, b) for a, b, _ in result.deferred))) == result.begun >= 5


def test_one_provider_that_blocks_us_keeps_only_its_own_recipients_waiting(world: World) -> None:
    emails = [f"p{i}@{'big.walled' if i % 2 else 'fine'}.example" for i in range(40)]
    number = world.plan(emails)
    one = world.gate.permit(number=number, relay="flaky", defer=True, connections=1)
    result = world.gate.final(one)
    assert (result.stopped, result.accepted, result.failed) == ("done", 20, ())
    assert [a % 2 for a, _, _ in result.deferred] == [1] * 20
    eventually(lambda: len(world.events(number)) == 40)
    assert {e.reason for e in world.events(number).values()} == {"", "blocked"}
    odd = tuple((i, i + 1) for i in range(1, 40, 2))
    few = world.gate.final(world.gate.permit(odd, number=number, relay="flaky", deferrals=1, connections=1))
    assert (few.failed, few.deferred) == ((), tuple((i, i + 1, 2) for i, _ in odd))  # perhaps it is we, from now on
    last = world.gate.final(world.gate.permit(odd, number=number, relay="flaky", deferrals=9, connections=1))
    assert last.failed == odd  # the last try
    eventually(lambda: {e.event_type for e in world.events(number).values()} == {"accepted", "failed"})
    assert {e.reason for e in world.events(number).values()} == {"", "expired"}


def test_a_quota_that_is_used_up_at_the_server_burns_nobody(world: World) -> None:
    number = world.plan(people(30, "used-up.example"))
    result = world.gate.final(world.gate.permit(number=number, relay="used-up", defer=True))
    assert (result.stopped, result.begun, result.throttled) == ("relay_down", 0, 0)
    assert (result.detail or "").startswith("quota: 454")
    assert result.unsent == ((0, 30),)
    one = world.gate.permit(((0, 1),), number=number, relay="used-up", defer=True, probe=True)
    probe = world.gate.final(one)
    assert (probe.stopped, probe.deferred, probe.failed) == ("relay_down", ((0, 1, 1),), ())  # the next asks another


def test_who_alone_is_refused_as_if_the_relay_refused_everything_has_his_outcome(world: World) -> None:
    number = world.plan(["odd@alone.example", *people(20, "alone.example")])

    def permitted(*ranges: Range, **more: Any) -> ChunkResult:
        return world.gate.final(world.gate.permit(ranges, number=number, relay="alone", defer=True, **more))

    first = permitted((0, 21), connections=1)
    assert (first.stopped, first.begun, first.unsent) == ("relay_down", 0, ((0, 21),))
    asked = permitted((0, 1), probe=True)
    assert (asked.stopped, asked.deferred, asked.failed) == ("relay_down", ((0, 1, 1),), ())
    assert permitted((1, 2), probe=True).accepted == 1  # it works; so the gate's next permits are no probes
    again = permitted((0, 11), deferrals=1)
    assert (again.stopped, again.accepted, again.deferred, again.failed) == ("done", 10, ((0, 1, 2),), ())
    last = permitted((0, 21), deferrals=2, connections=1)
    assert (last.stopped, last.accepted, last.failed) == ("done", 20, ((0, 1),))
    eventually(lambda: len(world.events(number)) == 21)
    end = world.events(number)[0]
    assert (end.event_type, end.smtp_code, end.reason) == ("failed", 550, "policy")
    assert max(world.mailed("alone.example").values()) == 1


def test_a_permit_that_is_repeated_sends_nobody_twice_and_is_answered_again(world: World) -> None:
    number = world.plan(people(40, "repeat.example"))
    chunk = world.gate.permit(number=number, rate=40)
    for _ in range(5):
        world.gate.send(chunk)
    first = world.gate.final(chunk)
    world.gate.send(chunk)
    again: list[ChunkResult] = []

    def answered() -> bool:
        world.gate.hear()
        again[:] = [r for r in world.gate.results if r.permit_id == chunk.permit_id and r.version > first.version]
        return bool(again)

    eventually(answered)
    assert (again[-1].final, again[-1].accepted, again[-1].unsent) == (True, 40, ())
    assert world.mailed("repeat.example") == dict.fromkeys(people(40, "repeat.example"), 1)


def test_nobody_is_begun_after_until_and_the_rest_is_unsent_exactly(world: World) -> None:
    number = world.plan(people(100, "until.example"))
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    result = world.gate.final(world.gate.permit(number=number, rate=20, until=until))
    assert result.stopped == "expired"
    assert 0 < result.accepted < 40
    assert result.unsent == ((result.accepted, 100),)
    times = [r.time for r in world.mailbox.records() if r.recipients[0].endswith("@until.example")]
    assert max(times) < until.timestamp() + 0.5
    late = world.gate.permit(result.unsent, number=number, until=until)
    assert world.gate.final(late).unsent == result.unsent


@pytest.mark.parametrize(("action", "stopped"), [("pause", "paused"), ("cancel", "cancelled")])
def test_an_order_in_the_middle_ends_the_permit_and_the_rest_is_unsent(world: World, action: str, stopped: str) -> None:
    domain = f"{action}.example"
    number = world.plan(people(200, domain))
    chunk = world.gate.permit(number=number, rate=40)
    eventually(lambda: len(world.mailed(domain)) > 10)
    world.gate.order(action, 1, number)
    world.gate.order("resume", 0, number)  # older than the first: ignored
    result = world.gate.final(chunk, 10)
    assert result.stopped == stopped
    assert 10 < result.accepted < 200
    assert result.accepted + len(indices(result.unsent)) == 200
    rest = world.gate.permit(result.unsent, number=number)
    assert world.gate.final(rest).accepted == 200
    assert world.mailed(domain) == dict.fromkeys(people(200, domain), 1)


def test_a_relay_that_is_down_is_nobodys_failure(world: World) -> None:
    number = world.plan(people(5, "down.example"))
    result = world.gate.final(world.gate.permit(number=number, relay="dead"))
    assert (result.stopped, result.unsent, result.begun, result.failed) == ("relay_down", ((0, 5),), 0, ())
    assert "connect" in (result.detail or "")
    assert world.gate.final(world.gate.permit(result.unsent, number=number)).accepted == 5


def test_a_server_that_closes_one_connection_in_thirty_before_data_costs_nobody(world: World) -> None:
    number = world.plan(people(181, "one-in-thirty.example"))
    result = world.gate.final(world.gate.permit(number=number, relay="brief-flaky", max_retries=3), 90)
    assert (result.accepted, result.failed, result.in_doubt, result.unsent) == (181, (), (), ())
    assert world.mailed("one-in-thirty.example") == dict.fromkeys(people(181, "one-in-thirty.example"), 1)


def test_replies_that_ask_for_less_speed_are_counted_and_nobody_is_lost(world: World) -> None:
    number = world.plan(people(30, "throttled.example"))
    result = world.gate.final(world.gate.permit(number=number, relay="flaky", connections=5, rate=15))
    assert result.throttled > 0
    assert (result.accepted, result.failed) == (30, ())
    assert world.mailed("throttled.example") == dict.fromkeys(people(30, "throttled.example"), 1)


def test_a_permit_keeps_its_rate_by_the_servers_own_record(world: World) -> None:
    number = world.plan(people(40, "rate.example"))
    world.gate.final(world.gate.permit(number=number, rate=20, connections=5))
    times = sorted(r.time for r in world.mailbox.records() if r.recipients[0].endswith("@rate.example"))
    assert 1.7 < times[-1] - times[0] < 4
    assert all(later - earlier > 0.7 for earlier, later in zip(times, times[20:], strict=False))


def test_what_failed_is_sent_again_in_the_next_round_and_only_that(world: World) -> None:
    emails = [f"greylist+2+{i}@again.example" if i % 3 == 0 else f"p{i}@again.example" for i in range(9)]
    number = world.plan(emails)
    first = world.gate.final(world.gate.permit(number=number, max_retries=0))
    assert (first.accepted, indices(first.failed)) == (6, [0, 3, 6])
    second = world.gate.final(world.gate.permit(number=number, round=1, max_retries=1))
    assert (second.accepted, second.failed, second.begun) == (9, (), 3)
    assert world.mailed("again.example") == dict.fromkeys(emails, 1)
    eventually(
        lambda: {i: e.event_type for i, e in world.events(number).items()} == dict.fromkeys(range(9), "accepted")
    )


def test_those_in_doubt_are_resolved_by_order(world: World) -> None:
    number = world.plan(["drop+kept+b@doubt.example", "drop+message+c@doubt.example"])
    chunk = world.gate.permit(number=number, connections=1)
    assert world.gate.final(chunk).in_doubt == ((0, 2),)
    world.gate.order("resolve", 1, number, resolution="accepted", address="drop+kept+b@DOUBT.example")
    world.gate.order("resolve", 2, number, resolution="drop", indices=((1, 2),))
    eventually(lambda: {i: e.event_type for i, e in world.events(number).items()} == {0: "accepted", 1: "failed"})

    def told() -> bool:
        world.gate.hear()
        last = max((r for r in world.gate.results if r.batch_number == number), key=lambda r: r.version)
        return (last.accepted, last.failed, last.in_doubt, last.final) == (1, ((1, 2),), (), True)

    eventually(told)


def test_a_batch_that_is_to_be_forgotten_leaves_nothing_in_the_journal(world: World, embedded_kafka: Kafka) -> None:
    number = world.plan([f"{'bounce' if i % 40 == 0 else 'p'}+{i}@forgotten.example" for i in range(120)])
    assert world.gate.final(world.gate.permit(number=number)).accepted == 117
    other = world.plan(["p@kept.example"])
    assert world.gate.final(world.gate.permit(number=other)).accepted == 1

    def rows() -> dict[int, int]:
        """Those that stand, of the two batches."""
        newest = {r.key or b"": r.value for r in read_topic(embedded_kafka, world.gate.name(topics.SEND_JOURNAL))}
        names = [int(key.decode().rpartition("/")[2].rstrip("!").split("#")[0]) for key, v in newest.items() if v]
        return {n: names.count(n) for n in (number, other)}

    assert rows()[number] > 0
    world.gate.order("forget", 1, number)
    eventually(lambda: rows() == {number: 0, other: 1}, 30, lambda: str(rows()))


def test_those_in_doubt_are_sent_again_when_the_campaign_says_so(world: World) -> None:
    number = world.plan(["greylist+1+d@resend.example", "drop+kept+e@resend.example"])
    result = world.gate.final(world.gate.permit(number=number, in_doubt="resend", max_retries=1))
    assert (result.accepted, result.begun, result.in_doubt) == (1, 2, ())
    assert result.unsent == ((1, 2),)  # its first try used up what the permit allowed
    result = world.gate.final(world.gate.permit(result.unsent, number=number, in_doubt="resend", max_retries=1))
    assert (result.in_doubt, result.unsent) == (((1, 2),), ())  # often enough
    assert world.mailed("resend.example")["drop+kept+e@resend.example"] == 2

    def all_heard() -> bool:
        world.gate.hear()
        return len({e.event_id for e in world.gate.events if e.batch_number == number}) == 3

    eventually(all_heard)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"content_hash": "other"}, "the permit is for other"),
        ({"pointers": (Pointer(partition=0, offset=0, start=0, count=2),)}, "no pointer"),
        ({"relay": "unheard-of"}, "not in the settings"),
    ],
)
def test_a_permit_that_cannot_be_carried_out_says_why_and_the_loop_goes_on(
    world: World, change: dict[str, Any], words: str
) -> None:
    number = world.plan(people(3, "broken.example"))
    result = world.gate.final(world.gate.permit(number=number, **change))
    assert result.stopped == ("relay_down" if "relay" in change else "error")
    assert words in (result.detail or "")
    assert (result.begun, result.failed) == (0, ())
    other = world.plan(people(1, "fine.example"))
    assert world.gate.final(world.gate.permit(number=other)).accepted == 1


def test_recipients_that_are_gone_or_are_not_the_ones_named_are_never_mailed(world: World) -> None:
    first, number = world.plan(people(3, "gone.example")), world.plan(people(3, "gone.example"))
    there = world.gate.pointers[number][0]
    for pointer, words in (
        (there.model_copy(update={"offset": there.offset + 1}), "is not there"),
        (world.gate.pointers[first][0], f"should hold batch c/{number}"),
        (there.model_copy(update={"count": 4}), "4 recipients, but it holds"),
        (there.model_copy(update={"checksum": "0" * 32}), "is not what was planned: its checksum is"),
    ):
        result = world.gate.final(world.gate.permit(number=number, pointers=(pointer,)))
        assert (result.stopped, result.begun, result.unsent) == ("error", 0, ((0, 3),))
        assert words in (result.detail or "")
    assert world.mailed("gone.example") == {}


def test_a_campaign_or_recipients_that_are_not_there_yet_are_nobodys_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.shell.CAMPAIGN_SECONDS", 0.3)
    number = world.plan(people(3, "early.example"))
    result = world.gate.final(world.gate.permit(number=number, campaign_id="not-yet"))
    assert (result.stopped, result.begun, result.failed, result.unsent) == ("unready", 0, (), ((0, 3),))
    assert "campaign not-yet is not on the topic campaigns" in (result.detail or "")


def test_what_is_no_permit_is_a_dead_letter_and_the_partition_goes_on(world: World, embedded_kafka: Kafka) -> None:
    number = world.plan(people(1, "dlq.example"))
    for bad in (b"{", b"[]", b'{"kind":"chunk"}', b'{"kind":"control","version":"x"}'):
        world.gate.put(topics.CHUNKS, f"c/{number}", bad)
    assert world.gate.final(world.gate.permit(number=number)).accepted == 1
    letters = list(read_topic(embedded_kafka, world.gate.name(topics.CHUNKS) + ".dlq"))
    assert [r.value for r in letters] == [b"{", b"[]", b'{"kind":"chunk"}', b'{"kind":"control","version":"x"}']
    assert b"permit_id" in dict(letters[2].headers)["error"]


def test_a_provider_that_takes_fewer_connections_than_permitted_still_gets_everybody(world: World) -> None:
    number = world.plan(people(60, "narrow.example"))
    result = world.gate.final(world.gate.permit(number=number, relay="narrow", connections=5))
    assert (result.accepted, result.stopped) == (60, "done")
    assert result.throttled > 0
    assert recipients_of(world.narrow.records()) == dict.fromkeys(people(60, "narrow.example"), 1)


def test_permits_of_one_relay_share_connections_and_never_open_more_than_permitted(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    with SimulatorProcess(tmp_path / "mailbox") as mailbox, Gate(embedded_kafka, prefix) as gate:
        for number in (1, 2, 3):
            gate.plan(people(60, f"b{number}.example"), number)
        with SenderThread(context(embedded_kafka, settings(mailbox.port, prefix), "s1", tmp_path)):
            permits: list[Chunk] = [gate.permit(number=n, connections=2, rate=40) for n in (1, 2)]
            for chunk in permits:
                assert gate.final(chunk).accepted == 60
            assert gate.final(gate.permit(number=3, connections=1)).accepted == 60
        stats = mailbox.stop()
    assert stats["peak_connections"] <= 4


def test_a_template_without_an_end_costs_three_recipients_and_ends_its_permit(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    endless = "{% if name != 'person 1' %}{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    template = ResolvedTemplate(subject="Hello", text=endless + "{% endif %}x")
    with SimulatorProcess(tmp_path / "mailbox") as mailbox, Gate(embedded_kafka, prefix) as gate:
        gate.plan(people(12), template=template)
        with SenderThread(context(embedded_kafka, settings(mailbox.port, prefix), "s1", tmp_path)):
            result = gate.final(gate.permit(connections=1))
    assert (result.stopped, result.accepted, result.begun) == ("error", 1, 1)
    assert "3 in a row" in (result.detail or "")
    assert "is one endless?" in (result.detail or "")
    assert (indices(result.failed), result.unsent) == ([0, 2, 3, 4], ((5, 12),))  # the second one had no loop


def test_a_permit_goes_the_whole_way_on_both_brokers(any_kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    with SimulatorProcess(tmp_path / "mailbox") as mailbox, Gate(any_kafka, prefix) as gate:
        gate.plan(people(120), part=50)
        with SenderThread(context(any_kafka, settings(mailbox.port, prefix), "s1", tmp_path)):
            result = gate.final(gate.permit())
            gate.until(120)
        assert recipients_of(mailbox.records()) == dict.fromkeys(people(120), 1)
        assert gate.kinds() == {"accepted": 120}
    assert (result.accepted, result.begun, result.unsent, result.stopped) == (120, 120, (), "done")
    assert sum(result.sent_on.values()) == 120
    event = next(e for e in gate.events if e.recipient_index == 7)
    assert (event.recipient, event.recipient_domain, event.tags) == ("p7@mail.example", "mail.example", {"team": "x"})
    assert (event.smtp_code, event.attempt, event.relay) == (250, 1, "main")
    assert event.message_id.endswith("@bore.example>")
