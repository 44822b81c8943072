"""Recipients that stand in the request itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.errors import SourceChanged, SourceError
from planner.recipients.base import Broken, Row
from planner.recipients.tables import Objects
from schemas.campaign import SourceFingerprint


class InlineSource:
    """Rows of a request."""

    def __init__(self, inline: Sequence[Mapping[str, Any]]) -> None:
        self._inline = inline

    def fingerprint(self) -> SourceFingerprint:
        """How many there are; the request's hash guards their content. Raises `SourceError` when none."""
        if not self._inline:
            raise SourceError("the list is empty; put in one object for each recipient, each with `email`")
        return SourceFingerprint(kind="inline", size=len(self._inline), changed="")

    def rows(self, expected: SourceFingerprint | None = None) -> Iterator[Row | Broken]:
        """See `planner.recipients.base.Source`."""
        if expected is not None and expected != self.fingerprint():
            raise SourceChanged(f"{expected.size} rows were planned, the request has {len(self._inline)}")
        objects = Objects("recipients.inline")
        for number, value in enumerate(self._inline, 1):
            yield from objects.row(number, dict(value))
        yield from objects.end()
