"""What can go wrong while a campaign is planned.

    PlannerError
    +-- ProblemsFound        a request cannot be done; carries every problem, named by field
    +-- AddressError         an address cannot be mailed; carries the reason
    `-- SourceError          recipients cannot be read: missing, unreadable, empty, no e-mail column
        +-- SourceChanged    the source is not the one that was planned
        `-- SourceUnavailable  a store did not answer; later it may

Each message says what happened, to what, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.progress import Problem


class PlannerError(Exception):
    """Base of all errors of this package."""


class ProblemsFound(PlannerError, ValueError):
    """A request cannot be done as it is. `problems` has all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.problem}" for p in problems))
        self.problems = tuple(problems)


class AddressError(PlannerError, ValueError):
    """An address that cannot be mailed; the message is the reason."""


class SourceError(PlannerError, OSError):
    """Recipients cannot be read from where the request says."""


class SourceChanged(SourceError):
    """The source changed while it was planned, or since."""


class SourceUnavailable(SourceError):
    """The store of the source did not answer; trying later may help."""
