"""A sender process that a test plays: the real owner of batches, and runs without sockets that keep a spool."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from schemas.chunk import Chunk
from sender.journal.report import Stopped
from sender.journal.spool_evidence import NEVER_BEGUN, Fate
from sender.journal.spool_lines import SpoolEnd
from sender.journal.values import Clue, Ended, EndKind
from sender.owner import Owner, Topics
from sender.smtp.outcomes import Kind
from sender.traffic import BatchKey, Came, Drained, Grant, Known, Message, Readable, Want
from streams.clock import ManualClock

Who = tuple[BatchKey, int]
"""A recipient: batch and index."""
Reply = Literal["accepted", "failed", "deferred", "lost_before", "taken and lost", "not taken and lost"]
ENDS: dict[Reply, tuple[EndKind, Kind]] = {
    "accepted": ("accepted", "accepted"), "failed": ("failed", "failed"), "deferred": ("deferred", "transient"),
    "taken and lost": ("in_doubt", "lost_after"), "not taken and lost": ("in_doubt", "lost_after"),
}  # fmt: skip


@dataclass
class Servers:
    """What there is besides the processes: servers, their own record, and what the processes of a machine leave."""

    rng: random.Random
    clock: ManualClock
    replies: dict[Reply, int]
    up: bool = True
    not_taken: set[str] = field(default_factory=set)
    """Sending domains from which they take nothing."""
    real: float = 1000.0
    taken: Counter[Who] = field(default_factory=Counter)
    begun: set[Who] = field(default_factory=set)
    suppressed: set[Who] = field(default_factory=set)
    processes: dict[str, Process] = field(default_factory=dict)

    def reply(self, who: Who) -> Reply:
        reply = self.rng.choices(list(self.replies), list(self.replies.values()))[0]
        self.taken[who] += reply in {"accepted", "taken and lost"}
        return reply


@dataclass(eq=False)
class OnWire:
    """A message whose begin is in the spool. `reply`: the server has said so, or will; None: not written yet."""

    run: PlayedRun
    index: int
    reply: Reply | None = None


@dataclass(eq=False)
class PlayedRun:
    id: int
    chunk: Chunk
    queue: list[int]
    exhausted: bool
    asked: bool = False
    stopping: Stopped | None = None
    detail: str | None = None
    halted: bool = False
    wire: list[OnWire] = field(default_factory=list)

    @property
    def batch(self) -> BatchKey:
        return self.chunk.campaign_id, self.chunk.batch_number


class Process:
    """Implements `sender.traffic.Runs`. What it has to say to its owner waits in `said`."""

    def __init__(self, servers: Servers, machine: int) -> None:
        self.servers, self.machine = servers, machine
        self.spool = f"spool-{len(servers.processes)}"
        self.dead = self.suspended = False
        self.book: dict[tuple[BatchKey, int, int], Fate] = {}
        self.said: list[Callable[[], Message | Readable]] = []
        self.runs: dict[int, PlayedRun] = {}
        topics = Topics("chunks", "gate.inputs", "mail.events")
        self.owner = Owner(
            self, servers.clock, topics, tags=lambda _: {}, real=lambda: servers.real, spool=self.spool
        )  # fmt: skip
        servers.processes[self.spool] = self

    # --- what its owner asks for

    def start(self, run: int, chunk: Chunk, grant: Grant) -> None:
        self.runs[run] = PlayedRun(run, chunk, list(grant.indices), grant.last)

    def grant(self, run: int, grant: Grant) -> None:
        if (one := self.runs.get(run)) is not None:
            one.asked, one.exhausted = False, grant.last
            one.queue += grant.indices
            self._give_back(one)

    def stop(self, run: int, stopped: Stopped, detail: str | None = None) -> None:
        if (one := self.runs.get(run)) is not None:
            if one.stopping is None:
                one.stopping, one.detail = stopped, detail
            self._give_back(one)

    def halt(self, run: int) -> None:
        if (one := self.runs.get(run)) is not None:
            one.halted = True

    def settled(self, run: int, indices: Sequence[int]) -> None:
        pass

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:
        key = chunk.campaign_id, chunk.batch_number

        def known() -> Known:
            found = {i: (self.readable(spool), round_) for i, (spool, round_) in clues.items()}
            fates = {i: p.book.get((key, r, i), NEVER_BEGUN) for i, (p, r) in found.items() if p is not None}
            return Known(key, look, {i: f"p{i}@x.example" for i in indices}, fates)

        self.said.append(known)

    def try_spools(self, names: Sequence[str]) -> None:
        self.said += [_saying(Readable(name)) for name in names if self.readable(name) is not None]

    def readable(self, spool: str) -> Process | None:
        """The process of that spool, when it was of this machine and is dead."""
        other = self.servers.processes.get(spool)
        return other if other is not None and other.dead and other.machine == self.machine else None

    # --- what its runs do

    def begin(self, run: PlayedRun) -> None:
        """The next message goes on record, and as a rule on its wire at once."""
        s = self.servers
        if run.halted or run.stopping or not run.queue or len(run.wire) >= run.chunk.connections:
            return
        if s.clock.now() >= run.chunk.until:
            self.stop(run.id, "expired")
        elif not s.up:
            self.stop(run.id, "relay_down", "421 away")
        elif run.chunk.sending_domain in s.not_taken:
            self.stop(run.id, "domain_refused", "domain: 553 5.7.1 not owned by user")
        elif (who := (run.batch, run.queue[0])) in s.suppressed:
            self._came(run, Ended(run.queue.pop(0), "suppressed", s.clock.now(), 0, "p@x.example"))
        else:
            index = run.queue.pop(0)
            self.book[run.batch, run.chunk.round, index] = Fate("begun", 1)
            s.begun.add(who)
            run.wire.append(OnWire(run, index, s.reply(who) if s.rng.random() < 0.8 else None))

    def end(self, message: OnWire) -> None:
        """Its reply is read, and goes on record."""
        s, run, now = self.servers, message.run, self.servers.clock.now()
        reply = message.reply or s.reply((run.batch, message.index))
        run.wire.remove(message)
        kind, spoken = ENDS.get(reply, ("not_begun", "lost_before"))
        self.book[run.batch, run.chunk.round, message.index] = Fate("ended", 1, SpoolEnd(spoken, now))
        if reply == "lost_before":
            run.queue.insert(0, message.index)
            self._give_back(run)
            return
        kind = "failed" if kind == "deferred" and not run.chunk.defer else kind
        self._came(run, Ended(message.index, kind, now, 1, f"p{message.index}@x.example"))

    def go_on(self, run: PlayedRun) -> None:
        """With nothing left it asks for more, or ends."""
        if run.halted or run.queue or run.wire or run.asked:
            return
        if run.exhausted or run.stopping:
            self.said.append(_saying(Drained(run.batch, run.id, run.stopping or "done", run.detail)))
            del self.runs[run.id]
        else:
            run.asked = True
            self.said.append(_saying(Want(run.batch, run.id, 3)))

    def die(self, reached: float = 0.5) -> None:
        """`reached`: the share of what was not written yet that a server gets nevertheless."""
        for message in [m for run in self.runs.values() for m in run.wire if m.reply is None]:
            if self.servers.rng.random() < reached:
                self.servers.reply((message.run.batch, message.index))
        self.dead, self.suspended, self.runs = True, False, {}

    def wake(self) -> None:
        """After its work was taken over: it finishes some of what is on its wires, begins nothing, and leaves."""
        for message in [m for run in self.runs.values() for m in run.wire]:
            if self.servers.rng.random() < 0.7:
                self.end(message)
        self.die()

    def post(self, n: int) -> None:
        """The owner hears the first `n` of what was said."""
        for say in self.said[:n]:
            self.owner.post(say())
        del self.said[:n]

    def _give_back(self, run: PlayedRun) -> None:
        while run.stopping and run.queue:
            self._came(run, Ended(run.queue.pop(0), "not_begun", self.servers.clock.now(), 0))

    def _came(self, run: PlayedRun, outcome: Ended) -> None:
        self.said.append(_saying(Came(run.batch, run.id, [outcome])))


def _saying(message: Message | Readable) -> Callable[[], Message | Readable]:
    return lambda: message
