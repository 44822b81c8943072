"""The rate of a relay: its limit, lowered by throttling, given out to permits. Pure; real time in Unix seconds."""

from __future__ import annotations

from dataclasses import replace
from math import fsum

from sender.gate.account import Account
from sender.gate.rows import CampaignRow, Permit, RelayRow
from sender.gate.settings import RelayLimits

FLOOR = 1 / 60
"""Messages a second: throttling never goes below one a minute."""
RECOVERY = 1.1
RECOVERY_SECONDS = 60.0
MAX_CEILING = 1e6


def followed(settings: RelayLimits, account: Account | None) -> RelayLimits:
    """The limits of the settings as the account lets them stand."""
    if account is None or account.rate is None:
        return settings
    rate = max(FLOOR, account.rate)
    if settings.rate is not None and not settings.rate_from_account:
        rate = min(rate, settings.rate)
    return replace(settings, rate=rate)


def current(relay: RelayRow, limit: float | None, real: float) -> float | None:
    """What all permits together may have now; None: no limit. Recovers by a tenth each minute."""
    if relay.rate_now is None:
        return limit
    ceiling = min(x for x in (limit, relay.ceiling, MAX_CEILING) if x is not None)
    recovered = relay.rate_now * RECOVERY ** min(1000, max(0, int((real - relay.rate_real) / RECOVERY_SECONDS)))
    return limit if recovered >= ceiling else recovered


def throttle(relay: RelayRow, limit: float | None, permit: Permit, begun: int, real: float) -> bool:
    """The relay asked for less: half of the present rate. Whether it was lowered.

    Without a limit the present rate is what the permit has sent so far. Replies to permits that were given out
    before the last lowering are not taken for another.
    """
    if permit.issued_real < relay.throttled_real:
        return False
    base = current(relay, limit, real)
    if base is None:
        base = max(1, begun) / max(1.0, real - permit.issued_real)
        relay.ceiling = max(relay.ceiling or 0.0, 2 * base)
    elif limit is not None:
        relay.ceiling = limit
    relay.rate_now = max(FLOOR, base / 2)
    relay.rate_real = relay.throttled_real = real
    return True


def in_use(row: RelayRow | CampaignRow, real: float) -> float:
    """The rate that open permits, and those that ended early, hold: the same sum in whatever order they are known."""
    held = [rate for until, rate in row.tails if until > real]
    return fsum([*held, *(b.permit.rate for b in row.permits.values() if b.permit and b.permit.rate is not None)])


def keep_tail(row: RelayRow | CampaignRow, permit: Permit, begun: int, real: float) -> float | None:
    """A permit ended; what it began still holds its rate for as long as it should have taken.

    Without this many small permits one after the other would go faster than the rate. Returns when it ends.
    """
    row.tails = [t for t in row.tails if t[0] > real]
    if permit.rate is None:
        return None
    end = permit.issued_real + begun / permit.rate
    if end <= real:
        return None
    row.tails.append((end, permit.rate))
    return end


def next_release(row: RelayRow | CampaignRow, real: float) -> float | None:
    """When the next of these tails ends."""
    return min((until for until, _ in row.tails if until > real), default=None)
