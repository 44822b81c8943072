"""The owner of batches between a log, a gate and runs that a test plays: deaths, hand-overs, late words.

A run of this test puts an index on a wire only when it was granted, and a grant is heard only after its commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from journals import HOUR, NOON, chunk, control, mail_events

from schemas.batch import Range
from schemas.chunk import BatchControl, Chunk, ChunkResult
from schemas.event import MailEvent
from sender.journal import core, rows
from sender.journal.report import Stopped
from sender.journal.spool_evidence import NEVER_BEGUN, Fate
from sender.journal.spool_lines import SpoolEnd
from sender.journal.values import Clue, Ended
from sender.owner import SPOOL_SECONDS, Owner, Topics
from sender.smtp.outcomes import Kind
from sender.traffic import Came, Drained, Grant, Known, Message, Readable, Want
from streams.clock import ManualClock
from streams.fenced import Effects, Input

KEY = ("c", 1)
KINDS = ("accepted", "failed", "in_doubt", "deferred")
SIZE = 120


@dataclass
class PlayedRun:
    chunk: Chunk
    queue: list[int]
    exhausted: bool
    asked: bool = False
    stopping: Stopped | None = None
    halted: bool = False


@dataclass
class PlayedRuns:
    """The other side, without sockets. What it has to say waits in `said`."""

    spool: str = "spool-0"
    book: dict[tuple[str, int, int], SpoolEnd] = field(default_factory=dict)
    """What spools say: by (spool, round, index)."""
    readable: set[str] = field(default_factory=set)
    """Spools whose process is known to be dead."""
    said: list[Message | Readable] = field(default_factory=list)
    runs: dict[int, PlayedRun] = field(default_factory=dict)
    wire: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    """How often each was refused for now."""

    def start(self, run: int, chunk: Chunk, grant: Grant) -> None:
        self.runs[run] = PlayedRun(chunk, list(grant.indices), grant.last)

    def grant(self, run: int, grant: Grant) -> None:
        one = self.runs.get(run)
        if one is not None and not one.halted:
            one.asked, one.exhausted = False, grant.last
            one.queue += grant.indices

    def stop(self, run: int, stopped: Stopped) -> None:
        if run in self.runs:
            self.runs[run].stopping = self.runs[run].stopping or stopped

    def halt(self, run: int) -> None:
        if run in self.runs:
            self.runs[run].halted = True

    def settled(self, run: int, indices: Sequence[int]) -> None:
        pass

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:  # noqa: ARG002
        fates = {i: self.fate(spool, round_, i) for i, (spool, round_) in clues.items() if spool in self.readable}
        self.said.append(Known(KEY, look, {i: f"p{i}@x.example" for i in indices}, fates))

    def try_spools(self, names: Sequence[str]) -> None:
        self.said += [Readable(name) for name in names if name in self.readable]

    def fate(self, spool: str, round_: int, index: int) -> Fate:
        end = self.book.get((spool, round_, index))
        return NEVER_BEGUN if end is None else Fate("ended", 1, end)

    def send(self, id_: int, n: int, kind: str) -> None:
        """Send up to n, then ask for more or end, as a run does."""
        run = self.runs[id_]
        if run.halted:
            return
        while run.queue and (run.stopping or n > 0):
            index, n = run.queue.pop(0), n - 1
            if run.stopping:
                self.said.append(Came(KEY, id_, [Ended(index, "not_begun", NOON, 0)]))
                continue
            self.wire[index] += 1
            self.refused[index] += kind == "deferred"
            ends: dict[str, Kind] = {
                "accepted": "accepted", "failed": "failed", "in_doubt": "lost_after", "deferred": "transient",
            }  # fmt: skip
            self.book[self.spool, run.chunk.round, index] = SpoolEnd(ends[kind], NOON)
            self.said.append(Came(KEY, id_, [Ended(index, kind, NOON, email=f"p{index}@x.example")]))  # type: ignore[arg-type]
        if not run.queue and not run.asked:
            if run.exhausted or run.stopping:
                self.said.append(Drained(KEY, id_, run.stopping or "done"))
                del self.runs[id_]
            else:
                run.asked = True
                self.said.append(Want(KEY, id_, 7))


def indices(ranges: Sequence[Range]) -> set[int]:
    return {i for start, end in ranges for i in range(start, end)}


class OwnersOfAPartition(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock(NOON)
        self.log: dict[bytes, bytes] = {}
        self.issued: list[Chunk] = []
        self.orders = 0
        self.pending: list[Input] = []  # read again by the next owner until their offset is committed
        self.offset = 0
        self.wire: Counter[int] = Counter()
        self.results: list[ChunkResult] = []
        self.events: dict[str, MailEvent] = {}
        self.real = 0.0
        self.runs = PlayedRuns(wire=self.wire)
        self.take_over(evidence=False)

    def take_over(self, *, evidence: bool) -> None:
        """`evidence`: the process that was the owner is dead, and its spool is on this machine."""
        before = self.runs
        readable = before.readable | ({before.spool} if evidence else set())
        name = f"spool-{self.real}-{id(before)}"
        self.runs = PlayedRuns(name, before.book, readable, wire=self.wire, refused=before.refused)
        topics = Topics("chunks", "gate.inputs", "mail.events")
        self.owner = Owner(
            self.runs, self.clock, topics, tags=lambda _: {}, real=lambda: self.real, spool=self.runs.spool
        )
        self.owner.assigned(0, dict(self.log))

    def put(self, record: Chunk | BatchControl) -> None:
        self.pending.append(Input("chunks", 0, self.offset, b"c/1", record.encode(), (), 0))
        self.offset += 1

    def step(self, inputs: Sequence[Input] = (), *, survive: bool = True) -> None:
        effects = self.owner.step(inputs, 0.0)
        if effects is None:
            assert not inputs
            return
        if not survive:
            self.take_over(evidence=len(self.log) % 2 == 0)
            return
        self.pending = self.pending[len(inputs) :]
        self.apply(effects)
        self.owner.committed(effects)

    def apply(self, effects: Effects) -> None:
        for _, key, value in effects.state:
            if value is None:
                self.log.pop(key, None)
            else:
                self.log[key] = value
        for _, output in effects.outputs:
            if output.topic == "gate.inputs":
                self.results.append(ChunkResult.decode(output.value or b""))
        for event in mail_events(effects):
            assert event.event_id not in self.events
            self.events[event.event_id] = event

    @rule(data=st.data(), late=st.booleans(), hasty=st.sampled_from([False, False, False, True]))
    def the_gate_issues_a_permit(self, data: st.DataObject, late: bool, hasty: bool) -> None:
        """`hasty`: although the last one has no final answer yet."""
        answered = {r.permit_id for r in self.results if r.final}
        if self.issued and not hasty and self.issued[-1].permit_id not in answered:
            return
        low = data.draw(st.integers(0, SIZE - 1))
        high = data.draw(st.integers(low + 1, SIZE))
        until = self.clock.now() + (timedelta(seconds=5) if late else HOUR)
        self.issued.append(
            chunk(
                len(self.issued) + 1,
                ((low, high),),
                SIZE,
                until=until,
                issued_at=self.clock.now(),
                rate=10.0,
                defer=True,
                deferrals=data.draw(st.sampled_from([0, 0, 1, 2])),
            )
        )
        self.put(self.issued[-1])

    @precondition(lambda self: self.issued)
    @rule(data=st.data())
    def the_gate_repeats_a_permit(self, data: st.DataObject) -> None:
        self.put(data.draw(st.sampled_from(self.issued)))

    @rule(action=st.sampled_from(["pause", "resume", "cancel"]))
    def the_gate_orders(self, action: str) -> None:
        self.orders += 1
        self.put(control(action, self.orders, at=self.clock.now()))

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.clock.move(timedelta(seconds=seconds))
        self.real += seconds

    @rule(survive=st.sampled_from([True, True, True, False]))
    def inputs_are_read(self, survive: bool) -> None:
        self.step(self.pending, survive=survive)

    @rule(n=st.integers(1, 20), survive=st.sampled_from([True, True, True, False]))
    def something_was_said(self, n: int, survive: bool) -> None:
        for message in self.runs.said[:n]:
            self.owner.post(message)
        del self.runs.said[:n]
        self.step(survive=survive)

    @precondition(lambda self: self.runs.runs)
    @rule(data=st.data(), n=st.integers(0, 20), kind=st.sampled_from(["accepted", *KINDS]))
    def a_run_sends(self, data: st.DataObject, n: int, kind: str) -> None:
        self.runs.send(data.draw(st.sampled_from(sorted(self.runs.runs))), n, kind)

    def awaited(self) -> set[str]:
        """Spools of processes that might still have been alive when their work was taken over."""
        return self.owner._batches.awaited()

    @precondition(lambda self: self.awaited())
    @rule()
    def suspended_processes_die(self) -> None:
        self.runs.readable |= self.awaited()
        self.real += SPOOL_SECONDS
        self.step()

    @rule(evidence=st.booleans())
    def the_process_dies(self, evidence: bool) -> None:
        self.take_over(evidence=evidence)

    @rule()
    def the_partition_is_handed_over(self) -> None:
        held = self.owner._batches.held.get(KEY)
        left_by_a_dead_one = held is not None and held.run is None and bool(core.interrupted(held.journal))
        self.owner.revoking(0)
        for _ in range(200):
            for run in sorted(self.runs.runs):
                self.runs.send(run, 0, "accepted")
            said, self.runs.said = self.runs.said, []
            for message in said:
                self.owner.post(message)
            self.step()
            if not self.owner.busy(0):
                break
        assert not self.owner.busy(0)
        before = sum(e.event_type == "in_doubt" for e in self.events.values())
        self.owner.lost(0)
        self.take_over(evidence=False)
        self.step()
        if not left_by_a_dead_one:
            assert not [m for m in self.runs.said if isinstance(m, Known)]  # nobody was left intended
            assert before == sum(e.event_type == "in_doubt" for e in self.events.values())

    def teardown(self) -> None:
        """Let everything come to rest: each permit has its answer, and everybody is somewhere."""
        if not hasattr(self, "owner"):
            return
        if self.issued:
            self.put(self.issued[-1])  # one that waited is forgotten when its owner dies; the gate repeats it
        for _ in range(400):
            self.step(self.pending)
            for run in sorted(self.runs.runs):
                self.runs.send(run, 50, "accepted")
            said, self.runs.said = self.runs.said, []
            for message in said:
                self.owner.post(message)
            self.step()
            if not (self.pending or self.runs.said or self.runs.runs or self.owner._batches.active):
                break
        finals = {r.permit_id for r in self.results if r.final}
        if self.issued:
            assert self.issued[-1].permit_id in finals
            self.the_last_word_is_right()

    def the_last_word_is_right(self) -> None:
        last = self.results[-1]
        ends: dict[str, set[int]] = {"accepted": set(), "failed": set(), "in_doubt": set(), "deferred": set()}
        for event in self.events.values():
            ends[event.event_type].add(event.recipient_index)
        assert last.accepted == len(ends["accepted"])
        assert indices(last.failed) == ends["failed"]
        # a spool may have told later what became of those in doubt; who was never begun is open
        told = ends["accepted"] | ends["failed"] | indices(last.open)
        deferred = {i: times for a, b, times in last.deferred for i in range(a, b)}
        assert indices(last.in_doubt) == ends["in_doubt"] - told - deferred.keys()
        settled = ends["accepted"] | ends["failed"] | indices(last.in_doubt) | indices(last.open)
        put_off = Counter(e.recipient_index for e in self.events.values() if e.event_type == "deferred")
        assert deferred.keys() == put_off.keys() - settled
        assert all(n <= put_off[i] for i, n in deferred.items())
        on_wire = {i for i, n in self.wire.items() if n > self.runs.refused[i]}
        known = {e.recipient_index for e in self.events.values()}
        assert on_wire <= known

    @invariant()
    def nobody_is_on_a_wire_twice_unless_he_was_deferred_between(self) -> None:
        refused = self.runs.refused if hasattr(self, "runs") else Counter[int]()
        assert all(n <= 1 + refused[i] for i, n in getattr(self, "wire", Counter()).items())

    @invariant()
    def what_rests_is_what_is_recorded(self) -> None:
        found = self.owner._batches._resting[0].rows(KEY) if hasattr(self, "owner") else None
        if found is not None:
            assert KEY not in self.owner._batches.held
            recorded = [value for key, value in self.log.items() if b"#" in key]
            assert rows.load(found[0], found[1:]) == rows.load(self.log[b"c/1!"], recorded)

    @invariant()
    def what_is_held_as_recorded_is_recorded(self) -> None:
        held = self.owner._batches.held.get(KEY) if hasattr(self, "owner") else None
        if held is not None and held.recorded is not None:
            recorded = [value for key, value in self.log.items() if b"#" in key]
            found = rows.load(self.log[b"c/1!"], recorded)
            assert rows.as_recorded(found).windows == held.recorded.windows
            assert (found.permit.permit_id, found.version) == (held.recorded.permit.permit_id, held.recorded.version)

    @invariant()
    def reports_only_grow(self) -> None:
        versions = [r.version for r in getattr(self, "results", [])]
        assert versions == sorted(set(versions))


TestOwnersOfAPartition = OwnersOfAPartition.TestCase
TestOwnersOfAPartition.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
