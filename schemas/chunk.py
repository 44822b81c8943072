"""`chunks`: permits to send, and what else the owner of a batch is told; and what it answers."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from schemas.base import Instant, Model
from schemas.batch import Pointer, PutOff, Range
from schemas.calendar import local_day


class Chunk(Model):
    """The permit to send some indices of a batch. The owner begins each index at most once a round.

    A permit that is repeated has the same `permit_id` and the same content.
    """

    kind: Literal["chunk"] = "chunk"
    permit_id: str = Field(description="relay and a counter that only grows: main:000000000042")
    relay: str
    campaign_id: str
    batch_number: int
    batch_size: int
    round: int = Field(0, description="raised by retry and resend: the owner begins what is open in this round")
    ranges: tuple[Range, ...] = Field(description="the indices permitted")
    pointers: tuple[Pointer, ...]
    content_hash: str
    checksum: str
    sending_domain: str
    day_timezone: str = Field(description="IANA name: where the domain's day begins at midnight")
    connections: int = Field(ge=1)
    rate: float | None = Field(None, description="messages a second of real time, over all its connections")
    until: Instant = Field(description="nothing is begun at or after it; the rest is answered as unsent")
    in_doubt: Literal["hold", "resend"] = "hold"
    max_retries: int = 3
    defer: bool = Field(
        False, description="whoever is refused for now comes back as deferred; else it is the end: failed, expired"
    )
    deferrals: int = Field(
        0, description="also permitted: who was deferred so often, or less often, in this round; 0: nobody who was"
    )
    resend: tuple[Range, ...] | None = Field(
        None, description="of `ranges`, who is in doubt and by order sent to again in this round; none: all of them"
    )
    probe: bool = Field(False, description="it finds out whether the relay takes again what it refused")
    probes: Literal["relay", "domain"] = Field(
        "relay", description="with `probe`: that was everything, or mail from this sending domain alone"
    )
    issued_at: Instant

    def permitted(self) -> int:
        """How many messages it permits."""
        return sum(end - start for start, end in self.ranges)

    def day(self) -> date:
        """The sending domain's local day on which it was issued: that of all its messages, also when they are tried
        again on the spot or by another owner. Raises a KeyError for a time zone that is not known here."""
        return local_day(self.day_timezone, self.issued_at)


class BatchControl(Model):
    """An order to the owner of a batch. One that is not newer than the last is ignored."""

    kind: Literal["control"] = "control"
    relay: str
    campaign_id: str
    batch_number: int
    action: Literal["pause", "resume", "cancel", "resolve", "evidence", "forget"]
    version: int = Field(description="a counter of the gate that only grows")
    at: Instant
    resolution: Literal["resend", "drop", "accepted"] | None = None
    address: str | None = Field(None, description="for `resolve`: only who has this address, of those in `indices`")
    indices: tuple[Range, ...] = Field((), description="for `resolve` and `evidence`: only these; empty: all in doubt")


class Evidence(Model):
    """A message was seen where only a provider that took it can have brought it. Feedback to gate, under the relay.

    Written when the message is in doubt, or not known to be settled; of any other it changes nothing, nor does the
    same once more.
    """

    kind: Literal["evidence"] = "evidence"
    relay: str
    campaign_id: str
    batch_number: int
    recipient_index: int
    event_id: str = Field(description="of the `MailEvent` that shows it")
    at: Instant


class SendError(Model):
    """A recipient who could not be mailed; without an address: a whole batch that could not."""

    email: str
    error: str = Field(description="the server's reply with its codes, or our words")
    attempts: int
    at: Instant


class ChunkResult(Model):
    """What has become of a permit and, in totals, of its whole batch. Owner to gate.

    `version` counts the owner's reports of the batch; one that is not newer is ignored. Ranges and
    totals are of the batch so far, not since the last report, so that a lost one does no harm.
    """

    kind: Literal["chunk_result"] = "chunk_result"
    relay: str
    campaign_id: str
    batch_number: int
    permit_id: str
    round: int
    version: int
    final: bool = Field(description="nothing more will be begun under this permit")
    begun: int = Field(description="messages of this permit that were begun: they used quota")
    sent_on: dict[date, int] = Field({}, description="those of `begun` by the domain's local day of their end")
    unsent: tuple[Range, ...] = Field((), description="with `final`: indices of this permit that were not begun")
    accepted: int = Field(0, description="of the batch, like the four that follow")
    suppressed: int = 0
    failed: tuple[Range, ...] = ()
    in_doubt: tuple[Range, ...] = ()
    awaited: int = Field(
        0, description="of those in doubt: whom the record of a sender may settle that hangs, or cannot be read yet"
    )
    open: tuple[Range, ...] = Field((), description="of the batch, when no permit is active: who is not settled")
    order: int = Field(0, description="the version of the `resolve` that this answers; 0: it answers none")
    resolved: int = Field(0, description="with `order`: how many it was about")
    settled: tuple[Range, ...] = Field((), description="with `order`: whom it settled; they wait for nothing any more")
    deferred: tuple[PutOff, ...] = Field((), description="of the batch: refused for now, and how often by now")
    deferral: SendError | None = Field(None, description="under this permit: the last one who was deferred")
    aside: bool = Field(
        False,
        description="the owner can do nothing for the batch, and `detail` says why: totals and version mean nothing",
    )
    stopped: (
        Literal["done", "expired", "paused", "cancelled", "relay_down", "throttled", "error", "unready", "shutdown"]
        | None
    ) = Field(None, description="`unready`: something of ours is not there yet, such as the campaign; no failure")
    refused: Literal["relay", "domain"] = Field(
        "relay", description="with `relay_down`: all that goes out by the relay, or mail from this sending domain alone"
    )
    detail: str | None = Field(None, description="why it stopped, in the server's words or ours")
    throttled: int = Field(0, description="replies under this permit that asked for less speed")
    errors: tuple[SendError, ...] = Field((), description="the last few")
    at: Instant
