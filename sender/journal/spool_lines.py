"""The lines of a spool file, as they are written; `spool_evidence` reads them. Pure.

A line is `CRC payload LF`: eight hex digits, a space, the payload. The checksum (CRC-32) goes on from that of
the line before, so that a line which is missing in the middle is noticed as well as one that is torn.
Payloads:

    h{...}                                      the first line of a generation: spool, generation, kept
    p[slip,campaign,batch,round,permit]         what a slip number stands for in this generation
    b<slip> <index> <tries>                     a message goes on a wire, for the `tries`th time
    B[slip,index,tries,slip,index,tries...]     several of `b`, which go on their wires after the same write
    E[at,[kind,code,enhanced,reason,text,provider_id,kind...],[slip,index,tries,reply,slip...]]
                                                what the server replied, to one message or several: the replies,
                                                and whose each is, by its place among them
    r<generation>                               everything in that generation is settled; its file goes away
    n<generation>                               goes on in that generation
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import orjson

from sender.smtp.outcomes import Kind, Outcome, Reason

TEXT_KEPT = 500
"""Characters of a server's text that an end keeps."""

SlipName = tuple[str, int, int, str]
"""(campaign id, batch number, round, permit id)."""


@dataclass(slots=True, eq=False)
class Slip:
    """One permit's page in the spool: `begin` and `end` say by it which batch and round they mean."""

    number: int
    name: SlipName
    declared: int = 0
    """The newest generation that says what `number` stands for."""
    last: dict[int, int] = field(default_factory=dict)
    """By index: the generation of its last record; as -generation when that is an end."""


Ends = Sequence[tuple[Slip, int, int, Outcome]]
"""(slip, index, which try it was, what the server replied)."""
Begins = Sequence[tuple[Slip, int, int]]
"""(slip, index, which try it is)."""


class SpoolEnd(NamedTuple):
    """What the server replied to the `tries`th try of a message, by the installation's clock."""

    kind: Kind
    at: datetime
    tries: int = 1
    code: int = 0
    enhanced: str = ""
    reason: Reason = ""
    text: str = ""
    provider_id: str = ""

    @property
    def settles(self) -> bool:
        """Whether nothing more is tried after it: it was taken, or refused for good, or nobody knows."""
        return self.kind in {"accepted", "failed", "lost_after"}


def line(payload: bytes, crc: int) -> tuple[bytes, int]:
    """(the line, the checksum that the next one goes on from)."""
    crc = zlib.crc32(payload, crc)
    return b"%08x %b\n" % (crc, payload), crc


def head(spool: str, generation: int, kept: Sequence[int]) -> bytes:
    """The first payload of a generation. `kept`: earlier generations whose files are still needed."""
    return b"h" + orjson.dumps({"spool": spool, "generation": generation, "kept": kept})


def declared(slip: Slip) -> bytes:
    """The payload that says what a slip number stands for."""
    return b"p" + orjson.dumps((slip.number, *slip.name))


def begins(begun: Begins) -> bytes:
    """One payload for several messages that go on their wires."""
    if len(begun) == 1:
        slip, index, tries = begun[0]
        return b"b%d %d %d" % (slip.number, index, tries)
    flat: list[int] = []
    for slip, index, tries in begun:
        flat.append(slip.number)
        flat.append(index)
        flat.append(tries)
    return b"B" + orjson.dumps(flat)


def ends(ended: Ends, at: datetime) -> bytes:
    """One payload for what servers replied, `at` by the installation's clock. Neighbours with the very same reply
    share it."""
    replies: list[object] = []
    whose: list[int] = []
    last: Outcome | None = None
    count = 0
    for slip, index, tries, o in ended:
        if o is not last:
            last = o
            count += 1
            replies.append(o.kind)
            replies.append(o.code)
            replies.append(o.enhanced)
            replies.append(o.reason)
            replies.append(o.text if len(o.text) <= TEXT_KEPT else o.text[:TEXT_KEPT])
            replies.append(o.provider_id)
        whose.append(slip.number)
        whose.append(index)
        whose.append(tries)
        whose.append(count - 1)
    try:
        return b"E" + orjson.dumps((at, replies, whose))
    except orjson.JSONEncodeError:  # half a surrogate pair, from bytes that are no UTF-8
        clean = [_clean(one) if isinstance(one, str) else one for one in replies]
        return b"E" + orjson.dumps((at, clean, whose))


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
