"""Whether a relay that refuses by policy refuses a message, or us. Pure: no clock, no I/O.

A reply such as `554 5.7.1` may mean one recipient, or everything from us: our address is on a block list, the account
may not relay, the content is filtered. Nobody is to be burnt as failed for that. So whoever is refused in this way is
put off, and has failed only when he is refused once more while the same recipient domain takes other mail of ours. And
where the relay takes nothing at all any more, from recipients of several domains, it is the relay that is down.

What is known is of this process alone and of this relay. It decides only between `failed` and `later`: losing it costs
a try, never a message.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

IN_A_ROW = 5
"""Refusals in a row, nothing taken in between, after which the relay is down ..."""
DOMAINS = 2
"""... if they were for recipients of so many domains. One alone is that domain's business: its recipients wait."""
SPARED = 2
"""A domain that has refused more often in a row than this is not believed to mean the recipient."""
KNOWN = 10_000
"""Recipient domains that are remembered."""

Judgement = Literal["failed", "later", "down"]
"""`later`: put off. `down`: put off, and nothing more is sent by the relay."""


@dataclass(slots=True)
class Refusals:
    """What a relay has lately made of our mail."""

    in_a_row: int = 0
    domains: set[str] = field(default_factory=set)
    taken: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """By recipient domain that has taken mail: refusals since it did for the last time."""

    def accepted(self, rcpt_to: str) -> None:
        """The relay took a message."""
        self.dealt_with()
        domain = _domain(rcpt_to)
        self.taken[domain] = 0
        self.taken.move_to_end(domain)
        if len(self.taken) > KNOWN:
            self.taken.popitem(last=False)

    def dealt_with(self) -> None:
        """The relay looked at a recipient and refused him for his own sake: it is not down."""
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
            return "down"
        return "failed" if again and since is not None and since < SPARED else "later"


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
