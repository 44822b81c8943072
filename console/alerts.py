"""What an operator should look at: the topic `alerts`, read once or followed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

from console.access import Access
from console.explain import clean
from schemas.progress import CampaignProgress
from schemas.records import Alert
from schemas.topics import ALERTS
from streams.fenced.model import Input
from streams.table import TopicReader

log = logging.getLogger(__name__)


def alerts(access: Access, domain: str | None = None, *, follow: bool = False) -> Iterator[Alert]:
    """The alerts that are kept, of one sending domain or of all, oldest first; then those that come, without end,
    when `follow`."""
    reader = TopicReader(access.kafka, access.name(ALERTS))
    try:
        kept: list[Alert] = []
        while not reader.at_end:
            kept += _of(reader.read(0.2), domain)
        yield from sorted(kept, key=lambda alert: (alert.at, alert.resolved))
        while follow:
            yield from _of(reader.read(0.5), domain)
    finally:
        reader.close()


def still_open(found: Iterable[Alert], now: datetime) -> list[Alert]:
    """Those that are not over at `now`, of the installation's clock. Pure; `found` oldest first.

    A chunk or a batch that failed has happened; it is never open.
    """
    known: dict[str, Alert] = {}
    for alert in found:
        if alert.resolved:
            known.pop(alert.id, None)
        else:
            known[alert.id] = alert
    return [alert for alert in known.values() if alert.kind in LASTING or _of_today(alert, now)]


def as_of_now(found: Iterable[Alert], progress: Iterable[CampaignProgress]) -> list[Alert]:
    """The alerts `found`; those of a relay that is down, or refuses a domain, with what it says by now, when that is
    not what it said first: an alert is written once for each time that it does. Pure."""
    newest: dict[tuple[str, str], CampaignProgress] = {}
    for one in progress:
        for kind, name in (("relay_down", one.relay), ("domain_refused", one.sending_domain)):
            known = newest.get((kind, name))
            if _error_of(one, kind) and (known is None or one.updated_at > known.updated_at):
                newest[kind, name] = one
    return [_with_newest(alert, newest.get((alert.kind, _refused(alert)))) for alert in found]


SAID = frozenset({"relay_down", "domain_refused"})
"""Kinds of alerts, and reasons of holds, that repeat what a relay says."""


def _refused(alert: Alert) -> str:
    return alert.sending_domain if alert.kind == "domain_refused" else alert.relay or ""


def _error_of(progress: CampaignProgress, kind: str) -> str:
    """What the campaign's relay says that is down, or refuses its domain."""
    holds = [hold for hold in progress.holds if hold.reason == kind]
    return str(holds[0].figures.get("error") or "") if holds else ""


def _with_newest(alert: Alert, progress: CampaignProgress | None) -> Alert:
    if alert.kind not in SAID or alert.resolved or progress is None or progress.updated_at < alert.at:
        return alert
    error = _error_of(progress, alert.kind)
    if error == alert.figures.get("error"):
        return alert
    detail = f"{alert.detail}; by now it says: {error}"
    return alert.model_copy(update={"detail": detail, "figures": {**alert.figures, "error_now": error}})


LASTING = frozenset({"relay_down", "domain_refused", "no_sender", "in_doubt"})
"""Kinds that are resolved when they are over."""


def _of_today(alert: Alert, now: datetime) -> bool:
    """Whether it tells of a quota of a UTC day that has not ended: nothing is written when that day is over."""
    if alert.kind != "daily_quota":
        return False
    try:
        day = date.fromisoformat(str(alert.figures.get("day")))
    except ValueError:
        day = alert.at.astimezone(UTC).date()
    return now.astimezone(UTC).date() <= day


def line(alert: Alert) -> str:
    """One alert for people."""
    word = "resolved" if alert.resolved else alert.severity
    return clean(f"{alert.at:%Y-%m-%d %H:%M:%S}  {word:8}  {alert.sending_domain}  {alert.kind}: {alert.detail}")


def _of(records: Iterable[Input], domain: str | None) -> Iterator[Alert]:
    for record in records:
        try:
            alert = Alert.decode(record.value or b"")
        except ValueError:
            log.warning("%s[%d]@%d is left out: it is no alert", record.topic, record.partition, record.offset)
            continue
        if domain is None or alert.sending_domain == domain:
            yield alert
