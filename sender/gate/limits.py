"""What an account says of itself, followed: its rate, its quota of the last 24 hours, whether it may send. Pure.

A sender reads the account now and then and reports it (`RelayAccount`). The gate takes the lower of what the settings
say and what the account says. Between two readings it counts on: what was sent before the later one is in it.
Times are Unix seconds of real time: an account's day does not follow the installation's clock.
"""

from __future__ import annotations

import math
from datetime import timedelta

from schemas.batch import HoldReason
from schemas.records import RelayAccount
from sender.gate import holds
from sender.gate.account import Account
from sender.gate.decision import Turn
from sender.gate.rows import RelayRow

DAY_SECONDS = 86_400.0
"""The quota is one of 24 hours: of those that an older reading counts, none is among them any more."""
REFUSAL_SECONDS = 3600.0
"""A refusal that nobody has read again for so long is no reason to wait: trying tells."""


def take_account(turn: Turn, given: RelayAccount) -> None:
    """A reading of a relay's account; one that is not newer than the last changes nothing.

    None is from the future: a sender whose clock is fast read it now at the latest, and does not silence the others.
    """
    relay = turn.tables.relay(given.relay)
    read_real = min(given.read_real, turn.real)
    if relay.account is not None and read_real <= relay.account.read_real <= turn.real:
        return
    relay.account = Account(
        read_real=read_real, again_seconds=max(1.0, given.again_seconds), rate=given.rate, quota=given.quota,
        sent=given.sent, refusal=given.refusal,
    )  # fmt: skip
    turn.changed(relay)
    turn.freed(relay)
    for campaign_id in sorted({*relay.short, *(name for _, name in relay.queue)}):
        turn.fresh(turn.tables.campaigns[campaign_id])
    relay.short.clear()


def refusal(relay: RelayRow, real: float) -> str | None:
    """Why the account cannot send at all, as far as that is known; None: it can."""
    account = relay.account
    fresh = account is not None and real - account.read_real < REFUSAL_SECONDS
    return account.refusal if account is not None and fresh else None


def left(relay: RelayRow, real: float) -> int | None:
    """Messages that the account's quota still allows, those of open permits taken off; None: any number.

    What was sent before the last reading and reported after it counts twice, until the next one.
    """
    account = relay.account
    if account is None or account.quota is None or real - account.read_real >= DAY_SECONDS:
        return None
    return account.quota - account.sent - account.begun - relay.reserved


def used_up(relay: RelayRow, real: float) -> bool:
    """Whether all of the account's quota has been sent."""
    rest = left(relay, real)
    return rest is not None and rest + relay.reserved <= 0


def quota_hold(turn: Turn, relay: RelayRow) -> HoldReason:
    """The account's quota is used up."""
    account = relay.account
    assert account is not None and account.quota is not None  # noqa: S101, PT018 - asked only then
    used = account.sent + account.begun + relay.reserved
    return holds.account_quota(relay, used, account.quota, turn.now + _until_next(turn, account))


def refusal_hold(turn: Turn, relay: RelayRow) -> HoldReason | None:
    """The account cannot send: until it was read again."""
    why = refusal(relay, turn.real)
    if why is None or relay.account is None:
        return None
    turn.tables.wake_real(_next_reading(relay.account, turn.real), "relay", relay.name)
    return holds.account_refuses(relay, why, turn.now + _until_next(turn, relay.account))


def _next_reading(account: Account, real: float) -> float:
    """When the next reading should be there; in steps, so that it stays the same while it is not."""
    steps = math.floor(max(0.0, real - account.read_real) / account.again_seconds) + 1
    return account.read_real + steps * account.again_seconds + 1.0


def _until_next(turn: Turn, account: Account) -> timedelta:
    return timedelta(seconds=(_next_reading(account, turn.real) - turn.real) * turn.tables.speed)
