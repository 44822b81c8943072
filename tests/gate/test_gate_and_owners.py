"""The real gate and real owners of batches together, in random histories of deaths, suspensions, orders and evidence.

What either of them is tested with elsewhere is played; here only the wires and the log between them are. Processes
are killed between any two steps or suspended while their messages are on a wire, wake when their work is another's, and
rows cannot be read for a while; orders cross all of that. In the end everybody is told by the servers' own record.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from gate_world import DOMAINS, MONDAY, batch_strategy, gate_campaign, left_out, plan, settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from played_sender import Process, Reply, Servers, Who

from schemas.chunk import ChunkResult, Evidence
from schemas.command import GateCommand, Origin
from schemas.event import MailEvent
from schemas.strategy import Step, Strategy
from sender.gate.core import GateCore
from sender.gate.decision import Decision, GateInput
from sender.gate.rows import BatchKey, BatchRow, row_name
from sender.gate.rows_json import to_json
from sender.gate.settings import Deferrals
from sender.gate.states import ENDED
from sender.journal import rows
from streams.clock import ManualClock
from streams.fenced import Input

REPLIES: list[dict[Reply, int]] = [
    {"accepted": 1},
    {"accepted": 3, "deferred": 2},
    {"accepted": 1, "taken and lost": 1, "not taken and lost": 1},
    {"accepted": 1, "deferred": 3, "taken and lost": 6, "not taken and lost": 1},
    {"accepted": 4, "deferred": 2, "failed": 1, "taken and lost": 1, "not taken and lost": 1, "lost_before": 1},
]
SMALL = Strategy(
    name="small", type="ramp_up", intervals_minutes=(0.0, 5.0), concurrent_batches=2,
    steps=(Step(day=1, daily_limit=12, batch_size=3), Step(day=3, daily_limit=30, batch_size=9)),
)  # fmt: skip
GIVE_UP = [timedelta(0), timedelta(minutes=10), timedelta(hours=24)]
ORDERS = {
    "pause": 1, "resume": 4, "domain pause": 1, "domain resume": 4, "relay": 2, "refuse": 2, "strategy": 1, "retry": 5,
    "resolve": 5, "evidence": 5,
}  # fmt: skip


class Installation:
    """One relay, one partition, two domains; `seed` says all that happens."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.speed = rng.choice([1.0, 30.0, 600.0])
        self.servers = Servers(rng, ManualClock(MONDAY, self.speed), rng.choice(REPLIES))
        after = (timedelta(minutes=1), timedelta(minutes=4))
        self.settings = settings(
            connections=rng.randint(1, 4), rate=rng.choice([None, 5.0]), max_failures=2,
            archive_after=timedelta(days=3650), deferrals=Deferrals(after, rng.choice(GIVE_UP)), domains=DOMAINS,
        )  # fmt: skip
        self.gate = GateCore(self.settings, self.speed)
        self.store: dict[tuple[str, str], str] = {}
        self.next_wake: float | None = 0.0
        self.inputs: list[GateInput] = []
        self.log: dict[bytes, bytes] = {}
        self.chunks: list[Input] = []
        self.read = self.orders = 0
        self.events: set[str] = set()
        self.quiet, self.calm = False, rng.choice([0.9, 0.95, 0.98])
        self.unreadable = rng.choice([0.0, 0.1, 0.5])
        self.sizes: dict[BatchKey, int] = {}
        self.holds: dict[str, bool] = {}
        self.resent: Counter[Who] = Counter()
        self.given_up: set[Who] = set()
        self.said_accepted: set[Who] = set()
        for n in range(rng.randint(1, 2)):
            self._plan(f"c{n}", [rng.choice([2, 5, 8, 13]) for _ in range(rng.randint(1, 2))])
        self.servers.suppressed = {who for who in self.everybody() if rng.random() < 0.08}
        self.process = self._take_over()

    def _plan(self, name: str, sizes: list[int]) -> None:
        self.holds[name] = self.rng.random() < 0.7
        strategy = self.rng.choice([batch_strategy(self.rng.choice([2, 10]), 100, 5.0, 2), SMALL])
        policy: Any = "hold" if self.holds[name] else "resend"
        domain = self.rng.choice(DOMAINS)
        campaign = gate_campaign(name, size=sum(sizes), strategy=strategy, in_doubt=policy, domain=domain)
        self.inputs += plan(campaign, sizes)
        self.sizes |= {(name, number): size for number, size in enumerate(sizes, 1)}

    def everybody(self, campaign: str | None = None) -> list[Who]:
        return [(key, i) for key, n in self.sizes.items() if campaign in {None, key[0]} for i in range(n)]

    def pass_time(self, seconds: float) -> None:
        self.servers.real += seconds
        self.servers.clock.instant = MONDAY + timedelta(seconds=(self.servers.real - 1000) * self.speed)

    # --- the gate

    def decide(self) -> None:
        now, real = self.servers.clock.now(), self.servers.real
        if not self.inputs or self.rng.random() < 0.1:
            self._written(self.gate.tick(now, real))
            return
        given = self.inputs.pop(0)
        for _ in range(1 if self.rng.random() < 0.9 else 2):
            self._written(self.gate.apply(given, now, real))

    def _written(self, decision: Decision) -> None:
        self.next_wake = decision.next_wake
        self.store |= {key: json.dumps(to_json(row)) for key, row in decision.rows.items()}
        assert all(key == row_name(row) for key, row in decision.rows.items())
        assert all(p.conserved() == p.recipients for p in decision.progress)
        for campaign in self.gate.tables.campaigns.values():
            assert campaign.left_out == left_out(campaign) <= campaign.totals[3]
        self.chunks += [Input("chunks", 0, 0, b"k", order.encode(), (), 0) for order in decision.orders]

    def restart_gate(self) -> None:
        found: Any = [(table, name, json.loads(text)) for (table, name), text in sorted(self.store.items())]
        self.gate = GateCore.restored(self.settings, self.speed, found)
        self._written(self.gate.tick(self.servers.clock.now(), self.servers.real))

    # --- the senders

    def _take_over(self) -> Process:
        """Another process owns the partition; now and then it cannot read a row of it."""
        self.process = Process(self.servers, int(self.rng.random() < 0.1))
        state = dict(self.log)
        candidates = [key for key in state if not key.endswith(b"~")]
        if candidates and self.rng.random() < self.unreadable:
            state[self.rng.choice(candidates)] = b'{"kind": "of a later release"}'
        self.process.owner.assigned(0, state)
        return self.process

    def own(self, *, survive: bool) -> None:
        """A step of the owner; or its process dies before the transaction is committed."""
        self.process.post(self.rng.randint(0, len(self.process.said)))
        self._step(self.chunks[self.read : self.read + self.rng.randint(0, len(self.chunks) - self.read)], survive)

    def _step(self, inputs: Sequence[Input], survive: bool = True) -> None:
        effects = self.process.owner.step(inputs, self.servers.real)
        if effects is None or not survive:
            return self._die() if not survive else None
        self.read += len(inputs)
        for _, key, value in effects.state:
            if value is None:
                self.log.pop(key, None)
            else:
                self.log[key] = value
        self.inputs += [ChunkResult.decode(o.value or b"") for _, o in effects.outputs if o.topic == "gate.inputs"]
        events = [MailEvent.decode(value).event_id for _, alike in effects.bulk for value in alike.values]
        assert len({*events}) == len(events)
        assert not self.events & {*events}
        self.events |= {*events}
        return self.process.owner.committed(effects)

    def _die(self) -> None:
        self.process.die()
        self._take_over()

    def suspend(self) -> None:
        self.process.suspended = True
        self._take_over()

    def wake(self) -> None:
        asleep = [p for p in self.servers.processes.values() if p.suspended]
        if asleep:
            self.rng.choice(asleep).wake()

    def hand_over(self) -> None:
        process = self.process
        process.owner.revoking(0)
        for _ in range(200):
            for run in list(process.runs.values()):
                for message in list(run.wire):
                    process.end(message)
                process.go_on(run)
            process.post(len(process.said))
            self._step([])
            if not process.owner.busy(0):
                break
        assert not process.owner.busy(0)
        process.owner.lost(0)
        process.die()
        self._take_over()

    def send(self) -> None:
        runs = list(self.process.runs.values())
        if not runs:
            return
        run = self.rng.choice(runs)
        if self.rng.random() < 0.6:
            self.process.begin(run)
        elif run.wire:
            self.process.end(self.rng.choice(run.wire))
        if not self.quiet and self.rng.random() < 0.01:
            self.process.stop(run.id, self.rng.choice(["error", "unready"]), "broken")
        self.process.go_on(run)

    # --- people

    def order(self, action: str, campaign: str | None, *, domain: str | None = None, **more: Any) -> None:
        self.orders += 1
        origin = Origin(topic="campaign.commands", partition=0, offset=self.orders)
        self.inputs.append(
            GateCommand.model_validate({
                "relay": "main", "origin": origin, "at": self.servers.clock.now(), "campaign_id": campaign,
                "domain": domain, "action": action, **more,
            })
        )  # fmt: skip

    def disturb(self) -> None:
        campaign = self.rng.choice(list(self.holds))
        what = self.rng.choices(list(ORDERS), list(ORDERS.values()))[0]
        if what == "relay":
            self.servers.up = not self.servers.up or self.rng.random() < 0.5
        elif what == "refuse":
            refused = {self.rng.choice(DOMAINS)} if self.rng.random() < 0.7 else set()
            self.servers.not_taken = refused - self.servers.not_taken
        elif what == "evidence":
            self._see()
        elif what == "resolve":
            self._resolve(campaign)
        elif what == "strategy":
            self.order(what, campaign, strategy=self.rng.choice([batch_strategy(3, 100, 1.0, 2), SMALL]))
        elif what.startswith("domain"):
            self.order(what.split()[1], None, domain=self.rng.choice(DOMAINS))
        else:
            self.order("cancel" if self.rng.random() < 0.02 else what, campaign)

    def _see(self) -> None:
        if arrived := sorted(who for who, n in self.servers.taken.items() if n):
            (campaign, number), index = self.rng.choice(arrived)
            more: Any = {"relay": "main", "event_id": "e", "at": self.servers.clock.now()}
            self.inputs.append(Evidence(campaign_id=campaign, batch_number=number, recipient_index=index, **more))

    def _resolve(self, campaign: str) -> None:
        what, of = self.rng.choice(["resend", "drop", "accepted"]), self.everybody(campaign)
        address = f"p{self.rng.choice(of)[1]}@x.example" if self.rng.random() < 0.5 else None
        meant = [who for who in of if address in {None, f"p{who[1]}@x.example"}]
        self.resent.update(meant if what == "resend" else [])
        self.given_up.update(meant if what == "drop" else [])
        self.said_accepted.update(meant if what == "accepted" else [])
        self.order("resolve", campaign, resolution=what, address=address)

    # --- all of it

    def step(self) -> None:
        x = self.rng.random()
        if x < 0.25:
            self.decide()
        elif x < 0.5:
            self.own(survive=self.quiet or self.rng.random() > 0.02)
        elif x < 0.85:
            self.send()
        elif x < self.calm or self.quiet:
            self._wait()
        else:
            chances = {self.disturb: 15, self.restart_gate: 5, self._die: 6, self.suspend: 6, self.wake: 8}
            self.rng.choices([*chances, self.hand_over], [*chances.values(), 3])[0]()
        for who, n in self.servers.taken.items():
            by_itself = 1 if self.holds[who[0][0]] else 2
            assert n <= by_itself + self.resent[who], f"{who} got {n} mails"

    def _wait(self) -> None:
        self.pass_time(self.rng.choice([0.1, 1.0, 3.0, 6.0, 12.0]))
        idle = not (self.process.runs or self.inputs or self.read < len(self.chunks))
        if idle and self.next_wake is not None and self.rng.random() < (0.5 if self.quiet else 0.1):
            self.pass_time(max(0.0, min(self.next_wake - self.servers.real, 20_000 / self.speed)))

    def come_to_rest(self) -> None:
        """Nothing disturbs any more, servers take everything, whoever was suspended has woken."""
        self.quiet, self.servers.up, self.servers.not_taken, self.unreadable = True, True, set(), 0.0
        self.servers.replies = {"accepted": 1}
        for process in [p for p in self.servers.processes.values() if p.suspended]:
            process.wake()
        self._die()
        for domain in DOMAINS:
            self.order("resume", None, domain=domain)
        for campaign in self.holds:
            self.order("resume", campaign)
        for _ in range(200):
            for _ in range(60):
                self.step()
            if self._at_rest():
                return
            self.pass_time(max(6.0, min((self.next_wake or 0.0) - self.servers.real, 100_000 / self.speed)))
        raise AssertionError(f"never at rest: {[c.hold for c in self.gate.tables.campaigns.values()]}")

    def _at_rest(self) -> bool:
        batches = self.process.owner._batches
        late = any(self.process.readable(spool) for spool in batches.awaited())
        open_ = any(c.state not in ENDED or c.permits for c in self.gate.tables.campaigns.values())
        return not (
            open_ or late or self.inputs or self.read < len(self.chunks) or self.process.runs or self.process.said
            or batches.active
        )  # fmt: skip

    def account(self) -> None:
        """The gate's figures are the owners' states, and both agree with what the servers took."""
        for campaign in self.gate.tables.campaigns.values():
            assert campaign.asked == []
            for batch in campaign.batches.values():
                states = self._states(batch)
                self._figures_fit(batch, states, completed=campaign.state == "completed")
                for index, letter in enumerate(states):
                    self._is_right((batch.key, index), letter)

    def _states(self, batch: BatchRow) -> str:
        name = f"{batch.campaign_id}/{batch.number}"
        permit = self.log.get(f"{name}!".encode())
        windows = [value for key, value in self.log.items() if key.startswith(f"{name}#".encode())]
        return "o" * batch.size if permit is None else rows.load(permit, windows).states()

    def _figures_fit(self, batch: BatchRow, states: str, *, completed: bool) -> None:
        waiting, in_flight, accepted, failed, in_doubt, suppressed, cancelled = batch.figures
        left_out = {
            i for ranges in (batch.cancelled, batch.dropped) for start, end in ranges for i in range(start, end)
        }
        doubted = sum(states[i] == "d" for i in left_out)
        found = Counter(states)
        said = (accepted, suppressed, in_doubt, waiting, in_flight)
        assert said == (found["a"], found["s"], found["d"] - doubted, 0, 0), (batch, states)
        assert failed + cancelled == found["f"] + found["o"] + found["l"] + doubted, (batch, states)
        if completed:
            dropped = {i for start, end in batch.dropped for i in range(start, end)}
            assert {i for i, letter in enumerate(states) if letter in "ol"} <= dropped, (batch, states)

    def _is_right(self, who: Who, letter: str) -> None:
        taken, one_machine = self.servers.taken[who], len({p.machine for p in self.servers.processes.values()}) == 1
        assert letter != "a" or taken or who in self.said_accepted, f"{who} is accepted and has no mail"
        if self.holds[who[0][0]] and taken and not self.resent[who]:
            assert letter not in "ol", f"{who} has his mail and may be sent to"
            assert letter != "f" or who in self.given_up, f"{who} has his mail and failed"
        assert letter != "s" or who in self.servers.suppressed
        assert letter != "d" or who in self.servers.begun or not one_machine, f"{who} is in doubt and was never begun"


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**40), st.integers(100, 1500))
def test_nobody_is_mailed_twice_and_nobody_forgotten_whatever_crosses_what(seed: int, steps: int) -> None:
    installation = Installation(seed)
    for _ in range(steps):
        installation.step()
    installation.come_to_rest()
    installation.account()
