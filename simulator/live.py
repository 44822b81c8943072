"""Rules at work: each with its patterns compiled and its counters. They read no clock."""

from __future__ import annotations

import fnmatch
import math
import random
import re
from collections import Counter
from weakref import WeakKeyDictionary

from simulator import rules as r
from simulator.moments import PASS, Decision, Facts, Moment
from simulator.replies import reply


class Live:
    """A rule at work; without a condition of its own it applies whenever it matches."""

    def __init__(self, rule: r.Matching, place: int, action: str, decision: Decision) -> None:
        self.name = rule.name or f"{place} {action} {rule.at}"
        self.stages: tuple[r.Stage, ...] = (rule.at,)
        self._rule = rule
        self._decision = decision
        self._sender = _pattern(rule.sender)
        self._recipient = _pattern(rule.recipient)
        self._random = random.Random(f"{rule.seed} {place}")
        self._matches = 0
        self._applied = 0

    def decide(self, moment: Moment) -> Decision:
        """The rule's decision, or PASS; counts."""
        return self._decision if self._matches_facts(moment) and self._its_turn() else PASS

    def _matches_facts(self, moment: Moment) -> bool:
        rule, facts = self._rule, moment.facts
        if rule.every_connection and facts.connection % rule.every_connection:
            return False
        if self._sender and not self._sender.match(facts.sender):
            return False
        if self._recipient:
            asked = facts.recipients[-1:] if moment.stage == "rcpt" else facts.recipients
            return any(map(self._recipient.match, asked))
        return True

    def _its_turn(self) -> bool:
        rule = self._rule
        if rule.limit is not None and self._applied >= rule.limit:
            return False
        if rule.probability is not None and self._random.random() >= rule.probability:
            return False
        self._matches += 1
        if self._matches <= rule.skip or (rule.every and (self._matches - rule.skip) % rule.every):
            return False
        self._applied += 1
        return True


class _Defer(Live):
    def __init__(self, rule: r.Defer, place: int) -> None:
        super().__init__(rule, place, rule.action, _refusal(rule))
        self._times = rule.times
        self._seen: Counter[tuple[str, ...]] = Counter()

    def _matches_facts(self, moment: Moment) -> bool:
        if not super()._matches_facts(moment):
            return False
        recipients = moment.facts.recipients
        key = (recipients[-1],) if moment.stage == "rcpt" else tuple(sorted(recipients))
        self._seen[key] += 1
        return self._seen[key] <= self._times


class _Throttle(Live):
    """A token bucket; what it refuses takes no token."""

    def __init__(self, rule: r.Throttle, place: int) -> None:
        super().__init__(rule, place, rule.action, _refusal(rule))
        self._rate = rule.per_second
        self._burst = float(rule.burst or math.ceil(rule.per_second))
        self._of_server = rule.scope == "server"
        self._shared = (self._burst, 0.0)  # tokens, at this time
        self._own: WeakKeyDictionary[Facts, tuple[float, float]] = WeakKeyDictionary()

    def _matches_facts(self, moment: Moment) -> bool:
        if not super()._matches_facts(moment):
            return False
        facts, now = moment.facts, moment.now
        tokens, since = self._shared if self._of_server else self._own.get(facts, (self._burst, 0.0))
        tokens = min(self._burst, tokens + max(0.0, now - since) * self._rate)
        refuse = tokens < 1.0
        after = (tokens if refuse else tokens - 1.0, now)
        if self._of_server:
            self._shared = after
        else:
            self._own[facts] = after
        return refuse


class _LimitConnections(Live):
    def __init__(self, rule: r.LimitConnections, place: int) -> None:
        super().__init__(rule, place, rule.action, _refusal(rule))
        self._most = rule.most

    def _matches_facts(self, moment: Moment) -> bool:
        return super()._matches_facts(moment) and moment.facts.open_connections > self._most


class _LimitMessages(Live):
    def __init__(self, rule: r.LimitMessages, place: int) -> None:
        super().__init__(rule, place, rule.action, Decision(drop="after") if rule.close else _refusal(rule))
        self._most = rule.most
        self._with_this_one = int(rule.close)
        self.stages = ("message",) if rule.close else ("mail",)

    def _matches_facts(self, moment: Moment) -> bool:
        return super()._matches_facts(moment) and moment.facts.messages + self._with_this_one >= self._most


def live(rule: r.Rule, place: int) -> Live:  # noqa: PLR0911  (one line a kind of rule)
    """The rule at work; `place` (from 1) names it and seeds its chance."""
    match rule:
        case r.Reject():
            return Live(rule, place, rule.action, _refusal(rule))
        case r.Drop():
            decision = Decision(drop=rule.when, reset=rule.how == "reset", keep=rule.keep)
            return Live(rule, place, rule.action, decision)
        case r.Slow():
            return Live(rule, place, rule.action, Decision(delay=rule.milliseconds / 1000))
        case r.Defer():
            return _Defer(rule, place)
        case r.Throttle():
            return _Throttle(rule, place)
        case r.LimitConnections():
            return _LimitConnections(rule, place)
        case r.LimitMessages():
            return _LimitMessages(rule, place)


def _refusal(rule: r.Refusing) -> Decision:
    return Decision(reply(rule.code, rule.enhanced or f"{rule.code // 100}.0.0", rule.text))


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    source = f"(?:{text[3:]})\\Z" if text.startswith("re:") else fnmatch.translate(text)
    return re.compile(source, re.IGNORECASE)
