"""Permits of which nobody says anything: since when, and whether the gate has listened all that time.

Silence counts only while the gate listens. One that was away, suspended or without its broker has missed what senders
said meanwhile: it counts from the time at which it was there again, unless it had told of the silence before.
"""

from __future__ import annotations

from sender.gate.rows import BatchRow, Permit, RelayRow
from sender.gate.tables import Tables


def listen(tables: Tables, real: float) -> None:
    """The gate is at work at `real`. With permits open that is so at least every `repeat_after`, for it repeats them:
    a longer break means that it was away."""
    last = tables.listened_real
    if last is None or real - last > tables.settings.silent_after:
        tables.listening_since = real
    tables.listened_real = real


def unheard(tables: Tables, permit: Permit, real: float) -> float:
    """For how many seconds nothing has been heard of it."""
    known = tables.relay(permit.relay).silent_alert is not None
    return real - (_heard(permit) if known else max(_heard(permit), tables.listening_since))


def is_silent(tables: Tables, permit: Permit, real: float) -> bool:
    """Nobody has answered it for `silent_after` seconds, or it was begun and nothing more was heard of it for
    `lost_after`."""
    return unheard(tables, permit, real) >= _patience(tables, permit)


def is_lost(tables: Tables, permit: Permit, real: float) -> bool:
    """Nothing has been heard of it for `lost_after` seconds, longer than any hand-over to another sender takes."""
    return unheard(tables, permit, real) >= tables.settings.lost_after


def unanswered(tables: Tables, relay: RelayRow, real: float) -> list[BatchRow]:
    """Batches whose permits are silent by what was heard of them, whether the gate listened or not."""
    return [
        b for b in relay.permits.values()
        if b.permit is not None and real - _heard(b.permit) >= _patience(tables, b.permit)
    ]  # fmt: skip


def _heard(permit: Permit) -> float:
    return permit.issued_real if permit.heard_real is None else permit.heard_real


def _patience(tables: Tables, permit: Permit) -> float:
    return tables.settings.silent_after if permit.heard_real is None else tables.settings.lost_after
