"""Campaigns one after the other, so that there is something to send for as long as a test needs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from supervised import Supervised

from schemas.progress import CampaignProgress


@dataclass(frozen=True, slots=True)
class Flood:
    """A campaign of the run."""

    campaign_id: str
    people: int
    in_doubt: str = "hold"


class Floods:
    """So many campaigns at once. `in_doubt`: of each in turn."""

    def __init__(
        self, stage: Supervised, name: str, people: int, *, at_once: int = 2, in_doubt: Iterable[str] = ("hold",)
    ) -> None:
        self.stage = stage
        self.sent: list[Flood] = []
        self._name = name
        self._people = people
        self._at_once = at_once
        self._in_doubt = itertools.cycle(in_doubt)

    @property
    def open(self) -> list[Flood]:
        """Those that have not ended."""
        return [f for f in self.sent if not self._has_ended(f)]

    def keep(self) -> None:
        """Submit what is missing."""
        while len(self.open) < self._at_once:
            f = Flood(f"{self._name}{len(self.sent)}", self._people, next(self._in_doubt))
            self.sent.append(f)
            self.stage.flood(f.campaign_id, f.people, in_doubt=f.in_doubt)

    def taken(self) -> int:
        """How many of their messages the provider has taken."""
        return sum(self.stage.of(f.campaign_id) for f in self.sent)

    def finish(self, seconds: float) -> list[CampaignProgress]:
        """Wait until all have ended."""
        return [self.stage.wait(f.campaign_id, "completed", timeout=seconds) for f in self.sent]

    def _has_ended(self, f: Flood) -> bool:
        found = self.stage.progress(f.campaign_id)
        return found is not None and found.state == "completed"
