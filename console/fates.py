"""Where each recipient of a campaign is: read from the topics that know it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from console.access import Access
from schemas.batch import BatchRecipients
from schemas.gate_state import GateRow
from schemas.identity import batch_id
from schemas.journal import (
    ACCEPTED,
    DEFERRED,
    FAILED,
    IN_DOUBT,
    INTENDED,
    OPEN,
    SUPPRESSED,
    JournalEntry,
    JournalPermit,
)
from schemas.records import InvalidRow
from schemas.topics import BATCH_RECIPIENTS, GATE_STATE, INVALID_ROWS, SEND_JOURNAL
from streams.table import read_topic

log = logging.getLogger(__name__)

NAMES = {
    OPEN: "waiting", INTENDED: "in_flight", ACCEPTED: "accepted", FAILED: "failed", IN_DOUBT: "in_doubt",
    SUPPRESSED: "suppressed", DEFERRED: "waiting",
}  # fmt: skip
STATES = (*dict.fromkeys(NAMES.values()), "cancelled", "invalid", "duplicate")


def fates(access: Access, campaign_id: str, *, archived: bool = False) -> Iterator[dict[str, Any]]:
    """One mapping a recipient: email, state, batch_number, index, row (of those never planned), reason.

    What was put on a wire is the senders' journal; what is to be released again, was cancelled or was given up with
    its chunk is the gate's table. Of an archived campaign only those that were never planned are known.
    """
    if not archived:
        yield from _planned(access, campaign_id)
    yield from _never_planned(access, campaign_id)


def _planned(access: Access, campaign_id: str) -> Iterator[dict[str, Any]]:
    windows = _windows(access, campaign_id)
    gate = _gate_rows(access, campaign_id)
    seen: set[tuple[int, int]] = set()
    prefix = f"{campaign_id}/".encode()
    for record in read_topic(access.kafka, access.name(BATCH_RECIPIENTS)):
        if record.value is None or not (record.key or b"").startswith(prefix):
            continue
        part = BatchRecipients.decode(record.value)
        if (part.batch_number, part.start) in seen:  # written again by a planner that had crashed
            continue
        seen.add((part.batch_number, part.start))
        email, row = part.columns.index("email"), gate.get(part.batch_number, {})
        for i, cells in enumerate(part.rows, part.start):
            state, reason = fate(windows.get((part.batch_number, i), OPEN), i, row)
            yield _fate(str(cells[email]), state, part.batch_number, i, reason=reason)


def fate(letter: str, index: int, row: Mapping[str, Any]) -> tuple[str, str]:
    """State and reason of an index, from its letter in the journal and the gate's row of its batch. Pure."""
    if letter not in {ACCEPTED, SUPPRESSED}:
        if _within(index, row.get("dropped")):
            return "failed", str(row.get("error") or "given up with its chunk")
        if _within(index, row.get("cancelled")):
            return "cancelled", ""
        if _within(index, row.get("open")):
            return "waiting", ""
        if letter in {OPEN, DEFERRED} and _within(index, (row.get("permit") or {}).get("ranges")):
            return NAMES[INTENDED], "permitted; not yet on the wire"
    return NAMES[letter], "refused for now; it is tried again" if letter == DEFERRED else ""


def _within(index: int, ranges: Sequence[Sequence[int]] | None) -> bool:
    return any(start <= index < end for start, end in ranges or ())


def _gate_rows(access: Access, campaign_id: str) -> dict[int, dict[str, Any]]:
    prefix = f"batch:{campaign_id}/".encode()
    rows = access.newest(GATE_STATE, GateRow, lambda key: key.startswith(prefix))
    return {int(key.rpartition("/")[2]): row.row for key, row in rows.items()}


def _fate(email: str, state: str, batch_number: int, index: int, row: int = 0, reason: str = "") -> dict[str, Any]:
    return {"email": email, "state": state, "batch_number": batch_number, "index": index, "row": row, "reason": reason}


def _windows(access: Access, campaign_id: str) -> dict[tuple[int, int], str]:
    prefix = f"{campaign_id}/".encode()
    letters: dict[tuple[int, int], str] = {}
    for record in read_topic(access.kafka, access.name(SEND_JOURNAL)):
        if record.value is not None and (record.key or b"").startswith(prefix):
            letters.update(letters_of(record.key or b"", record.value))
    return letters


def letters_of(key: bytes, value: bytes) -> dict[tuple[int, int], str]:
    """By batch and index: the states that a row of the journal tells; none when it cannot be read. Pure."""
    try:
        if key.endswith(b"!"):  # a batch that has ended keeps its states here, and no windows
            permit = JournalPermit.decode(value)
            return {(permit.batch_number, i): span[2] for span in permit.spans for i in range(span[0], span[1])}
        if b"#" not in key:
            return {}
        entry = JournalEntry.decode(value)
    except ValidationError:
        log.warning("row %s of the journal cannot be read", key.decode(errors="replace"))
        return {}
    if f"{batch_id(entry.campaign_id, entry.batch_number)}#{entry.start}".encode() != key:
        return {}
    return {(entry.batch_number, i): letter for i, letter in enumerate(entry.states, entry.start)}


def _never_planned(access: Access, campaign_id: str) -> Iterator[dict[str, Any]]:
    seen: set[int] = set()
    for record in read_topic(access.kafka, access.name(INVALID_ROWS)):
        if record.value is None or record.key != campaign_id.encode():
            continue
        invalid = InvalidRow.decode(record.value)
        if invalid.row not in seen:
            seen.add(invalid.row)
            yield _fate(invalid.address, invalid.kind, 0, 0, invalid.row, invalid.reason)
