"""The journal under permits in any order, orders, outcomes, and a death at any commit.

The machine plays gate, wire and changelog. What is on the wire is decided only by what the journal granted in
a committed transaction; a death forgets everything but the committed rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from journals import HOUR, NOON, chunk, control

from schemas.chunk import Chunk, ChunkResult
from schemas.journal import WINDOW
from sender.journal import core, orders, rows
from sender.journal.report import unsent
from sender.journal.values import BatchJournal, Ended, merged

commits = st.sampled_from([True, True, True, False])


class OwnerOfABatch(RuleBasedStateMachine):
    @initialize(size=st.sampled_from([1, 3, 20, 51, 110]), policy=st.sampled_from(["hold", "hold", "resend"]))
    def plan(self, size: int, policy: str) -> None:
        self.size, self.policy = size, policy
        self.log: dict[bytes, bytes] = {}
        self.journal: BatchJournal | None = None
        self.recorded: BatchJournal | None = None
        self.now = NOON
        self.issued: list[Chunk] = []
        self.round = 0
        self.orders = 0
        self.on_wire: set[int] = set()
        self.sent: Counter[tuple[int, int, int]] = Counter()
        self.begun_as: dict[int, tuple[int, int, int]] = {}
        self.doubted: Counter[int] = Counter()
        self.copies: Counter[int] = Counter()
        """Messages that each has or may have."""
        self.ordered: Counter[int] = Counter()
        """How often a person said that whoever was in doubt is sent to again, or gave him up."""
        self.seen: set[int] = set()
        self.ever_seen: set[int] = set()
        self.version = 0
        self.finals: dict[str, ChunkResult] = {}

    def commit(self, journal: BatchJournal, survive: bool, *results: ChunkResult) -> bool:
        """Write the rows; or die before that, and be the next owner."""
        if not survive:
            self.die()
            return False
        for key, value in rows.changes(self.recorded, journal, self.now):
            if value is None:
                self.log.pop(key, None)
            else:
                self.log[key] = value
        self.journal, self.recorded = journal, rows.as_recorded(journal)
        for result in results:
            assert result.version > self.version
            self.version = result.version
            if result.final:
                self.take_final(result)
        return True

    def take_final(self, result: ChunkResult) -> None:
        """The gate's view: what is unsent is neither settled, but for evidence that came later, nor on a wire."""
        assert self.journal is not None
        states = self.journal.states()
        permitted = next(c for c in self.issued if c.permit_id == result.permit_id)
        often = {i: times for start, end, times in result.deferred for i in range(start, end)}
        assert set(often) == {i for i, letter in enumerate(states) if letter == "l"}
        for start, end in result.unsent:
            for i in range(start, end):
                assert states[i] == "o" or i in self.ever_seen or 1 <= often[i] <= permitted.deferrals
        assert result.begun <= permitted.permitted()
        assert sum(result.sent_on.values()) == result.begun
        self.finals[result.permit_id] = result

    @rule()
    def die(self) -> None:
        self.journal = self.recorded = None
        if b"c/1!" in self.log:
            windows = [value for key, value in self.log.items() if b"#" in key]
            self.journal = rows.load(self.log[b"c/1!"], windows)
            self.recorded = rows.as_recorded(self.journal)
        self.on_wire.clear()  # whatever came of them, nobody knows
        if self.journal is not None:
            left = core.interrupted(self.journal)
            self.doubted.update(left)
            nobody_knows = [Ended(i, "in_doubt", self.now, recovered=True) for i in left]
            self.journal, facts = core.ended(self.journal, nobody_knows)
            assert [f.ended.index for f in facts] == left
            self.journal = orders.awaiting(self.journal, nobody_knows)
            self.commit(self.journal, survive=True)

    @rule(seconds=st.integers(1, 3000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(data=st.data(), survive=commits, raise_round=st.booleans())
    def a_new_permit(self, data: st.DataObject, survive: bool, raise_round: bool) -> None:
        if raise_round and self.journal is not None and not self.journal.permit.active:
            self.round += 1
        wanted = data.draw(st.sets(st.integers(0, self.size - 1), min_size=1))
        late = data.draw(st.integers(0, 3)) == 0
        deferrals = data.draw(st.sampled_from([0, 0, 1, 2, 3]))
        new = chunk(
            len(self.issued) + 1, merged(sorted(wanted)), self.size, round=self.round, in_doubt=self.policy,
            until=self.now if late else self.now + HOUR, issued_at=self.now, defer=True, deferrals=deferrals,
        )  # fmt: skip
        self.issued.append(new)
        self.arrives(new, survive)

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), survive=commits)
    def a_permit_again(self, data: st.DataObject, survive: bool) -> None:
        self.arrives(data.draw(st.sampled_from(self.issued)), survive)

    def arrives(self, permit: Chunk, survive: bool) -> None:
        journal, taken, result = core.take_permit(self.journal, permit, self.now)
        if permit.permit_id in self.finals and self.journal is not None:
            assert taken == "answered"
            if permit.permit_id == self.journal.permit.permit_id:
                assert result == journal.permit.result
                assert result is not None
                assert result.unsent == self.finals[permit.permit_id].unsent
        assert (result is not None) == (taken == "answered")
        if taken == "started":
            assert journal.permit.permit_id == permit.permit_id
        before = "" if self.journal is None else self.journal.states()
        if self.commit(journal, survive, *([] if result is None else [result])):
            self.ordered.update(i for i, letter in enumerate(before) if letter == "d" and journal.states()[i] == "o")

    @precondition(lambda self: self.journal is not None)
    @rule(n=st.integers(1, 60), survive=commits)
    def begin(self, n: int, survive: bool) -> None:
        assert self.journal is not None
        journal, indices = core.begin(self.journal, n, self.now)
        assert len(indices) <= n
        assert not (set(indices) & self.on_wire)
        assert not (set(indices) & self.seen)
        permit = journal.permit
        assert permit.chunk is not None or not indices
        often = {i: journal.windows[i - i % WINDOW].deferred(i % WINDOW) for i in indices}
        if not self.commit(journal, survive):
            return
        for i in indices:
            assert permit.chunk is not None
            assert any(start <= i < end for start, end in permit.chunk.ranges)
            assert often[i] <= permit.chunk.deferrals
            self.begun_as[i] = i, permit.round, often[i]
            self.sent[self.begun_as[i]] += 1
            self.copies[i] += 1
        self.on_wire |= set(indices)

    @precondition(lambda self: self.on_wire)
    @rule(data=st.data(), survive=commits)
    def outcomes(self, data: st.DataObject, survive: bool) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.on_wire)), min_size=1))
        kinds: st.SearchStrategy[Any] = st.sampled_from(
            ["accepted", "accepted", "failed", "in_doubt", "suppressed", "deferred", "deferred", "not_begun"]
        )
        self.ends({i: data.draw(kinds) for i in some}, survive)

    def ends(self, kinds: Mapping[int, Any], survive: bool) -> None:
        assert self.journal is not None
        some = set(kinds)
        came = [Ended(i, k, self.now, 0 if k in {"suppressed", "not_begun"} else 1) for i, k in kinds.items()]
        journal, facts = core.ended(self.journal, [*came, *came])  # said twice: the second time changes nothing
        assert len(facts) == sum(e.kind != "not_begun" for e in came)
        if not self.commit(orders.awaiting(journal, came), survive):
            return
        self.on_wire -= some
        self.seen -= {e.index for e in came if e.kind in {"failed", "suppressed"}}
        for e in came:
            self.copies[e.index] -= e.kind not in {"accepted", "in_doubt"}
            if e.kind == "not_begun":
                self.sent[self.begun_as[e.index]] -= 1
            if e.kind == "in_doubt":
                self.doubted[e.index] += 1

    @precondition(lambda self: self.journal is not None and self.journal.permit.active and not self.on_wire)
    @rule(survive=commits)
    def finish(self, survive: bool) -> None:
        assert self.journal is not None
        permit = self.journal.permit.chunk
        assert permit is not None
        journal, result = core.finish(self.journal, self.now, "done")
        assert result.unsent == unsent(self.journal, permit)
        self.commit(journal, survive, result)

    @precondition(lambda self: not self.on_wire and (self.journal is None or not self.journal.permit.active))
    @rule(ways=st.lists(st.sampled_from(["lost", "lost", "died", "deferred"]), min_size=1, max_size=5))
    def nobody_ever_replies(self, ways: list[str]) -> None:
        """Permits for everybody, each of which ends for all in the same way."""
        for way in ways:
            self.now += timedelta(seconds=1)
            new = chunk(
                len(self.issued) + 1, ((0, self.size),), self.size, round=self.round, in_doubt=self.policy,
                until=self.now + HOUR, issued_at=self.now, defer=True, deferrals=9,
            )  # fmt: skip
            self.issued.append(new)
            self.arrives(new, survive=True)
            if self.journal is not None and self.journal.permit.active:
                self.begin(self.size, survive=True)
            if way == "died":
                self.die()
            kind = "deferred" if way == "deferred" else "in_doubt"
            self.ends(dict.fromkeys(self.on_wire, kind), survive=True)
            if self.journal is not None and self.journal.permit.active:
                self.finish(survive=True)

    @precondition(lambda self: self.journal is not None)
    @rule(survive=commits)
    def report(self, survive: bool) -> None:
        assert self.journal is not None
        self.commit(*core.report(self.journal, self.now)[:1], survive)

    @precondition(lambda self: self.journal is not None)
    @rule(action=st.sampled_from(["pause", "resume", "cancel"]), survive=commits)
    def order(self, action: str, survive: bool) -> None:
        assert self.journal is not None
        self.orders += 1
        journal, news = orders.order(self.journal, control(action, self.orders, at=self.now))
        assert news
        self.commit(journal, survive)

    @precondition(lambda self: self.journal is not None and bool(orders.in_doubt(self.journal)))
    @rule(resolution=st.sampled_from(["accepted", "drop"]), survive=commits)
    def resolve(self, resolution: str, survive: bool) -> None:
        assert self.journal is not None
        doubt = orders.in_doubt(self.journal)
        self.orders += 1
        journal, _ = orders.order(self.journal, control("resolve", self.orders, resolution=resolution))
        journal, facts, _ = orders.resolve(journal, journal.pending[-1], dict.fromkeys(doubt, "p@x.example"), self.now)
        assert [f.ended.index for f in facts] == doubt
        if self.commit(journal, survive) and resolution == "drop":
            self.seen -= set(doubt)
            self.ordered.update(doubt)

    @precondition(lambda self: self.journal is not None and self.begun_as)
    @rule(data=st.data(), survive=commits)
    def evidence_comes(self, data: st.DataObject, survive: bool) -> None:
        """Of somebody who was begun: from now on he is not begun again, unless he was refused."""
        assert self.journal is not None
        index = data.draw(st.sampled_from(sorted(self.begun_as)))
        self.orders += 1
        journal, _ = orders.order(self.journal, control("evidence", self.orders, indices=((index, index + 1),)))
        letter, window = self.journal.states()[index], self.journal.windows[index - index % WINDOW]
        waits = letter in "old" and window.attempts[index % WINDOW]
        if self.commit(journal, survive) and (waits or letter == "i"):
            self.seen.add(index)
            self.ever_seen.add(index)

    @precondition(lambda self: self.journal is not None and self.journal.pending)
    @rule(survive=commits)
    def evidence_is_carried_out(self, survive: bool) -> None:
        assert self.journal is not None
        before = self.journal.states()
        journal, order = orders.next_order(self.journal)
        if order is not None:
            about = orders.in_doubt(journal, order.indices)
            journal, facts, _ = orders.resolve(journal, order, dict.fromkeys(about, "p@x.example"), self.now)
            assert [(f.type, f.ended.index) for f in facts] == [("accepted", i) for i in about]
            assert all(before[f.ended.index] == "d" for f in facts)
        self.commit(journal, survive)

    @invariant()
    def everybody_is_somewhere(self) -> None:
        if getattr(self, "journal", None) is not None:
            assert self.journal is not None
            states = self.journal.states()
            assert len(states) == self.size
            assert set(states) <= set("oiafdsl")
            assert {i for i, letter in enumerate(states) if letter == "i"} == self.on_wire

    @invariant()
    def nobody_is_begun_twice_in_a_round_unless_he_was_deferred_between(self) -> None:
        for (index, _, _), times in getattr(self, "sent", Counter()).items():
            assert times <= 1 + (self.doubted[index] if self.policy == "resend" else 0)

    @invariant()
    def nobody_gets_more_than_one_copy_by_itself_and_none_where_those_in_doubt_are_held(self) -> None:
        for index, n in getattr(self, "copies", Counter()).items():
            assert n <= (2 if self.policy == "resend" else 1) + self.ordered[index]

    @invariant()
    def the_rows_say_what_memory_says(self) -> None:
        if getattr(self, "journal", None) is not None and self.log:
            assert self.journal is not None
            loaded = rows.load(self.log[b"c/1!"], [v for k, v in self.log.items() if b"#" in k])
            ended = core.is_ended(self.journal)
            mine = replace(self.journal, permit=replace(self.journal.permit, chunk=None)) if ended else self.journal
            assert (loaded.states(), loaded.permit, loaded.version, loaded.control, loaded.pending) == (
                mine.states(), mine.permit, mine.version, mine.control, mine.pending,
            )  # fmt: skip
            permit, *windows = rows.whole(loaded)
            assert rows.load(permit, windows) == loaded


TestOwnerOfABatch = OwnerOfABatch.TestCase
TestOwnerOfABatch.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
