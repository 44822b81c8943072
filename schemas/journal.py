"""`send.journal`: what the owner of a batch has recorded, one row a window of a batch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Instant, Model

WINDOW = 50
"""Indices of a batch in one row: fixed slices, [0, 50), [50, 100) ..."""

# One letter an index in `JournalEntry.states`.
OPEN, INTENDED, ACCEPTED, FAILED, IN_DOUBT, SUPPRESSED = "o", "i", "a", "f", "d", "s"


class JournalEntry(Model):
    """The state of every index of a window. Key: `campaign/batch#start`."""

    kind: Literal["window"] = "window"
    campaign_id: str
    batch_number: int
    start: int
    states: str = Field(description="one letter an index: open, intended, accepted, failed, doubt, suppressed")
    rounds: list[int] = Field(description="the round in which each index was last begun")
    attempts: list[int] = Field(description="tries in that round")
    permit_id: str = Field(description="the permit under which the window was last touched")
    content_hash: str = ""
    spool: str | None = Field(None, description="of the process that intends: name and boot id")
    at: Instant


class JournalPermit(Model):
    """A permit that was taken, and how far it came. Key: `campaign/batch!`, the newest of the batch."""

    kind: Literal["permit"] = "permit"
    campaign_id: str
    batch_number: int
    permit_id: str
    round: int
    version: int = Field(description="of the last report to the gate")
    final: bool
    begun: int
    sent_on: dict[str, int] = {}
    control: Literal["pause", "cancel"] | None = None
    control_version: int = 0
    chunk: str | None = Field(None, description="the permit itself, JSON, while it is not final")
    ended: bool = False
    at: Instant
