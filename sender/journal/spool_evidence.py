"""What the lines of a spool file (`spool_lines`) prove about a process that has died. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import orjson

from sender.journal.spool_lines import SlipName, SpoolEnd


@dataclass(frozen=True, slots=True)
class Fate:
    """What a spool says of one index in one round.

    `never`: it was not put on a wire. `begun`: it may have been, and no reply is known: in doubt. `ended`: the
    last reply is `end`. `tries` counts how often it was put on a wire, as far as that is known.
    """

    state: Literal["never", "begun", "ended"]
    tries: int = 0
    end: SpoolEnd | None = None


Fates = dict[tuple[str, int, int], dict[int, Fate]]
"""By (campaign, batch, round), then by index."""
NEVER_BEGUN = Fate("never")
MAY_HAVE_BEGUN = Fate("begun", 1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a dead process had put on a wire and what came of it."""

    fates: Mapping[tuple[str, int, int], Mapping[int, Fate]] = field(default_factory=dict)
    """By (campaign, batch, round), then by index."""
    damage: str = ""
    """Where a file is damaged: what came after is not known, so `never` cannot be said of anything."""

    def of(self, campaign_id: str, batch_number: int, index: int, round_: int) -> Fate:
        """What became of an index that was intended in that round."""
        found = self.fates.get((campaign_id, batch_number, round_), {}).get(index, NEVER_BEGUN)
        if self.damage and not (found.end is not None and found.end.settles):
            return replace(found, state="begun", tries=max(1, found.tries), end=None)
        return found


class Missing(Exception):
    """A generation that should be there is not: nothing can be concluded."""


@dataclass(slots=True)
class _Generation:
    number: int
    head: dict[str, Any] = field(default_factory=dict)
    slips: dict[int, SlipName] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)
    next: int | None = None


def identity(data: bytes) -> dict[str, Any] | None:
    """The head of a generation; None when its first line is not one."""
    first, newline, _ = data.partition(b"\n")
    payload = first[9:]
    if not newline or first[:9] != b"%08x " % zlib.crc32(payload) or payload[:1] != b"h":
        return None
    found: dict[str, Any] = orjson.loads(payload[1:])
    return found


def read(files: Mapping[int, bytes]) -> Evidence:
    """What the files of a spool say, by generation. Raises `Missing`.

    The end of the last file may be torn: the `write()` that it belonged to never returned, so what it was to
    announce was not done. Any other line that cannot be read damages the evidence from there on.
    """
    fates: Fates = {}
    generations: list[_Generation] = []
    damage = ""
    for number in sorted(files):
        generation, data = _Generation(number), files[number]
        generations.append(generation)
        done, whole = _read_one(data, generation, fates)
        if not whole or (done < len(data) and number != max(files)):
            damage = damage or f"generation {number} is damaged from byte {done} on"
    _nothing_is_missing(generations)
    return Evidence(fates, damage)


def _read_one(data: bytes, generation: _Generation, fates: Fates) -> tuple[int, bool]:
    """(how many bytes were read, whether every line that ends is in order)."""
    crc, at = 0, 0
    while (stop := data.find(b"\n", at)) >= 0:
        payload = data[at + 9 : stop]
        crc = zlib.crc32(payload, crc)
        if data[at : at + 9] != b"%08x " % crc or not _apply(payload, generation, fates):
            return at, False
        at = stop + 1
    return at, True


def _apply(payload: bytes, g: _Generation, fates: Fates) -> bool:
    """Take a line in. False for one that this version does not know."""
    try:
        return _take(payload, g, fates)
    except (KeyError, TypeError, ValueError):
        return False


def _take(payload: bytes, g: _Generation, fates: Fates) -> bool:
    kind, rest = payload[:1], payload[1:]
    if kind == b"b":
        number, index, tries = map(int, rest.split())
        _begun(number, index, tries, g, fates)
    elif kind == b"B":
        flat = orjson.loads(rest)
        for number, index, tries in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            _begun(number, index, tries, g, fates)
    elif kind == b"E":
        at, replies, whose = orjson.loads(rest)
        _ended(datetime.fromisoformat(at), replies, whose, g, fates)
    elif kind == b"p":
        number, *name = orjson.loads(rest)
        g.slips[number] = (name[0], name[1], name[2], name[3])
    elif kind == b"h":
        g.head = orjson.loads(rest)
    elif kind == b"r":
        g.retired.add(int(rest))
    elif kind == b"n":
        g.next = int(rest)
    else:
        return False
    return True


def _begun(number: int, index: int, tries: int, g: _Generation, fates: Fates) -> None:
    _of(g.slips[number], fates)[index] = Fate("begun", tries)


def _ended(at: datetime, replies: Sequence[Any], whose: Sequence[int], g: _Generation, fates: Fates) -> None:
    for number, index, tries, which in zip(*(whose[i::4] for i in range(4)), strict=True):
        kind, code, enhanced, reason, text, provider_id = replies[6 * which : 6 * which + 6]
        end = SpoolEnd(kind, at, tries, code, enhanced, reason, text, provider_id)
        _of(g.slips[number], fates)[index] = Fate("ended", tries, end)


def _of(name: SlipName, fates: Fates) -> dict[int, Fate]:
    return fates.setdefault(name[:3], {})


def _nothing_is_missing(generations: Sequence[_Generation]) -> None:
    """The newest generation names all that were needed when it began, and which of them have been settled since.

    One without its first line was never used: its process died while it made the file.
    """
    used = [g for g in generations if g.head]
    if not used:
        raise Missing("no file of this spool is left")
    newest = used[-1]
    if newest.next is not None:
        raise Missing(f"generation {newest.next} of this spool is gone")
    if lost := set(newest.head["kept"]) - newest.retired - {g.number for g in used}:
        raise Missing(f"generation {min(lost)} of this spool is gone")
