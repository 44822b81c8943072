"""From recipients to batches, and from a batch to the records that carry it.

Boundaries and checksums depend on the recipients and on the campaign's recorded numbers alone:
planning again gives the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import orjson

from planner.plan import Timetable, batch_sizes
from planner.recipients.clean import FRAME, Clean, names_bytes
from schemas.batch import MAX_PART_BYTES
from schemas.campaign import Campaign
from schemas.identity import recipients_key

NULL = len(b"null,")


class Part(NamedTuple):
    """A record for `batch.recipients`: rows `start` to `start + rows` of its batch."""

    key: bytes
    value: bytes
    start: int
    rows: int


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch with its recipients."""

    campaign_id: str
    number: int
    size: int
    sending_day: int
    scheduled_for: datetime
    members: tuple[Clean, ...]
    checksum: str

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of its rows, `email` first."""
        return tuple(dict.fromkeys(column for columns in _distinct(self.members) for column in columns))

    @property
    def rows(self) -> list[list[Any]]:
        """Its rows under `columns`; None where a row lacks one."""
        return [orjson.loads(_under(self.columns, member)) for member in self.members]


def batches(campaign: Campaign, recipients: Iterable[Clean]) -> Iterator[PlannedBatch]:
    """The batches of a campaign, one at a time. Raises `NeverOpens`, and what `recipients` raises."""
    timetable = Timetable(campaign.strategy, campaign.schedule, campaign.start_day, campaign.day_timezone)
    rest = iter(recipients)
    for number, slot in enumerate(batch_sizes(campaign.strategy, campaign.start_day), 1):
        members = tuple(islice(rest, slot.size))
        if not members:
            return
        at, day = timetable.place(len(members))
        yield PlannedBatch(campaign.campaign_id, number, len(members), day, at, members, checksum(members))


def checksum(members: Iterable[Clean]) -> str:
    """SHA-256, hex, of the rows with their columns, however they are cut into parts."""
    digest = hashlib.sha256()
    columns: tuple[str, ...] | None = None
    for member in members:
        if member.columns is not columns and member.columns != columns:
            digest.update(orjson.dumps(member.columns) + b"\n")
        columns = member.columns
        digest.update(member.encoded + b"\n")
    return digest.hexdigest()


def encode_parts(batch: PlannedBatch, write_id: str) -> list[Part]:
    """The records of a batch, each at most 512 KB, under keys of this writing's own."""
    parts: list[Part] = []
    start = 0
    for columns, rows in _tables(batch.members):
        number = len(parts)
        key = recipients_key(batch.campaign_id, batch.number, write_id, number)
        parts.append(Part(key.encode(), _encode(batch, number, start, columns, rows), start, len(rows)))
        start += len(rows)
    return parts


def _encode(batch: PlannedBatch, part: int, start: int, columns: tuple[str, ...], rows: list[bytes]) -> bytes:
    """What `BatchRecipients.encode` gives, from rows that are JSON already."""
    frame = orjson.dumps({
        "campaign_id": batch.campaign_id, "batch_number": batch.number, "part": part, "start": start,
        "columns": columns,
    })  # fmt: skip
    return b"".join((frame[:-1], b',"rows":[', b",".join(rows), b"]}"))


def _tables(members: tuple[Clean, ...]) -> Iterator[tuple[tuple[str, ...], list[bytes]]]:
    """The rows, cut where a part would grow too large, each cut under the columns that its rows have."""
    table = _Table()
    for member in members:
        if not table.take(member):
            yield table.columns, table.rows()
            table = _Table()
            table.take(member)
    if table.members:
        yield table.columns, table.rows()


class _Table:
    """Rows for one part, and the most bytes that they can take there."""

    def __init__(self) -> None:
        self.members: list[Clean] = []
        self.columns: tuple[str, ...] = ()
        self._last: tuple[str, ...] | None = None
        self._bytes = FRAME
        self._names = 0
        self._cells = 0

    def take(self, member: Clean) -> bool:
        """Adds a row, unless there would be too much; the first one always fits (`Cleaner` sees to it)."""
        columns, names = self.columns, self._names
        if member.columns is not self._last and member.columns != columns:
            columns = tuple(dict.fromkeys((*columns, *member.columns)))
            names = names_bytes(columns)
        cells = self._cells + len(member.columns)
        nulls = (len(self.members) + 1) * len(columns) - cells
        size = self._bytes + len(member.encoded) + 1
        if self.members and size + names + NULL * nulls > MAX_PART_BYTES:
            return False
        self.members.append(member)
        self.columns, self._names, self._last = columns, names, member.columns
        self._bytes, self._cells = size, cells
        return True

    def rows(self) -> list[bytes]:
        """The rows as JSON arrays under `columns`."""
        return [_under(self.columns, member) for member in self.members]


def _under(columns: tuple[str, ...], member: Clean) -> bytes:
    """A row's JSON under other columns than its own."""
    if member.columns is columns or member.columns == columns:
        return member.encoded
    values = dict(zip(member.columns, orjson.loads(member.encoded), strict=True))
    return orjson.dumps([values.get(column) for column in columns])


def _distinct(members: Iterable[Clean]) -> Iterable[tuple[str, ...]]:
    return dict.fromkeys(member.columns for member in members)
