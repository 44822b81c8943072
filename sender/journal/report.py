"""What the owner of a batch answers: `ChunkResult` from its journal. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from schemas.batch import PutOff, Range
from schemas.chunk import Chunk, ChunkResult
from schemas.journal import ACCEPTED, DEFERRED, FAILED, IN_DOUBT, OPEN, SUPPRESSED
from sender.journal.values import BatchJournal, Window, merged, pieces

Stopped = Literal[
    "done", "expired", "paused", "cancelled", "relay_down", "domain_refused", "throttled", "error", "unready",
    "shutdown",
]  # fmt: skip
"""`domain_refused`: the relay refuses what is from the permit's sending domain. A report says that as `relay_down` with
`refused`, which a gate of an older release takes for the whole relay."""
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
            "stopped": "relay_down" if stopped == "domain_refused" else stopped,
            "refused": "domain" if stopped == "domain_refused" else "relay",
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
    """`words`, cut to what a report carries of one error, and as UTF-8 can be written: whatever a server says, there
    must be a record of it."""
    words = words if len(words) <= MAX_WORDS else words[:MAX_WORDS] + "…"
    return words.encode(errors="replace").decode()


def answer_older(journal: BatchJournal, chunk: Chunk, now: datetime) -> tuple[BatchJournal, ChunkResult]:
    """To a permit that is older than the newest: nothing is begun under it."""
    result = _result(journal, chunk, now).model_copy(
        update={
            "begun": 0, "sent_on": {}, "throttled": 0, "errors": (), "deferral": None, "final": True, "stopped": "done",
            "unsent": unsent(journal, chunk), "detail": f"a newer permit, {journal.permit.permit_id}, was taken before",
        }
    )  # fmt: skip
    return replace(journal, version=result.version), result


def unsent(journal: BatchJournal, chunk: Chunk) -> tuple[Range, ...]:
    """The indices that the permit allows to begin and that were not begun under it."""
    inside = [(max(0, start), min(journal.size, end)) for start, end in chunk.ranges]
    return merged(
        sorted({
            start + i
            for start, low, high in pieces(inside)
            for i in may_go(journal.windows.get(start) or journal.window(start, chunk.issued_at), low, high, chunk)
        })
    )  # fmt: skip


def _open(journal: BatchJournal) -> tuple[Range, ...]:
    """Who is not settled: also one of an earlier permit who came to be open again after its end."""
    return merged(i for i, letter in enumerate(journal.states()) if letter == OPEN)


def may_go(window: Window, low: int, high: int, chunk: Chunk) -> list[int]:
    """The offsets from `low` to `high` in a window that a permit allows to begin.

    Who is open and was not begun in its round; and who was deferred in its round as often as it says, or less often.
    """
    states, round_ = window.states, chunk.round
    found = [i for i in range(low, high) if states[i] == OPEN and window.rounds[i] < round_] if OPEN in states else []
    if not chunk.deferrals or DEFERRED not in states:
        return found
    found += [
        i for i in range(low, high)
        if states[i] == DEFERRED and window.rounds[i] == round_ and window.deferred(i) <= chunk.deferrals
    ]  # fmt: skip
    return sorted(found)


def put_off(journal: BatchJournal) -> tuple[PutOff, ...]:
    """Who is deferred, and how often by now."""
    out: list[PutOff] = []
    for start, window in sorted(journal.windows.items()):
        if DEFERRED not in window.states:
            continue
        for i, letter in enumerate(window.states):
            if letter != DEFERRED:
                continue
            index, times = start + i, window.deferred(i)
            if out and out[-1][1:] == (index, times):
                out[-1] = out[-1][0], index + 1, times
            else:
                out.append((index, index + 1, times))
    return tuple(out)


def _totals(journal: BatchJournal) -> dict[str, object]:
    states = journal.states()
    return {
        "accepted": states.count(ACCEPTED),
        "suppressed": states.count(SUPPRESSED),
        "failed": merged(i for i, letter in enumerate(states) if letter == FAILED),
        "in_doubt": merged(i for i, letter in enumerate(states) if letter == IN_DOUBT),
        "deferred": put_off(journal) if DEFERRED in states else (),
        "awaited": sum(len(found) for w in journal.windows.values() if w.unread for found in w.unread.values()),
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
        deferral=permit.deferral,
        at=now,
        **_totals(journal),
    )
