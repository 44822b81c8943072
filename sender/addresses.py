"""Addresses of recipients whom nobody is sending to: for events, and for orders about an address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from schemas.chunk import Chunk
from sender.recipients import RecipientsError, RecipientsLate

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds until it is tried again, and twice as many each time, up to:"""
LONGEST = 30.0
"""A fetch that is given up has kept all others waiting for ten seconds."""
TRIES = 3
"""How often it may fail for a reason that nobody has foreseen."""

Row = Callable[[Chunk, int], Awaitable[Mapping[str, Any]]]


async def addresses(row: Row, chunk: Chunk, indices: Sequence[int]) -> dict[int, str]:
    """By index; "" for whoever cannot be had any more. Waits as long as the broker does not give them."""
    found: dict[int, str] = {}
    for index in indices:
        if index in found:
            continue
        email = await _address(row, chunk, index)
        if email is None:
            found.update(dict.fromkeys(_beside(chunk, index).intersection(indices) - found.keys(), ""))
        found[index] = email or ""
    return found


async def _address(row: Row, chunk: Chunk, index: int) -> str | None:
    """None: it cannot be had."""
    failures, pause = 0, PAUSE
    while failures < TRIES:
        try:
            return str((await row(chunk, index)).get("email") or "")
        except RecipientsLate as e:
            log.warning("an address for an event is waited for: %s", e)
        except RecipientsError as e:
            log.warning("an address for an event is missing: %s", e)
            return None
        except Exception:
            log.exception("the address of index %d of %s/%d", index, chunk.campaign_id, chunk.batch_number)
            failures += 1
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST)
    return None


def _beside(chunk: Chunk, index: int) -> set[int]:
    """Whose rows are in the same record."""
    parts = (range(p.start, p.start + p.count) for p in chunk.pointers)
    return {i for part in parts if index in part for i in part}
