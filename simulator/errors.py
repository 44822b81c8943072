"""Everything that the simulator raises.

SimulatorError
|-- RulesError      a rules or settings file that cannot be read or does not validate
|-- RecordError     a record file with a line that is not an entry
`-- StartError      the server (or its process) did not come up
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class SimulatorError(Exception):
    """Base of all errors of the mailbox simulator."""


class RulesError(SimulatorError):
    """Rules or settings that cannot be used; `problems` names each one by its place."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(f"{source}: {'; '.join(problems)}. Correct these and start again.")


class RecordError(SimulatorError):
    """A line of a record file that is not an entry."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        self.path = path
        self.line = line
        super().__init__(f"{path}, line {line}: not a record entry ({problem}); is this a record file?")


class StartError(SimulatorError):
    """The simulator did not start; the message says why, as far as it is known."""
