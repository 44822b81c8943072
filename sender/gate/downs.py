"""What is refused as a whole, a relay, or one sending domain at its relay: found down, tried, found to work. Pure.

Both are led alike: whatever ends with that refusal puts its batches back, and one message at a time (a *probe*) finds
out whether mail is taken again. A relay that is down stops all of its domains; a domain that is refused itself alone.
"""

from __future__ import annotations

import re

from schemas.chunk import ChunkResult
from sender.gate.decision import Turn
from sender.gate.rows import DomainRow, Down, Permit, RelayRow

MAX_BACKOFF = 60.0
"""Real seconds between two tries of what cannot be reached."""
REFUSED_BACKOFF = 900.0
"""... of what refuses us until somebody does something: who tries too often is locked out, or listed for longer."""
UNKNOWN_SECONDS = 1.0
"""... after a probe that has shown nothing."""

_REASON = re.compile(r"(?P<reason>[a-z]+): (?:(?P<code>[0-9]{3}) )?")
_FOR_GOOD = frozenset({"auth", "tls", "settings"})
_BEFORE_MAIL = frozenset({"address", "connect", "tls", "greeting", "auth", "busy", "settings"})
_COSTS = "network: "
"""The relay replies to no message."""


def judge(turn: Turn, relay: RelayRow, domain: DomainRow, permit: Permit, result: ChunkResult) -> None:
    """What the end of a permit shows of its relay and its sending domain.

    A refusal of the domain shows that the relay is there and lets us in; of what it refused later than that, nothing.
    """
    probed = [row for row in (relay, domain) if row.down is not None and row.down.probe == permit.id]
    if result.stopped == "relay_down":
        refused: RelayRow | DomainRow = domain if result.refused == "domain" else relay
        _fails(turn, refused, permit, result.detail or "no reason given")
        if relay.down is not None and (relay in probed or not relay.down.tried):
            relay.down.tried = [*(name for name in relay.down.tried if name != domain.name), domain.name]
        for row in probed:
            if row is relay and refused is domain and row.down is not None and _lets_us_in(row.down.error):
                _works(turn, row)
            elif row is not refused:
                _unknown(turn, row)
    elif result.begun and result.stopped == "done":
        for row in probed:
            _works(turn, row)
    else:  # it was ended otherwise
        for row in probed:
            _unknown(turn, row)


def try_now(turn: Turn, row: RelayRow | DomainRow) -> None:
    """What is down may have been repaired: its next probe goes out now. What that one finds out decides; when it is
    refused too, the next wait is as long as it would have been."""
    if row.down is None or row.down.probe is not None:
        return
    row.down.next_real = turn.real
    _look(turn, row)


def refuses_for_good(error: str) -> bool:
    """Whether waiting is no remedy: credentials, certificate, settings, or a reply 5xx to everything. A reply 4xx is
    for now, to AUTH and STARTTLS too (454: RFC 4954, 6; RFC 3207, 4).

    `error` is what `RelayDown` says: a reason, the server's code if it said one, its words.
    """
    said = _REASON.match(error)
    code = said["code"] or "" if said is not None else ""
    return said is not None and not code.startswith("4") and (said["reason"] in _FOR_GOOD or code.startswith("5"))


def costs_somebody(error: str) -> bool:
    """Whether each try leaves somebody in doubt: this is told at once, and tried seldom."""
    return error.startswith(_COSTS)


def is_quota(error: str) -> bool:
    """Whether it is the account's quota that is used up, by what its server says."""
    said = _REASON.match(error)
    return said is not None and said["reason"] == "quota"


def _lets_us_in(error: str) -> bool:
    """Whether a relay that was down with this `error` works once it replies to MAIL."""
    said = _REASON.match(error)
    return said is not None and said["reason"] in _BEFORE_MAIL


def _fails(turn: Turn, row: RelayRow | DomainRow, permit: Permit, error: str) -> None:
    """Nobody can be mailed: it is tried again after 1, 2, 4 ... 60 s of real time, or up to 15 min."""
    down = row.down
    if down is None:
        row.down = Down(since=turn.now, error=error, attempts=1, next_real=turn.real + 1.0, since_real=turn.real)
    elif down.probe == permit.id:
        down.attempts += 1
        down.error, down.probe = error, None
        seldom = refuses_for_good(error) or is_quota(error) or costs_somebody(error)
        most = REFUSED_BACKOFF if seldom else MAX_BACKOFF
        down.next_real = turn.real + min(most, 2.0 ** min(10, down.attempts - 1))
    else:
        down.error = error
        return
    _look(turn, row)


def _unknown(turn: Turn, row: RelayRow | DomainRow) -> None:
    """Its probe has shown nothing: another one does, soon."""
    if row.down is not None:
        row.down.probe, row.down.next_real = None, turn.real + UNKNOWN_SECONDS
        _look(turn, row)


def _works(turn: Turn, row: RelayRow | DomainRow) -> None:
    row.down = None
    _look(turn, row)


def _look(turn: Turn, row: RelayRow | DomainRow) -> None:
    """Whoever waits for it is looked at, now and when it is to be tried."""
    if row.down is not None and row.down.next_real > turn.real:
        turn.tables.wake_real(row.down.next_real, "domain" if isinstance(row, DomainRow) else "relay", row.name)
    turn.changed(row)
    if isinstance(row, RelayRow):
        turn.freed(row)
    turn.news_of(row)
