"""Why is nothing going out? One sentence a reason, from a campaign's progress. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from schemas.batch import HoldReason
from schemas.chunk import SendError
from schemas.progress import CampaignProgress
from schemas.words import counted

_ENDED = {
    "completed": "It is complete: nobody is waiting.",
    "cancelled": "It was cancelled: nothing more will be sent.",
    "rejected": "It was rejected before anything was planned.",
    "failed": "Its plan could not be made.",
}


_BLOCKING = frozenset({"relay_down", "domain_refused", "paused", "domain_paused"})
"""With one of these, what is permitted is a probe or waits like the rest."""


def clean(text: str) -> str:
    """`text` without control characters: what servers and people write must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else " " for c in text)


def length(span: timedelta) -> str:
    """A length of time for people: `2 d 3 h`, `5 min`, `40 s`."""
    seconds = int(max(span.total_seconds(), 0))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def explain(progress: CampaignProgress, now: datetime) -> list[str]:
    """Sentences that say why mail of this campaign is not going out, the first the most telling."""
    lines: list[str] = []
    if progress.state in _ENDED:
        why = clean(progress.cancel_reason or "").strip()
        lines.append(f"It was cancelled, nothing more will be sent: {why}" if why else _ENDED[progress.state])
        if progress.archived_at is not None:
            lines.append(f"It was archived at {progress.archived_at:%Y-%m-%d %H:%M} UTC: its recipients are gone.")
        lines += [f"{p.field}: {p.problem}" for p in progress.problems]
        if progress.state == "cancelled" and progress.in_flight:
            lines.append(_left(progress.in_flight))
    elif moving := _moving(progress):
        lines.append(
            f"It is going out: {counted(moving, 'message is', 'messages are')} permitted or on the wire right now."
        )
    elif not progress.holds:
        lines.append(
            "Recipients are still being read and planned." if progress.state == "planning"
            else "Nothing holds it; it is about to go on."
        )  # fmt: skip
    lines += _held(progress, now)
    if progress.failed:
        lines.append(_failed(progress))
    lines += [error_line(e) for e in progress.last_errors[-5:]]
    if progress.in_doubt:
        lines.append(_doubt(progress))
    if progress.awaited and progress.archived_at is None:
        lines.append(awaited(progress))
    return lines


def _moving(progress: CampaignProgress) -> int:
    """Messages that are going out, as far as is known: those in flight for which a sender answers."""
    if any(hold.reason in _BLOCKING for hold in progress.holds):
        return 0
    silent = [hold.figures.get("messages") for hold in progress.holds if hold.reason == "no_sender"]
    if any(not isinstance(n, int | float) for n in silent):
        return 0
    return max(0, progress.in_flight - sum(int(n) for n in silent if isinstance(n, int | float)))


def _left(in_flight: int) -> str:
    """Of a cancelled campaign: who was on the way."""
    who, it, them = (
        ("1 message is", "it waits", "it") if in_flight == 1 else (f"{in_flight} messages are", "they wait", "them")
    )
    return f"{who} still permitted or on the wire: {it} for a sender to say what became of {them}."


def _failed(progress: CampaignProgress) -> str:
    """How many have failed, and who of them can be tried again."""
    can = progress.archived_at is None and progress.state not in {"cancelled", "rejected", "failed"}
    dropped, others = progress.given_up, progress.failed - progress.given_up
    said = f"{counted(progress.failed, 'recipient')} failed"
    if dropped:
        said += f", {'all' if not others else dropped} of them given up by `resolve --drop` when in doubt"
    if can and others:
        them = ("the recipient" if others == 1 else "them") if not dropped else f"the other{'s' * (others > 1)}"
        said += f"; `rampa campaign retry {progress.campaign_id}` tries {them} again. "
        said += "Who was refused for good (5xx), or whose row is wrong, will most likely be refused again"
    return said + "."


def _held(progress: CampaignProgress, now: datetime) -> list[str]:
    """What holds it, and the command that ends a pause. Those in doubt have a sentence of their own; of what was
    cancelled nothing is held but what no sender answers for."""
    lines, name = [], progress.campaign_id
    for hold in progress.holds:
        if hold.reason == "in_doubt" and progress.in_doubt:
            continue
        if progress.state in {"cancelled", "rejected"} and hold.reason != "no_sender":
            continue
        line = sentence(hold, now)
        if hold.reason == "paused":
            line += f" `rampa campaign resume {name}` lets it go on."
        elif hold.reason == "domain_paused" and progress.sending_domain:
            line += f" `rampa domain resume {progress.sending_domain}` lets it go on."
        elif is_down(hold) and hold.figures["next_try_seconds"]:
            order = f"domain resume {progress.sending_domain}" if progress.sending_domain else f"campaign resume {name}"
            line += f" `rampa {order}` tries it now."
        lines.append(line)
    return lines


def is_down(hold: HoldReason) -> bool:
    """Whether a relay refuses us, or our domain, and is tried now and then: an order can make that now."""
    return hold.reason in {"relay_down", "domain_refused", "daily_quota"} and "next_try_seconds" in hold.figures


def awaited(progress: CampaignProgress) -> str:
    """Of whom in doubt more may be known soon, and why an order waits for that."""
    n = progress.awaited
    them = "that recipient" if n == 1 else "most of them"
    return (
        f"For {n} of those in doubt the record of the sender that began {'it' if n == 1 else 'them'} cannot be read "
        "yet: it hangs, or its machine is gone. End it before you order anything: its record then settles "
        f"{them} without you, and `--resend` before that may mail people twice who have their mail."
    )


def _doubt(progress: CampaignProgress) -> str:
    one = progress.in_doubt == 1
    text = f"{counted(progress.in_doubt, 'recipient is', 'recipients are')} in doubt: "
    if progress.resends:
        text += (
            f"{'it' if one else 'each'} was sent to twice, as `in_doubt` is `resend` (once more for each order to), "
            "and each time a process or connection died after the message was begun, so nobody knows whether the relay "
            f"took it. {'The recipient is' if one else 'They are'} not mailed again until that is known."
        )
    else:
        text += "a process or connection died after " + (
            "the message was begun and nobody knows whether the relay took it. The recipient is not mailed again until "
            if one else "their messages were begun and nobody knows whether the relay took them. They are not mailed "
            "again until "
        ) + "that is known."  # fmt: skip
    if progress.archived_at is not None:
        return text
    name, them = progress.campaign_id, "the recipient" if one else "them"
    again = "" if progress.state == "cancelled" else f", with `--resend` mails {them} again"
    return (
        f"{text} `rampa campaign recipients {name} --state in_doubt` lists {them}. "
        f"`rampa campaign resolve {name} --accepted` says that the relay did take {'it' if one else 'all of them'}, "
        f"with `--drop` instead counts {them} as failed{again}."
    )


def error_line(error: SendError) -> str:
    """One of the last errors."""
    return clean(f"{error.email or 'a whole batch'}: {error.error} ({counted(error.attempts, 'try', 'tries')})")


def sentence(hold: HoldReason, now: datetime) -> str:
    """One reason: what holds, the figures, and when it is looked at again."""
    figures = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in hold.figures.items() if not _said(hold, k))
    detail = hold.detail if hold.until is None else _OLD_WAIT.sub("", hold.detail)
    text = clean(detail.rstrip(".") + (f" ({figures})" if figures else ""))
    if hold.until is None or detail.endswith(_TRIED_NOW):
        return text if text.endswith("?") else text + "."
    wait = hold.until - now
    what = "The next try is" if hold.figures.get("next_try_seconds") else "It will be looked at again"
    when = f"in {length(wait)}" if wait > timedelta(0) else "now"
    return f"{text}. {what} {when}, at {hold.until:%Y-%m-%d %H:%M:%S} UTC."


_OLD_WAIT = re.compile(r"; the next try is in \d+ s$")
"""What a gate wrote into its words once: a figure of when it wrote them. How long it is still follows from `until`."""

_TRIED_NOW = "it is being tried now"
"""What a hold says last while one message finds out whether a relay takes mail again: nothing is due later."""

_OWN_WORDS = frozenset({"reserved", "attempts"})
"""Figures that no sentence says: the same number in it is another thing's."""


def _said(hold: HoldReason, name: str) -> bool:
    """Whether the sentence says this figure already, so that it need not stand behind it in brackets."""
    value = hold.figures[name]
    if value is None or (name == "next_try_seconds" and hold.until is not None):
        return True
    if isinstance(value, str):
        return value in hold.detail
    number = str(int(value)) if value == int(value) else str(value)
    there = re.search(rf"(?<![\w.]){re.escape(number)}(?!\w|\.\d)", hold.detail)
    return name not in _OWN_WORDS and there is not None
