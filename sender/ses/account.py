"""What an SES account allows at the moment. Pure.

Source: `GetAccount` in the API reference of SES v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """Of one account in one region. Quota and rate count recipients, not calls."""

    per_second: float | None
    """Messages a second; None: not said."""
    per_day: float | None
    """Messages in any 24 hours; None: no limit, or not said."""
    sent_last_day: float
    """Messages in the last 24 hours, by whatever program."""
    sending: bool = True
    """False: paused by its owner or by Amazon."""
    production: bool = True
    """False: in the sandbox, where only verified addresses can be mailed."""
    status: str = "HEALTHY"
    """HEALTHY, PROBATION or SHUTDOWN."""

    @property
    def left_today(self) -> float | None:
        """What may still be sent in these 24 hours; None: no limit."""
        return None if self.per_day is None else max(0.0, self.per_day - self.sent_last_day)

    @property
    def words(self) -> str:
        """The limits in a line, for people."""
        rate = "no rate" if self.per_second is None else f"{self.per_second:g} messages a second"
        day = "any number" if self.per_day is None else f"{self.sent_last_day:.0f} of {self.per_day:.0f}"
        where = "" if self.production else "; in the sandbox: only verified addresses can be mailed"
        return f"{rate}, {day} in 24 hours are used, {self.status}{where}"

    @property
    def refusal(self) -> str:
        """Why the account cannot send at all; empty when it can."""
        if self.status == "SHUTDOWN":
            return "Amazon has shut the account's sending down; see the SES console, Account dashboard"
        return "" if self.sending else "sending is paused for this account in this region; resume it in the SES console"


def limits_of(answer: Mapping[str, Any]) -> AccountLimits:
    """The limits that an answer of GetAccount tells."""
    quota = answer.get("SendQuota") or {}
    per_day, per_second = quota.get("Max24HourSend"), quota.get("MaxSendRate")
    return AccountLimits(
        per_second=per_second if per_second is not None and per_second >= 0 else None,
        per_day=per_day if per_day is not None and per_day >= 0 else None,  # -1: unlimited
        sent_last_day=quota.get("SentLast24Hours") or 0.0,
        sending=answer.get("SendingEnabled", True),
        production=answer.get("ProductionAccessEnabled", True),
        status=answer.get("EnforcementStatus") or "HEALTHY",
    )
