"""What a run left behind, by the journal that the senders wrote and by the provider's own record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from schemas.journal import IN_DOUBT, INTENDED, OPEN
from streams.fenced import Input

Index = tuple[str, int, int]
"""(campaign, batch number, index in the batch)."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """An index that was intended and then in doubt."""

    of: Index
    spool: str
    """Of the process that had intended it: the random part of its name."""
    at: float
    """When that was committed, Unix seconds."""


@dataclass(slots=True)
class Journal:
    """All that the senders' journal says, from its first record on."""

    letters: dict[Index, str] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    unread: set[bytes] = field(default_factory=set)
    """Keys of windows with somebody in doubt of whom a spool may still tell, once it can be read."""

    def in_state(self, campaign_id: str, letter: str) -> set[tuple[int, int]]:
        """(batch number, index)."""
        return {of[1:] for of, found in self.letters.items() if of[0] == campaign_id and found == letter}


def replay(records: Iterable[Input]) -> Journal:
    """Follow every index through the records of `send.journal`, which come in order within a partition."""
    journal = Journal()
    spools: dict[Index, str] = {}
    for record in records:
        key = record.key or b""
        journal.unread.discard(key)
        if record.value is None:
            continue
        row = orjson.loads(record.value)
        campaign, number = row["campaign_id"], row["batch_number"]
        if row["kind"] == "window":
            if row["unread"]:
                journal.unread.add(key)
            spool = (row["spool"] or "").partition("@")[0]
            for i, letter in enumerate(row["states"], row["start"]):
                of = campaign, number, i
                before = journal.letters.get(of, OPEN)
                if before == INTENDED and letter == IN_DOUBT:
                    journal.doubts.append(Doubt(of, spools[of], record.timestamp_ms / 1000))
                if letter == INTENDED:
                    spools[of] = spool
                journal.letters[of] = letter
        elif row["ended"]:
            for start, end, letter, *_ in row["spans"]:
                journal.letters.update(((campaign, number, i), letter) for i in range(start, end))
    return journal


def address_of(of: Index, batch: int) -> str:
    """Of a campaign by `Supervised.flood`: recipients are in batches in the order of their file."""
    campaign, number, index = of
    return f"p{(number - 1) * batch + index}@{campaign}.example"
