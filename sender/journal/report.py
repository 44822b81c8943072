"""What the owner of a batch answers: `ChunkResult` from its journal. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from schemas.batch import Range
from schemas.chunk import Chunk, ChunkResult
from schemas.journal import ACCEPTED, FAILED, IN_DOUBT, OPEN, SUPPRESSED, WINDOW
from sender.journal.values import BatchJournal, merged

Stopped = Literal[
    "done", "expired", "paused", "cancelled", "relay_down", "throttled", "error", "unready", "shutdown",
]  # fmt: skip
MAX_WORDS = 1000
"""Characters of a server's words, or ours, in a report."""


def finished(
    journal: BatchJournal, now: datetime, stopped: Stopped, detail: str | None = None
) -> tuple[BatchJournal, ChunkResult]:
    """The permit's final result, and the journal that will give it again when asked."""
    permit, chunk = journal.permit, journal.permit.chunk
    if chunk is None:
        raise ValueError(f"{journal.campaign_id}/{journal.batch_number} has no permit to end")
    result = _result(journal, chunk, now).model_copy(
        update={
            "final": True,
            "unsent": unsent(journal, chunk),
            "open": _open(journal),
            "stopped": stopped,
            "detail": clipped(detail or "") or None,
        }
    )
    return replace(journal, permit=replace(permit, result=result), version=result.version), result


def reported(journal: BatchJournal, now: datetime) -> tuple[BatchJournal, ChunkResult]:
    """How far the batch is; after the permit's end its final result with the present totals."""
    permit, chunk = journal.permit, journal.permit.chunk
    if permit.result is not None:
        update = {**_totals(journal), "open": _open(journal), "version": journal.version + 1, "at": now}
        result = permit.result.model_copy(update=update)
        return replace(journal, permit=replace(permit, result=result), version=result.version), result
    if chunk is None:
        raise ValueError(f"{journal.campaign_id}/{journal.batch_number} has no permit to report on")
    result = _result(journal, chunk, now)
    return replace(journal, version=result.version), result


def clipped(words: str) -> str:
    """`words`, cut to what a report carries of one error: its record must fit whatever a server says."""
    return words if len(words) <= MAX_WORDS else words[:MAX_WORDS] + "…"


def answer_older(journal: BatchJournal, chunk: Chunk, now: datetime) -> tuple[BatchJournal, ChunkResult]:
    """To a permit that is older than the newest: nothing is begun under it."""
    result = _result(journal, chunk, now).model_copy(
        update={
            "begun": 0, "sent_on": {}, "throttled": 0, "errors": (), "final": True, "stopped": "done",
            "unsent": unsent(journal, chunk), "detail": f"a newer permit, {journal.permit.permit_id}, was taken before",
        }
    )  # fmt: skip
    return replace(journal, version=result.version), result


def unsent(journal: BatchJournal, chunk: Chunk) -> tuple[Range, ...]:
    """The indices of a permit that are open and not begun in its round."""
    states, wanted = journal.states(), sorted({i for start, end in chunk.ranges for i in range(start, end)})
    return merged(i for i in wanted if 0 <= i < journal.size and states[i] == OPEN and _round(journal, i) < chunk.round)


def _open(journal: BatchJournal) -> tuple[Range, ...]:
    """Who is not settled: also one of an earlier permit who came to be open again after its end."""
    return merged(i for i, letter in enumerate(journal.states()) if letter == OPEN)


def _round(journal: BatchJournal, index: int) -> int:
    window = journal.windows.get(index - index % WINDOW)
    return -1 if window is None else window.rounds[index - window.start]


def _totals(journal: BatchJournal) -> dict[str, object]:
    states = journal.states()
    return {
        "accepted": states.count(ACCEPTED),
        "suppressed": states.count(SUPPRESSED),
        "failed": merged(i for i, letter in enumerate(states) if letter == FAILED),
        "in_doubt": merged(i for i, letter in enumerate(states) if letter == IN_DOUBT),
    }


def _result(journal: BatchJournal, chunk: Chunk, now: datetime) -> ChunkResult:
    permit = journal.permit
    return ChunkResult(
        relay=chunk.relay,
        campaign_id=journal.campaign_id,
        batch_number=journal.batch_number,
        permit_id=chunk.permit_id,
        round=chunk.round,
        version=journal.version + 1,
        final=False,
        begun=permit.begun,
        sent_on=dict(permit.sent_on),
        throttled=permit.throttled,
        errors=permit.errors,
        at=now,
        **_totals(journal),
    )
