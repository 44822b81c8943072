"""Whether a relay that refuses by policy refuses a message, or us. Pure: no clock, no I/O.

A reply such as `554 5.7.1` may mean one recipient, or everything from us: our address is on a block list, the account
may not relay, the content is filtered. Nobody is to be burnt as failed for that. So whoever is refused in this way is
put off, and has failed only when he is refused once more after the same recipient domain took other mail from our same
sending domain: the others of the relay may be taken where that one is not. And where the relay takes nothing at all any
more, from recipients of several domains, it is the relay that is down; where it takes nothing from one sending domain
alone, that one is refused.

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

Judgement = Literal["failed", "later", "unsure", "down", "domain"]
"""`later`: put off while the permit says that he may be. `unsure`: put off in any case. `down`: the same, and nothing
more is sent by the relay. `domain`: nothing more from this sending domain."""


@dataclass(slots=True)
class InARow:
    """What was refused one after the other, nothing taken in between: for recipients of these domains."""

    n: int = 0
    domains: set[str] = field(default_factory=set)
    works: bool = False
    """Mail was taken, or a recipient looked at, since it was down, or since this process began."""

    def ends(self) -> None:
        """Something was taken, or a recipient refused for his own sake."""
        self.works = True
        if self.n:
            self.forget()

    def forget(self) -> None:
        """It begins anew."""
        self.n = 0
        self.domains.clear()

    def refused(self, domain: str) -> bool:
        """One more. Whether nothing at all is taken any more."""
        self.n += 1
        if len(self.domains) < DOMAINS:
            self.domains.add(domain)
        if self.n >= IN_A_ROW and len(self.domains) >= DOMAINS:
            self.works = False
            return True
        return False


@dataclass(slots=True)
class Refusals:
    """What a relay has lately made of our mail."""

    all: InARow = field(default_factory=InARow)
    senders: dict[str, InARow] = field(default_factory=dict)
    """The same of each sending domain."""
    taken: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)
    """By sending domain, and recipient domain that has taken its mail: refusals since it did for the last time."""
    downs: OrderedDict[tuple[str, str], tuple[int, str]] = field(default_factory=OrderedDict)
    """By sending domain, and address at which it refused everything: how often, it having worked in between, and the
    last such permit."""

    unanswered: int = 0
    """Connections lost one after the other after a body and before its reply: no body was answered in between."""

    def lost(self, *, probe: bool) -> bool:
        """A connection was lost after a body and before its reply, and it was not we who closed it. Whether the relay
        is down. In a `probe`, which asks whether it still is, one is enough."""
        self.unanswered += 1
        return probe or self.unanswered >= UNANSWERED

    def accepted(self, rcpt_to: str, sender: str = "") -> None:
        """The relay took a message. `sender`: the sending domain, here and below."""
        self.dealt_with(sender)
        if self.downs:
            self.downs.pop((sender, rcpt_to), None)
        domain = sender, _domain(rcpt_to)
        self.taken[domain] = 0
        self.taken.move_to_end(domain)
        if len(self.taken) > KNOWN:
            self.taken.popitem(last=False)

    def dealt_with(self, sender: str = "") -> None:
        """The relay looked at a recipient and refused him for his own sake: it is not down."""
        self.all.ends()
        self._of(sender).ends()

    def refused(self, rcpt_to: str, *, again: bool, sender: str = "") -> Judgement:
        """A refusal by policy. `again`: he was deferred before."""
        domain = _domain(rcpt_to)
        since = self.taken.get((sender, domain))
        if since is not None:
            self.taken[sender, domain] = since + 1
        everything, ours = self.all.refused(domain), self._of(sender).refused(domain)
        if ours and (not everything or any(row.works and not row.n for row in self.senders.values())):
            self.all.forget()  # what it said last to another one is that it works: of that these refusals say nothing
            return "domain"
        if everything:
            return "down"
        return "failed" if again and since == 0 else "later"

    def unsure(self, deferrals: int, sender: str = "") -> bool:
        """Whether a refusal that was judged `later` may still be of us, of one who was deferred so often: that is less
        often than it takes to find the relay down; or nothing has shown that it works, and too little that not."""
        ours = self._of(sender)
        return deferrals < IN_A_ROW - 1 or (not ours.works and ours.n < IN_A_ROW)

    def of_him_alone(self, rcpt_to: str, permit_id: str, *, probe: bool, sender: str = "") -> bool:
        """It refused everything when he was tried under that permit. Whether it is he alone whom it refuses.

        That counts once a permit, and not in a `probe`, which asks whether it works: so it has worked since the last
        time. When it is first believed, he cannot fail yet: his domain must take mail after that.
        """
        him = sender, rcpt_to
        times, last = self.downs.get(him, (0, ""))
        if permit_id != last and not probe:
            times += 1
            self.downs[him] = times, permit_id
            self.downs.move_to_end(him)
            if len(self.downs) > KNOWN:
                self.downs.popitem(last=False)
            domain = sender, _domain(rcpt_to)
            if times == ALONE and domain in self.taken:
                self.taken[domain] += 1
        return times >= ALONE and not probe

    def _of(self, sender: str) -> InARow:
        found = self.senders.get(sender)
        if found is None:
            found = self.senders[sender] = InARow()
        return found


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
