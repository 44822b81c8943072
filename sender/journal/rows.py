"""The journal as rows of `send.journal`, and back. Pure.

A row is written for what differs between two journals, so that whoever changes one several times between two
commits writes the outcome once. An ended batch shrinks to one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import groupby

import orjson

from schemas.batch import PutOff
from schemas.chunk import BatchControl, Chunk, ChunkResult
from schemas.journal import WINDOW, JournalEntry, JournalPermit, Span, permit_key, window_key
from sender.journal.core import is_ended
from sender.journal.values import BatchJournal, Control, Permit, Window, pieces

Row = tuple[bytes, bytes | None]
_LONG_AGO = datetime.fromtimestamp(0, UTC)
CHUNKS_KEPT = 256

_chunks: dict[str, tuple[Chunk, str]] = {}
"""By permit id: a permit, and it encoded; only to encode it less often."""


def changes(old: BatchJournal | None, new: BatchJournal, now: datetime) -> list[Row]:
    """The rows that turn what is recorded as `old` into `new`. `old` None: nothing is recorded."""
    if old is new:
        return []
    before: dict[int, Window] = {} if old is None else old.windows
    if is_ended(new):
        rows: list[Row] = [(window_key(new.campaign_id, new.batch_number, start), None) for start in before]
        return [*rows, _permit_row(new, now, ended=True)]
    rows = [_window_row(new, w) for start, w in new.windows.items() if before.get(start) is not w]
    if old is None or not _same_but_windows(old, new):
        rows.append(_permit_row(new, now, ended=False))
    return rows


def whole(journal: BatchJournal) -> tuple[bytes, ...]:
    """All rows of a batch as `load` takes them: that of the permit, then those of the windows (none when it has ended,
    as of the time of its windows)."""
    at = max((w.at for w in journal.windows.values()), default=_LONG_AGO)
    *windows, permit = [value or b"" for _, value in changes(None, journal, at)]
    return permit, *windows


def forgotten(journal: BatchJournal) -> list[Row]:
    """Tombstones for everything that may be recorded of a batch."""
    keys = [window_key(journal.campaign_id, journal.batch_number, start) for start in journal.starts()]
    return [(key, None) for key in (*keys, permit_key(journal.campaign_id, journal.batch_number))]


def load(permit_row: bytes, window_rows: Iterable[bytes]) -> BatchJournal:
    """The journal of a batch from its rows. Raises `pydantic.ValidationError` for one that is none."""
    p = JournalPermit.decode(permit_row)
    windows = {w.start: w for w in (_window(JournalEntry.decode(row)) for row in window_rows)}
    if p.ended:
        windows = _with_doubts(_windows_of(p.spans, p.size, p.permit_id, p.at), p.doubts)
    permit = Permit(
        p.permit_id,
        p.round,
        None if p.chunk is None else Chunk.decode(p.chunk),
        None if p.result is None else ChunkResult.decode(p.result),
        p.begun,
        {date.fromisoformat(day): n for day, n in p.sent_on.items()},
        p.throttled,
        p.errors,
        p.deferral,
    )
    control = Control(p.control, p.control_version, p.control_at)
    pending = tuple(BatchControl.decode(text) for text in p.pending)
    return BatchJournal(
        p.campaign_id, p.batch_number, p.size, p.content_hash, windows, permit, p.version, control, pending
    )


def as_recorded(journal: BatchJournal) -> BatchJournal:
    """A batch that was loaded, as the changelog has it: when it has ended no window has a row."""
    return replace(journal, windows={}) if is_ended(journal) else journal


def _window_row(journal: BatchJournal, w: Window) -> Row:
    """By hand, because there is one for each few messages; a test holds it to `JournalEntry.encode`."""
    value = {
        "kind": "window",
        "campaign_id": journal.campaign_id,
        "batch_number": journal.batch_number,
        "start": w.start,
        "states": w.states,
        "rounds": w.rounds,
        "attempts": w.attempts,
        "permit_id": w.permit_id,
        "content_hash": journal.content_hash,
        "spool": w.spool,
        "deferrals": w.deferrals,
        "doubts": w.doubts,
        "unread": w.unread,
        "at": _utc(w.at),
    }
    key = window_key(journal.campaign_id, journal.batch_number, w.start)
    return key, orjson.dumps(value, option=orjson.OPT_UTC_Z)


def _permit_row(journal: BatchJournal, now: datetime, *, ended: bool) -> Row:
    """By hand, because there is one for each batch that a turn touched; a test holds it to `JournalPermit.encode`."""
    p, control = journal.permit, journal.control
    value = {
        "kind": "permit",
        "campaign_id": journal.campaign_id,
        "batch_number": journal.batch_number,
        "permit_id": p.permit_id,
        "round": p.round,
        "version": journal.version,
        "final": not p.active,
        "begun": p.begun,
        "sent_on": {day.isoformat(): n for day, n in p.sent_on.items()},
        "control": control.action,
        "control_version": control.version,
        "control_at": None if control.at is None else _utc(control.at),
        "pending": [command.encode().decode() for command in journal.pending],
        "chunk": None if ended or p.chunk is None else _encoded(p.chunk),
        "result": None if p.result is None else p.result.encode().decode(),
        "size": journal.size,
        "content_hash": journal.content_hash,
        "throttled": p.throttled,
        "errors": [error.model_dump(mode="json") for error in p.errors],
        "deferral": None if p.deferral is None else p.deferral.model_dump(mode="json"),
        "spans": list(_spans(journal)) if ended else [],
        "doubts": list(_doubts(journal)) if ended else [],
        "ended": ended,
        "at": _utc(now),
    }
    return permit_key(journal.campaign_id, journal.batch_number), orjson.dumps(value, option=orjson.OPT_UTC_Z)


def _utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo is UTC else instant.astimezone(UTC)


def _encoded(chunk: Chunk) -> str:
    """It is written as often as anything becomes of it, so the text of the last ones is kept."""
    kept = _chunks.get(chunk.permit_id)
    if kept is None or kept[0] is not chunk:
        if len(_chunks) >= CHUNKS_KEPT:
            _chunks.clear()
        kept = _chunks[chunk.permit_id] = chunk, chunk.encode().decode()
    return kept[1]


def _same_but_windows(one: BatchJournal, other: BatchJournal) -> bool:
    return (
        (one.permit is other.permit or one.permit == other.permit)
        and one.version == other.version
        and one.control == other.control
        and one.pending == other.pending
        and (one.campaign_id, one.batch_number) == (other.campaign_id, other.batch_number)
        and (one.size, one.content_hash) == (other.size, other.content_hash)
    )


def _window(e: JournalEntry) -> Window:
    if not len(e.states) == len(e.rounds) == len(e.attempts):
        raise ValueError(f"{len(e.states)} states, {len(e.rounds)} rounds and {len(e.attempts)} attempts do not fit")
    unread = {spool: tuple(places) for spool, places in e.unread.items()}
    return Window(
        e.start, e.states, tuple(e.rounds), tuple(e.attempts), e.permit_id, e.at, e.spool, tuple(e.deferrals), unread,
        tuple(e.doubts),
    )  # fmt: skip


def _spans(journal: BatchJournal) -> Iterator[Span]:
    indices = (
        (w.start + i, (w.states[i], w.rounds[i], w.attempts[i]))
        for _, w in sorted(journal.windows.items())
        for i in range(len(w.states))
    )
    for (letter, round_, attempts), group in groupby(indices, key=lambda item: item[1]):
        members = [i for i, _ in group]
        yield members[0], members[-1] + 1, letter, round_, attempts


def _doubts(journal: BatchJournal) -> Iterator[PutOff]:
    found = ((w.start + i, n) for _, w in sorted(journal.windows.items()) for i, n in enumerate(w.doubts) if n)
    for (n, _), group in groupby(enumerate(found), key=lambda item: (item[1][1], item[1][0] - item[0])):
        members = [index for _, (index, _) in group]
        yield members[0], members[-1] + 1, n


def _with_doubts(windows: dict[int, Window], doubts: Iterable[PutOff]) -> dict[int, Window]:
    for first, end, n in doubts:
        for start, low, high in pieces([(first, end)]):
            w = windows[start]
            counts = w.doubts or (0,) * len(w.states)
            windows[start] = replace(w, doubts=(*counts[:low], *[n] * (high - low), *counts[high:]))
    return windows


def _windows_of(spans: Iterable[Span], size: int, permit_id: str, at: datetime) -> dict[int, Window]:
    letters, rounds, attempts = [""] * size, [0] * size, [0] * size
    for start, end, letter, round_, tries in spans:
        for i in range(start, end):
            letters[i], rounds[i], attempts[i] = letter, round_, tries
    return {
        start: Window(
            start,
            "".join(letters[start : start + WINDOW]),
            tuple(rounds[start : start + WINDOW]),
            tuple(attempts[start : start + WINDOW]),
            permit_id,
            at,
        )
        for start in range(0, size, WINDOW)
    }
