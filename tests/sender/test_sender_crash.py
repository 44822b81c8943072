"""Real sender processes on Apache Kafka, killed, stopped and suspended in the middle of a permit."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sender_processes import SenderProcesses
from sending import INSTALLATION, Gate, people
from waiting import eventually

from schemas.batch import Range
from schemas.chunk import Chunk, ChunkResult
from schemas.message_name import MessageName, parse_message_id, signing_keys
from schemas.topics import SEND_JOURNAL
from sender.traffic import prefetch_limit
from simulator.process import SimulatorProcess
from simulator.rules import Slow
from streams.clients import Kafka
from streams.table import read_topic

pytestmark = pytest.mark.apache

N = 400
RATE = 100.0
CONNECTIONS = 3


@dataclass
class Senders(SenderProcesses):
    """With what must hold when all is over."""

    def settled(self, result: ChunkResult) -> None:
        """Nobody twice, nobody forgotten, by the server's record and by the events."""
        mailed, doubt = self.mailed(), _indices(result.in_doubt)
        assert {a: n for a, n in mailed.items() if n > 1} == {}
        assert (result.final, result.unsent, result.failed) == (True, (), ())
        assert result.accepted + len(doubt) == N
        sure = {f"p{i}@mail.example" for i in range(N)} - {f"p{i}@mail.example" for i in doubt}
        assert sure <= set(mailed)
        self.gate.until(N)
        assert self.gate.kinds() == Counter({"accepted": result.accepted, "in_doubt": len(doubt)}) + Counter()

    def named(self, chunk: Chunk) -> None:
        """Every event so far, all of this permit, has the Message-ID that was on the wire, also when another process
        wrote it than the one that sent."""
        wire = {to: record.message_id for record in self.mailbox.records() for to in record.recipients}
        for event in self.gate.events:
            name = MessageName("c", chunk.batch_number, event.recipient_index, chunk.round)
            found = parse_message_id(event.message_id, signing_keys([], INSTALLATION))
            assert found == (name, chunk.day(), "bore.example")
            assert wire.get(event.recipient, event.message_id) == event.message_id

    def settled_late(self, result: ChunkResult) -> None:
        """A spool that can be read at last says of all but those on a wire what became of them."""

        def told() -> ChunkResult | None:
            self.gate.hear()
            last = max(self.gate.results, key=lambda r: r.version)
            return last if len(_indices(last.in_doubt)) <= CONNECTIONS else None

        last = eventually(told, 60, lambda: f"fewer in doubt than {self.gate.results[-1].in_doubt}")
        assert last is not None
        assert set(_indices(last.open)) <= set(_indices(result.in_doubt))
        if last.open:
            last = self.gate.final(self.gate.permit(last.open, connections=CONNECTIONS))
        mailed, doubt = self.mailed(), _indices(last.in_doubt)
        assert {a: n for a, n in mailed.items() if n > 1} == {}
        assert (last.accepted + len(doubt), last.open, last.failed) == (N, (), ())
        assert {f"p{i}@mail.example" for i in range(N) if i not in doubt} <= set(mailed)


def _indices(ranges: tuple[Range, ...]) -> list[int]:
    return [i for start, end in ranges for i in range(start, end)]


@pytest.fixture
def senders(apache_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[Senders]:
    rules = [Slow(at="message", milliseconds=15)]
    with SimulatorProcess(tmp_path / "mailbox", rules=rules) as mailbox, Gate(apache_kafka, prefix) as gate:
        gate.plan(people(N))
        with Senders(apache_kafka, prefix, tmp_path, mailbox, gate) as these:
            yield these


def test_after_kill_nine_nobody_is_mailed_twice_and_only_what_was_on_a_wire_is_in_doubt(senders: Senders) -> None:
    senders.start("s1")
    chunk = senders.gate.permit(rate=RATE, connections=CONNECTIONS)
    senders.until_mailed(120)
    senders.signal("s1", signal.SIGKILL)
    senders.running["s1"].wait()
    before = senders.mailed().total()
    senders.start("s1")
    result = senders.gate.final(chunk, 90)
    senders.settled(result)
    senders.named(chunk)
    assert before < N
    assert len(_indices(result.in_doubt)) <= CONNECTIONS  # one message on each wire: no CHUNKING here
    spools = list((senders.directory / "spool").glob("*.lock"))
    assert len(spools) == 2  # the dead one's stays: it may settle more


def test_a_planned_stop_leaves_nobody_in_doubt_and_the_next_owner_goes_on(senders: Senders) -> None:
    senders.start("s1")
    chunk = senders.gate.permit(rate=RATE, connections=CONNECTIONS)
    senders.until_mailed(120)
    senders.signal("s1", signal.SIGTERM)
    assert senders.running["s1"].wait(20) == 0
    before = senders.mailed().total()
    senders.gate.hear()
    assert senders.gate.results[-1].accepted == before  # what was on the wire was finished and reported
    assert before < N
    rows = {r.key: r.value for r in read_topic(senders.kafka, senders.gate.name(SEND_JOURNAL)) if r.key}
    assert not any(
        b'"states":"' in (v or b"") and b"i" in (v or b"").split(b'"states":"')[1][:50] for v in rows.values()
    )
    senders.start("s2")
    result = senders.gate.final(chunk, 60)
    senders.settled(result)
    assert result.in_doubt == ()


def test_partitions_move_to_a_new_process_with_nobody_in_doubt(senders: Senders) -> None:
    senders.start("s1")
    others = []
    for number in range(2, 10):  # on several partitions, so that some of them move
        senders.gate.plan(people(150, f"b{number}.example"), number)
        others.append(senders.gate.permit(number=number, rate=15.0, connections=1))
    chunk = senders.gate.permit(rate=40.0, connections=CONNECTIONS)
    senders.until_mailed(60)
    senders.start("s2")
    result = senders.gate.final(chunk, 90)
    assert (result.accepted, result.in_doubt, result.unsent) == (N, (), ())
    for other in others:
        end = senders.gate.final(other, 60)
        assert (end.accepted, end.in_doubt, end.failed) == (150, (), ())
    assert "owns [" in senders.log("s2")
    assert max(senders.mailed().values()) == 1
    assert senders.mailed().total() == N + 8 * 150


def test_a_suspended_sender_wakes_as_a_zombie_that_mails_nobody_again_and_leaves(senders: Senders) -> None:
    senders.start("s1")
    chunk = senders.gate.permit(rate=RATE, connections=CONNECTIONS)
    senders.until_mailed(120)
    senders.signal("s1", signal.SIGSTOP)
    senders.start("s2")
    result = senders.gate.final(chunk, 90)
    assert len(_indices(result.in_doubt)) <= CONNECTIONS + 2 * prefetch_limit(CONNECTIONS, RATE)
    senders.signal("s1", signal.SIGCONT)
    # A commit is refused, or it hears of its loss first; either way its spool can be read when it has left.
    eventually(lambda: senders.running["s1"].poll() == 3, 60, lambda: senders.log("s1")[-2000:])
    senders.settled_late(result)
    senders.gate.plan(people(50, "later.example"), 2)
    assert senders.gate.final(senders.gate.permit(number=2), 60).accepted == 50
    assert max(senders.mailed().values()) == 1


def test_what_a_suspended_sender_left_in_doubt_is_settled_when_it_dies_also_by_an_owner_after_the_next(
    senders: Senders,
) -> None:
    senders.start("s1")
    chunk = senders.gate.permit(rate=RATE, connections=CONNECTIONS)
    senders.until_mailed(120)
    senders.signal("s1", signal.SIGSTOP)
    senders.start("s2")
    result = senders.gate.final(chunk, 90)
    assert result.awaited == len(_indices(result.in_doubt)) > 0  # it had not ended, so somebody was intended
    senders.gate.until(result.accepted + len(_indices(result.in_doubt)))
    assert senders.gate.kinds()["in_doubt"]
    senders.named(chunk)
    senders.signal("s2", signal.SIGTERM)
    assert senders.running["s2"].wait(20) == 0
    senders.start("s3")
    senders.signal("s1", signal.SIGKILL)
    senders.settled_late(result)


def test_a_permit_that_runs_out_while_nobody_owns_it_is_answered_and_not_begun(senders: Senders) -> None:
    senders.start("s1")
    eventually(lambda: "owns [" in senders.log("s1"), 60)
    until = datetime.now(UTC) + timedelta(seconds=10)
    chunk = senders.gate.permit(rate=20.0, connections=CONNECTIONS, until=until)
    senders.until_mailed(20)
    senders.signal("s1", signal.SIGTERM)
    assert senders.running["s1"].wait(20) == 0
    before = senders.mailed().total()
    eventually(lambda: datetime.now(UTC) > until, 20)
    senders.start("s1")
    result = senders.gate.final(chunk, 60)
    assert (result.stopped, result.accepted, result.unsent) == ("expired", before, ((before, N),))
    assert senders.mailed().total() == before
