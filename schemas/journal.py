"""`send.journal`: what the owner of a batch has recorded, one row a window of a batch and one a batch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Instant, Model
from schemas.batch import PutOff
from schemas.chunk import SendError

WINDOW = 50
"""Indices of a batch in one row: fixed slices, [0, 50), [50, 100) ..."""

# One letter an index in `JournalEntry.states`.
OPEN, INTENDED, ACCEPTED, FAILED, IN_DOUBT, SUPPRESSED, DEFERRED = "o", "i", "a", "f", "d", "s", "l"

NEVER = -1
"""The round of an index that was never begun."""

Span = tuple[int, int, str, int, int]
"""Indices start to end (not included), their state letter, round and attempts, where these are all equal."""


class JournalEntry(Model):
    """The state of every index of a window. Key: `campaign/batch#start`."""

    kind: Literal["window"] = "window"
    campaign_id: str
    batch_number: int
    start: int
    states: str = Field(description="one letter an index: open, intended, accepted, failed, doubt, suppressed, later")
    rounds: list[int] = Field(description="the round in which each index was last begun; -1: never")
    attempts: list[int] = Field(description="tries in all rounds")
    permit_id: str = Field(description="the permit under which the window was last touched")
    content_hash: str = ""
    spool: str | None = Field(None, description="of the process that intends: name and boot id")
    deferrals: list[int] = Field([], description="how often each index was deferred in its round; empty: none was")
    doubts: list[int] = Field(
        [], description="how often nobody knew what became of each, in all rounds; empty: of everybody it was known"
    )
    unread: dict[str, list[int]] = Field(
        {}, description="by spool: places in `states` in doubt because it could not be read when its process was gone"
    )
    at: Instant


class JournalPermit(Model):
    """A permit that was taken, and how far it came. Key: `campaign/batch!`, the newest of the batch.

    When nothing of the batch is open, intended, deferred or in doubt, the row is `ended`: its windows are deleted and
    `spans` says the same in less room. A permit of a later round brings the windows back.
    """

    kind: Literal["permit"] = "permit"
    campaign_id: str
    batch_number: int
    permit_id: str
    round: int
    version: int = Field(description="of the last report to the gate")
    final: bool
    begun: int = Field(description="messages of this permit that went on a wire")
    sent_on: dict[str, int] = {}
    control: Literal["pause", "cancel"] | None = None
    control_version: int = 0
    control_at: Instant | None = Field(None, description="a permit that was issued later lifts the control")
    pending: tuple[str, ...] = Field((), description="orders, JSON, that wait until their recipients are looked up")
    chunk: str | None = Field(None, description="the permit itself, JSON, while the batch is not ended")
    result: str | None = Field(None, description="the final `ChunkResult`, JSON, as it would be sent again")
    size: int = Field(0, description="recipients of the batch")
    content_hash: str = ""
    throttled: int = 0
    errors: tuple[SendError, ...] = Field((), description="the last few")
    deferral: SendError | None = Field(None, description="the last one who was deferred under this permit")
    spans: tuple[Span, ...] = Field((), description="with `ended`: the states of the whole batch")
    doubts: tuple[PutOff, ...] = Field(
        (), description="with `ended`: how often nobody knew what became of somebody, where there are any"
    )
    ended: bool = False
    at: Instant


class JournalAside(Model):
    """The owner could do nothing for a batch: a row of it cannot be read, or handling it fails. Key: `campaign/batch~`.

    Its permits are answered, and nothing is begun. It goes away when an owner can read all of the batch again.
    """

    kind: Literal["aside"] = "aside"
    campaign_id: str
    batch_number: int
    reason: str
    evidence: str | None = Field(None, description="an order, JSON: who was seen to have his message meanwhile")
    at: Instant


def aside_key(campaign_id: str, batch_number: int) -> bytes:
    """The key of the row that says that a batch is put aside."""
    return f"{campaign_id}/{batch_number}~".encode()


def window_key(campaign_id: str, batch_number: int, start: int) -> bytes:
    """The key of the row of the window that begins at `start`."""
    return f"{campaign_id}/{batch_number}#{start}".encode()


def permit_key(campaign_id: str, batch_number: int) -> bytes:
    """The key of a batch's permit row."""
    return f"{campaign_id}/{batch_number}!".encode()
