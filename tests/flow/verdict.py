"""What must be true when the storm is over: nobody twice, nobody lost, and who is in doubt, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

import orjson
from floods import Flood
from reckoning import Doubt, Journal, address_of, replay
from storm import Storm
from supervised import Supervised
from waiting import eventually

from schemas.journal import ACCEPTED, IN_DOUBT
from schemas.progress import CampaignProgress
from schemas.topics import CAMPAIGN_PROGRESS, MAIL_EVENTS, SEND_JOURNAL, Topic
from streams.fenced import Input
from streams.table import read_topic

LISTED = 4
"""So many campaigns are asked for by the command line, those with the most in doubt; it reads whole topics."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What may be on wires at once: connections of the relay, messages ahead of their replies on each, its rate."""

    connections: int
    ahead: int
    rate: float

    @property
    def of_one_killed(self) -> int:
        """Who is in doubt when a sender is killed: what its connections had on the wire."""
        return self.connections * self.ahead

    @property
    def of_one_suspended(self) -> int:
        """Who is in doubt when a sender lost its work and its spool could not be read: also what it had intended
        ahead, for each run at most twice half a second's worth, or a window."""
        return self.of_one_killed + 2 * (ceil(self.rate / 2) + 50 * self.connections)


class Verdict:
    """The records of a run that is over, read once."""

    def __init__(self, stage: Supervised, storm: Storm, floods: list[Flood]) -> None:
        self.stage = stage
        self.storm = storm
        self.floods = floods
        self.ended: dict[str, CampaignProgress] = {}
        self.journal = Journal()
        eventually(self._settled, 90, lambda: f"all is settled; {len(self.journal.unread)} windows are not", every=1.0)
        self.mailed = stage.look()
        events = Counter[tuple[str, str, int, int]]()
        self.event_ids = Counter[str]()
        for record in self._read(MAIL_EVENTS):
            event: dict[str, Any] = orjson.loads(record.value or b"")
            events[event["event_type"], event["campaign_id"], event["batch_number"], event["recipient_index"]] += 1
            self.event_ids[event["event_id"]] += 1
        self.events = events

    def _settled(self) -> bool:
        """All have ended, also those who were opened again because the spool of a suspended sender could be read."""
        self.ended = {f.campaign_id: self.stage.wait(f.campaign_id, "completed", timeout=60) for f in self.floods}
        self.journal = replay(self._read(SEND_JOURNAL))
        return not self.journal.unread and all(
            len(self.journal.in_state(f.campaign_id, IN_DOUBT)) == self.ended[f.campaign_id].in_doubt
            for f in self.floods
        )

    def _read(self, topic: Topic) -> list[Input]:
        return list(read_topic(self.stage.access.kafka, self.stage.access.name(topic)))

    # --- by the provider's own record

    def nobody_is_lost(self) -> None:
        """Whoever is not in doubt was taken by the provider; everybody is accepted or in doubt."""
        for f in self.floods:
            done, doubt = self.ended[f.campaign_id], self.doubtful(f)
            assert (done.recipients, done.conserved()) == (f.people, f.people), done
            assert (done.accepted + done.in_doubt, done.waiting, done.in_flight) == (f.people, 0, 0), done
            assert (done.failed, done.suppressed, done.cancelled) == (0, 0, 0), done
            assert len(doubt) == done.in_doubt, (f, len(doubt), done.in_doubt)
            everybody = {f"p{i}@{f.campaign_id}.example" for i in range(f.people)}
            assert everybody - doubt - self.mailed.keys() == set(), f
        ours = {f"{f.campaign_id}.example" for f in self.floods}
        strangers = [a for a in self.mailed if a.rpartition("@")[2] in ours and not self._is_of(a)]
        assert strangers == []

    def _is_of(self, address: str) -> bool:
        number, _, domain = address.partition("@")
        return any(domain == f"{f.campaign_id}.example" and int(number[1:]) < f.people for f in self.floods)

    def twice(self) -> dict[str, int]:
        return {address: n for address, n in self.mailed.items() if n > 1}

    def nobody_is_mailed_twice_who_was_not_in_doubt(self) -> None:
        """With `hold` nobody at all; with `resend` only who was in doubt, by the event that says so.

        And nobody oftener than twice: there are no orders here.
        """
        may = {
            address_of((campaign, number, index), self.stage.batch)
            for (kind, campaign, number, index) in self.events
            if kind == "in_doubt" and any(f.campaign_id == campaign and f.in_doubt == "resend" for f in self.floods)
        }
        assert self.twice().keys() - may == set()
        assert {address: n for address, n in self.twice().items() if n > 2} == {}

    def doubtful(self, f: Flood) -> set[str]:
        """The addresses of those who are in doubt at the end, by the journal."""
        found = self.journal.in_state(f.campaign_id, IN_DOUBT)
        return {address_of((f.campaign_id, number, index), self.stage.batch) for number, index in found}

    # --- by what rampa says

    def everyone_in_doubt_is_listed(self) -> None:
        """`rampa campaign recipients ID --state in_doubt`."""
        most = sorted(self.floods, key=lambda f: -self.ended[f.campaign_id].in_doubt)[:LISTED]
        for f in most:
            assert self.stage.listed(f.campaign_id, "in_doubt") == sorted(self.doubtful(f))

    def the_sum_held_at_any_time(self) -> int:
        """In each progress record that was ever published; how many those were."""
        ours = {f.campaign_id for f in self.floods}
        records = [CampaignProgress.decode(r.value) for r in self._read(CAMPAIGN_PROGRESS) if r.value]
        records = [p for p in records if p.campaign_id in ours]
        assert [p for p in records if p.conserved() != p.recipients] == []
        return len(records)

    def events_that_differ(self) -> tuple[int, int, int]:
        """Against the journal: accepted and not told, told and not accepted; and events that came more than once."""
        ours = {f.campaign_id for f in self.floods}
        told = {(c, n, i) for (kind, c, n, i) in self.events if kind == "accepted" and c in ours}
        held = {of for of, letter in self.journal.letters.items() if letter == ACCEPTED and of[0] in ours}
        return len(held - told), len(told - held), sum(n > 1 for n in self.event_ids.values())

    # --- in doubt, and because of whom

    def doubts(self) -> dict[str, list[Doubt]]:
        """By spool."""
        found: dict[str, list[Doubt]] = {}
        ours = {f.campaign_id for f in self.floods}
        for doubt in self.journal.doubts:
            if doubt.of[0] in ours:
                found.setdefault(doubt.spool, []).append(doubt)
        return found

    def held_at_the_end(self, wire: Wire) -> str:
        """By then each spool could be read: of each sender, also of a suspended one, only who was on its wires is held.

        Returns the figures in words.
        """
        last = {d.of: d.spool for d in self.journal.doubts}
        holding = {f.campaign_id for f in self.floods if f.in_doubt == "hold"}
        held = Counter(last[of] for of, n in self.journal.letters.items() if n == IN_DOUBT and of[0] in holding)
        assert {spool: n for spool, n in held.items() if n > wire.of_one_killed} == {}, self.storm.lives
        return f"in doubt at the end {_figures(list(held.values()))}"

    def doubts_are_bounded(self, wire: Wire) -> str:
        """A killed sender leaves at most what was on its wires; one that lost its work while it lived, its windows.

        Returns the figures in words. Who was in doubt and is sent again counts as well.
        """
        killed, others = [], []
        for spool, doubts in self.doubts().items():
            life = self.storm.lives.get(spool)
            after = [d for d in doubts if life is not None and life.killed is not None and d.at >= life.killed]
            lost_alive = len(doubts) - len(after) if life is None or not life.suspended else len(doubts)
            if lost_alive:
                others.append(len(doubts))
                assert len(doubts) <= wire.of_one_suspended * (1 + (life.suspended if life else 0)), (spool, life)
            else:
                killed.append(len(doubts))
                assert len(doubts) <= wire.of_one_killed, (spool, life, len(doubts))
        kills = sum(life.killed is not None for life in self.storm.lives.values())
        return f"{kills} busy senders killed: in doubt {_figures(killed)}; lost alive: in doubt {_figures(others)}"


def _figures(counts: list[int]) -> str:
    if not counts:
        return "nobody"
    return f"{sum(counts)} ({len(counts)} times {min(counts)} to {max(counts)}, median {median(counts):g})"
