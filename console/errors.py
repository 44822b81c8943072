"""What goes wrong for a person at the command line.

ConsoleError: a message for people, with what to do; the command ends with exit code 1
  NotRunning: there is no broker to talk to
  WrongUsage: the command was not written as it must be; exit code 2
"""

from __future__ import annotations


class ConsoleError(Exception):
    """Something that a person can mend. Its text says what happened, to what, and what to do."""


class NotRunning(ConsoleError):
    """The broker of this data directory does not run."""


class WrongUsage(ConsoleError):
    """A command's words are wrong, whatever the installation is like."""
