"""The lines of a spool file, as they are written; `spool_evidence` reads them. Pure.

A line is `CRC payload LF`: eight hex digits, a space, the payload. The checksum (CRC-32) goes on from that of
the line before, so that a line which is missing in the middle is noticed as well as one that is torn.
Payloads:

    h{...}                                      the first line of a generation: spool, generation, kept
    p[slip,campaign,batch,round,permit]         what a slip number stands for in this generation
    b<slip> <index> <tries>                     a message goes on a wire, for the `tries`th time
    e[slip,index,tries,kind,code,enhanced,reason,text,provider_id,at]    what the server replied
    B[slip,index,tries,slip,index,tries...]     several of `b`, which go on their wires after the same write
    E[[slip,index,...],[slip,index,...]...]     several of `e`
    r<generation>                               everything in that generation is settled; its file goes away
    n<generation>                               goes on in that generation
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import orjson

from sender.smtp.outcomes import Kind, Outcome, Reason

TEXT_KEPT = 500
"""Characters of a server's text that an end keeps."""

SlipName = tuple[str, int, int, str]
"""(campaign id, batch number, round, permit id)."""


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

    @classmethod
    def of(cls, outcome: Outcome, at: datetime, tries: int = 1) -> SpoolEnd:
        """The end that an outcome makes."""
        o = outcome
        return tuple.__new__(cls, (o.kind, at, tries, o.code, o.enhanced, o.reason, o.text[:TEXT_KEPT], o.provider_id))

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


def slip(number: int, name: SlipName) -> bytes:
    """The payload that says what a slip number stands for."""
    campaign_id, batch_number, round_, permit_id = name
    return b"p" + orjson.dumps((number, campaign_id, batch_number, round_, permit_id))


def begin(number: int, index: int, tries: int) -> bytes:
    """The payload that says that a message goes on a wire."""
    return b"b%d %d %d" % (number, index, tries)


def end(number: int, index: int, e: SpoolEnd) -> bytes:
    """The payload that says what a server replied."""
    try:
        return b"e" + orjson.dumps(
            (number, index, e.tries, e.kind, e.code, e.enhanced, e.reason, e.text[:TEXT_KEPT], e.provider_id, e.at)
        )
    except orjson.JSONEncodeError:  # half a surrogate pair, from bytes that are no UTF-8
        return end(number, index, e._replace(text=_clean(e.text), provider_id=_clean(e.provider_id)))


def begins(begun: Sequence[tuple[int, int, int]]) -> bytes:
    """One payload for several (slip number, index, tries)."""
    if len(begun) == 1:
        return begin(*begun[0])
    flat: list[int] = []
    for one in begun:
        flat += one
    return b"B" + orjson.dumps(flat)


def ends(ended: Sequence[tuple[int, int, SpoolEnd]]) -> list[bytes]:
    """The payloads, one if that can be, for several (slip number, index, end)."""
    if len(ended) > 1:
        try:
            return [b"E" + orjson.dumps([
                (number, index, e.tries, e.kind, e.code, e.enhanced, e.reason, e.text[:TEXT_KEPT], e.provider_id, e.at)
                for number, index, e in ended
            ])]  # fmt: skip
        except orjson.JSONEncodeError:
            pass
    return [end(*one) for one in ended]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
