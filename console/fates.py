"""Where each recipient of a campaign is: read from the topics that know it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.access import Access
from schemas.batch import BatchRecipients
from schemas.identity import batch_id
from schemas.journal import ACCEPTED, FAILED, IN_DOUBT, INTENDED, OPEN, SUPPRESSED, JournalEntry, JournalPermit
from schemas.records import InvalidRow
from schemas.topics import BATCH_RECIPIENTS, INVALID_ROWS, SEND_JOURNAL
from streams.table import read_topic

NAMES = {
    OPEN: "waiting", INTENDED: "in_flight", ACCEPTED: "accepted", FAILED: "failed", IN_DOUBT: "in_doubt",
    SUPPRESSED: "suppressed",
}  # fmt: skip
STATES = (*NAMES.values(), "cancelled", "invalid", "duplicate")


def fates(access: Access, campaign_id: str, *, cancelled: bool) -> Iterator[dict[str, Any]]:
    """One mapping a recipient: email, state, batch_number, index, row (of those never planned), reason."""
    windows = _windows(access, campaign_id)
    seen: set[tuple[int, int]] = set()
    prefix = f"{campaign_id}/".encode()
    for record in read_topic(access.kafka, access.name(BATCH_RECIPIENTS)):
        if record.value is None or not (record.key or b"").startswith(prefix):
            continue
        part = BatchRecipients.decode(record.value)
        if (part.batch_number, part.start) in seen:  # written again by a planner that had crashed
            continue
        seen.add((part.batch_number, part.start))
        email = part.columns.index("email")
        for i, row in enumerate(part.rows, part.start):
            letter = windows.get((part.batch_number, i), OPEN)
            state = "cancelled" if letter == OPEN and cancelled else NAMES[letter]
            yield _fate(str(row[email]), state, part.batch_number, i)
    yield from _never_planned(access, campaign_id)


def _fate(email: str, state: str, batch_number: int, index: int, row: int = 0, reason: str = "") -> dict[str, Any]:
    return {"email": email, "state": state, "batch_number": batch_number, "index": index, "row": row, "reason": reason}


def _windows(access: Access, campaign_id: str) -> dict[tuple[int, int], str]:
    prefix = f"{campaign_id}/"
    letters: dict[tuple[int, int], str] = {}
    for record in read_topic(access.kafka, access.name(SEND_JOURNAL)):
        key = (record.key or b"").decode()
        if not key.startswith(prefix) or record.value is None:
            continue
        if key.endswith("!"):  # a batch that has ended keeps its states here, and no windows
            permit = JournalPermit.decode(record.value)
            for start, end, letter, *_ in permit.spans:
                letters.update(((permit.batch_number, i), letter) for i in range(start, end))
            continue
        if "#" not in key:
            continue
        entry = JournalEntry.decode(record.value)
        if batch_id(entry.campaign_id, entry.batch_number) + f"#{entry.start}" != key:
            continue
        for i, letter in enumerate(entry.states, entry.start):
            letters[entry.batch_number, i] = letter
    return letters


def _never_planned(access: Access, campaign_id: str) -> Iterator[dict[str, Any]]:
    seen: set[int] = set()
    for record in read_topic(access.kafka, access.name(INVALID_ROWS)):
        if record.value is None or record.key != campaign_id.encode():
            continue
        invalid = InvalidRow.decode(record.value)
        if invalid.row not in seen:
            seen.add(invalid.row)
            yield _fate(invalid.address, invalid.kind, 0, 0, invalid.row, invalid.reason)
