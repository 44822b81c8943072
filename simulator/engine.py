"""Which rule applies: (rules and their counters, what is known, now) -> decision. No clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, get_args

from simulator.conventions import PREFIXES, wish_of
from simulator.live import live
from simulator.moments import PASS, Decision, Facts, Moment
from simulator.rules import Rule, Stage

_INITIALS: Final = frozenset(initial for word in PREFIXES for initial in (word[0], word[0].upper()))


class Engine:
    """All rules of a server with their counters; one for all its connections.

    `applied` counts how often each rule has applied, by its name.
    """

    def __init__(self, rules: Iterable[Rule] = (), *, conventions: bool = True) -> None:
        self.applied: Counter[str] = Counter()
        at_work = [live(rule, place) for place, rule in enumerate(rules, 1)]
        self._stages = {stage: [one for one in at_work if stage in one.stages] for stage in get_args(Stage)}
        self._wishful = frozenset(("rcpt", "data", "message")) if conventions else frozenset()
        self._greylist: Counter[str] = Counter()

    def decide(self, stage: Stage, facts: Facts, now: float) -> Decision:
        """The decision for a stage; `now` is in seconds since the epoch."""
        delay = 0.0
        for rule in self._stages[stage]:
            decision = rule.decide(Moment(stage, facts, now))
            if decision is PASS:
                continue
            self.applied[rule.name] += 1
            if decision.refusal or decision.drop:
                return decision._replace(delay=decision.delay + delay)
            delay += decision.delay
        if stage in self._wishful:
            asked = self._wishes(stage, facts)
            return asked._replace(delay=asked.delay + delay) if delay else asked
        return Decision(delay=delay) if delay else PASS

    def _wishes(self, stage: Stage, facts: Facts) -> Decision:
        for address in facts.recipients[-1:] if stage == "rcpt" else facts.recipients:
            wish = wish_of(address) if address[:1] in _INITIALS else None
            if wish is None or wish.at != stage:
                continue
            if wish.times is not None:
                self._greylist[address] += 1
                if self._greylist[address] > wish.times:
                    continue
            self.applied[f"convention {wish.word}"] += 1
            return Decision(wish.refusal, wish.drop, False, wish.keep, wish.delay)
        return PASS
