"""Disturbances: processes killed, suspended and woken at random, from a seed, and a log of what was done."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from supervised import Supervised

from streams.brokers.local import LocalBroker
from streams.supervisor import ChildStatus

SEED = int(os.environ.get("CHAOS_SEED", "20260202"))
"""Of every run; what the seed does not decide is when processes get to run."""
WEIGHTS = {"planner": 1, "gate": 1, "sender": 3}
UP = 2.5
"""Seconds after which a process is surely past its imports; most are let live so long."""


@dataclass(slots=True)
class Life:
    """A sender process that was disturbed, known by its spool."""

    name: str
    killed: float | None = None
    suspended: int = 0


@dataclass
class Storm:
    """`turn` is to be called often. `pause`: seconds between disturbances; `asleep`: how long one is suspended.

    `kinds`: how many of each kind in a row of them, in any order; with `in_turn` in the order in which they are named:
    kill, suspend, stop (a process that is chosen at random; stop is SIGTERM), break (the broker, which is started again
    at once).
    """

    stage: Supervised
    kinds: dict[str, int] = field(default_factory=lambda: {"kill": 6, "suspend": 2, "stop": 1})
    pause: tuple[float, float] = (1.5, 5.0)
    asleep: tuple[float, float] = (2.0, 14.0)
    in_turn: bool = False
    broker: LocalBroker | None = None
    seed: int = SEED
    done: Counter[str] = field(default_factory=Counter)
    lives: dict[str, Life] = field(default_factory=dict)
    """By the random part of its spool's name."""
    _asleep: dict[str, tuple[ChildStatus, float]] = field(default_factory=dict)
    _next: float = 0.0
    _deck: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.log = self.stage.directory / "disturbances.jsonl"
        self.note(f"seed {self.seed}")

    @property
    def kills(self) -> int:
        return sum(n for what, n in self.done.items() if what.startswith("kill"))

    def turn(self) -> None:
        """Wake whoever has slept enough; disturb somebody when it is time."""
        now = time.monotonic()
        for name in [name for name, (_, until) in self._asleep.items() if now > until]:
            self._wake(name)
        if now >= self._next:
            self._next = now + self.chance.uniform(*self.pause)
            self._disturb(now)

    def calm(self) -> None:
        """Wake all; from now on nobody is disturbed."""
        for name in list(self._asleep):
            self._wake(name)

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Disturb until it is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.turn()
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; {self.summary()}"
            time.sleep(0.05)

    def note(self, what: str) -> None:
        """Into the log of disturbances."""
        with self.log.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"at": round(time.time(), 3), "what": what}) + "\n")

    def summary(self) -> str:
        return f"seed {self.seed}: {dict(sorted(self.done.items()))}; log: {self.log}"

    # --- details

    def _disturb(self, now: float) -> None:
        kind = self._kind()
        if kind == "break" and self.broker is not None:
            self._break(self.broker)
            return
        there = [s for s in self.stage.status() if s.pid is not None and s.name not in self._asleep]
        ready = [s for s in there if s.since > UP] or there
        if not ready:
            return
        victim = self.chance.choices(ready, [WEIGHTS[s.name.partition("-")[0]] for s in ready])[0]
        role = victim.name.partition("-")[0]
        life = self._life(victim) if role == "sender" else None
        others = sum(name.startswith(role) for name in self._asleep)
        if kind == "suspend" and not others:  # never a whole role at once
            self.stage.send(victim, signal.SIGSTOP)
            self._asleep[victim.name] = victim, now + self.chance.uniform(*self.asleep)
            self._count("suspend", victim)
            if life is not None:
                life.suspended += 1
            return
        if kind == "stop":
            self.stage.send(victim, signal.SIGTERM)
            self._count("stop", victim)
            return
        at = time.time()
        self.stage.send(victim, signal.SIGKILL)
        self._count("kill", victim)
        if life is not None:
            life.killed = at

    def _kind(self) -> str:
        if not self._deck:
            self._deck = [kind for kind, n in self.kinds.items() for _ in range(n)][::-1]
            if not self.in_turn:
                self.chance.shuffle(self._deck)
        return self._deck.pop()

    def _break(self, broker: LocalBroker) -> None:
        self.done["kill broker"] += 1
        self.note(f"kill broker ({broker.pid})")
        broker.kill()
        broker.start()
        self.note("the broker is back")

    def _wake(self, name: str) -> None:
        victim, _ = self._asleep.pop(name)
        self.stage.send(victim, signal.SIGCONT)
        self.note(f"wake {name} ({victim.pid})")

    def _count(self, what: str, victim: ChildStatus) -> None:
        self.done[f"{what} {victim.name.partition('-')[0]}"] += 1
        self.note(f"{what} {victim.name} ({victim.pid})")

    def _life(self, victim: ChildStatus) -> Life | None:
        """By the lock of its spool, which it holds open."""
        spool = spool_of(victim.pid)
        return None if spool is None else self.lives.setdefault(spool, Life(victim.name))


def spool_of(pid: int | None) -> str | None:
    """The random part of the name of the spool that a process writes; None: it has none (yet, or any more)."""
    try:
        links = [fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return None
    return next((p.stem for p in links if p.suffix == ".lock" and p.parent.name == "spool"), None)
