"""What an operator should look at: the topic `alerts`, read once or followed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from console.access import Access
from console.explain import clean
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


def still_open(found: Iterable[Alert]) -> list[Alert]:
    """Those of relays and campaigns that are not over. Pure; `found` oldest first."""
    known: dict[str, Alert] = {}
    for alert in found:
        if alert.resolved:
            known.pop(alert.id, None)
        else:
            known[alert.id] = alert
    return [alert for alert in known.values() if alert.kind in LASTING]


LASTING = frozenset({"relay_down", "in_doubt"})
"""Kinds that are resolved when they are over; the others tell of a moment."""


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
