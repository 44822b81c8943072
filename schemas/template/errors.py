"""What can be wrong with a message.

MessageError
+-- TemplateError     the template itself: nothing of the campaign can be sent
+-- SettingsProblem   the settings of the sending domain: the campaign waits until they are mended, nobody fails by it
`-- RowError          one recipient's row: the others are not touched
    |-- OverBudget    filling the template for it took too long or made too much
    `-- Unsafe        filling the template for it would do what no template may
"""

from __future__ import annotations

from typing import Literal

Part = Literal["subject", "html", "text"]


class MessageError(ValueError):
    """Base of all errors of templates and messages."""


class TemplateError(MessageError):
    """A template cannot be used: which part, which line (from 1; None: as a whole), what is wrong."""

    def __init__(self, part: Part, line: int | None, problem: str) -> None:
        place = f"template, {part}" + (f", line {line}" if line else "")
        super().__init__(f"{place}: {problem}")
        self.part = part
        self.line = line
        self.problem = problem


class SettingsProblem(MessageError):
    """What the settings of a sending domain say cannot be used: which domain, and why."""


class RowError(MessageError):
    """One recipient's row does not make a message, such as "lacks the variable first_name"."""


class OverBudget(RowError):
    """Filling the template for one row took too many turns, too long, or made too long a text."""


class Unsafe(RowError):
    """Filling the template for one row reached for Python's own, called itself without end, or made huge things."""
