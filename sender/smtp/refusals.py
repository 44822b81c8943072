"""Whether a relay that refuses by policy refuses a message, or us. Pure: no clock, no I/O.

A reply such as `554 5.7.1` may mean one recipient, or everything from us: our address is on a block list, the account
may not relay, the content is filtered. Nobody is to be burnt as failed for that. So whoever is refused in this way is
put off, and has failed only when he is refused once more after the same recipient domain took other mail of ours. And
where the relay takes nothing at all any more, from recipients of several domains, it is the relay that is down.

Where nobody is deferred any more (`give_up_after` is over, or nothing) a refusal is a failure only once it is known
that it does not mean us: until then he is put off whatever his permit says (`unsure`).

The other way round a reply that says that everything from us is refused may mean one recipient: it comes whenever he is
tried, and the relay works in between. From the second time on it is read as a refusal of his (`of_him_alone`), by
policy: the relay goes on, and he is put off and fails as anybody who is refused so.

A relay may also answer nothing at all: it closes each connection after the body and before its reply, or is silent
until the time is up. Each such message leaves somebody in doubt. When that is all that it does (`lost`) it is down.

What is known is of this process alone and of this relay. It decides only between `failed` and `later`, and when to
stop: losing it costs a try, never a message.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

IN_A_ROW = 5
"""Refusals in a row, nothing taken in between, after which the relay is down ..."""
DOMAINS = 2
"""... if they were for recipients of so many domains. One alone is that domain's business: its recipients wait."""
ALONE = 2
"""So often the relay must have refused everything when the same recipient was tried, and worked in between."""
UNANSWERED = 8
"""Connections lost one after the other, each after a body and before its reply, after which the relay is down."""
KNOWN = 10_000
"""Recipient domains, and recipients, that are remembered."""

Judgement = Literal["failed", "later", "unsure", "down"]
"""`later`: put off while the permit says that he may be. `unsure`: put off in any case. `down`: the same, and nothing
more is sent by the relay."""


@dataclass(slots=True)
class Refusals:
    """What a relay has lately made of our mail."""

    in_a_row: int = 0
    domains: set[str] = field(default_factory=set)
    taken: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """By recipient domain that has taken mail: refusals since it did for the last time."""
    works: bool = False
    """It has taken mail, or looked at a recipient, since it was down, or since this process began."""
    downs: OrderedDict[str, tuple[int, str]] = field(default_factory=OrderedDict)
    """By address at which it refused everything: how often, it having worked in between, and the last such permit."""

    unanswered: int = 0
    """Connections lost one after the other after a body and before its reply: no body was answered in between."""

    def lost(self, *, probe: bool) -> bool:
        """A connection was lost after a body and before its reply, and it was not we who closed it. Whether the relay
        is down. In a `probe`, which asks whether it still is, one is enough."""
        self.unanswered += 1
        return probe or self.unanswered >= UNANSWERED

    def accepted(self, rcpt_to: str) -> None:
        """The relay took a message."""
        self.dealt_with()
        if self.downs:
            self.downs.pop(rcpt_to, None)
        domain = _domain(rcpt_to)
        self.taken[domain] = 0
        self.taken.move_to_end(domain)
        if len(self.taken) > KNOWN:
            self.taken.popitem(last=False)

    def dealt_with(self) -> None:
        """The relay looked at a recipient and refused him for his own sake: it is not down."""
        self.works = True
        if self.in_a_row:
            self.in_a_row = 0
            self.domains.clear()

    def refused(self, rcpt_to: str, *, again: bool) -> Judgement:
        """A refusal by policy. `again`: he was deferred before."""
        domain = _domain(rcpt_to)
        self.in_a_row += 1
        if len(self.domains) < DOMAINS:
            self.domains.add(domain)
        since = self.taken.get(domain)
        if since is not None:
            self.taken[domain] = since + 1
        if self.in_a_row >= IN_A_ROW and len(self.domains) >= DOMAINS:
            self.works = False
            return "down"
        return "failed" if again and since == 0 else "later"

    def unsure(self, deferrals: int) -> bool:
        """Whether a refusal that was judged `later` may still be of us, of one who was deferred so often: that is less
        often than it takes to find the relay down; or nothing has shown that it works, and too little that not."""
        return deferrals < IN_A_ROW - 1 or (not self.works and self.in_a_row < IN_A_ROW)

    def of_him_alone(self, rcpt_to: str, permit_id: str, *, probe: bool) -> bool:
        """It refused everything when he was tried under that permit. Whether it is he alone whom it refuses.

        That counts once a permit, and not in a `probe`, which asks whether it works: so it has worked since the last
        time. When it is first believed, he cannot fail yet: his domain must take mail after that.
        """
        times, last = self.downs.get(rcpt_to, (0, ""))
        if permit_id != last and not probe:
            times += 1
            self.downs[rcpt_to] = times, permit_id
            self.downs.move_to_end(rcpt_to)
            if len(self.downs) > KNOWN:
                self.downs.popitem(last=False)
            domain = _domain(rcpt_to)
            if times == ALONE and domain in self.taken:
                self.taken[domain] += 1
        return times >= ALONE and not probe


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
