"""What a recipient source is: a fingerprint, and rows, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

from planner.errors import SourceError
from schemas.campaign import SourceFingerprint

EMAIL = "email"
EMAIL_NAMES = ("email", "e-mail", "mail")
"""What a column of addresses may be called, in any case; as a variable it is always `email`."""
SHOWN = 20
"""Names of columns in a message."""
_NAME = re.compile(r"(?=.{1,40}\Z)[^\W\d][\w.()#-]*(?: [\w.()#-]+){0,3}")
"""What the name of a column looks like: up to four words."""
MAX_COLUMNS_BYTES = 128 * 1024


_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def kind_of(value: object) -> str:
    """What a value is, in the words of who writes JSON."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


class Row(NamedTuple):
    """A row as the source has it. `columns` is the same object for rows of the same columns.

    A value of None means that the row lacks the column.
    """

    number: int
    columns: tuple[str, ...]
    values: Sequence[Any]


class Broken(NamedTuple):
    """A row that cannot be read, and why."""

    number: int
    reason: str
    address: str = ""


class Source(Protocol):
    """Recipients, streamed."""

    def fingerprint(self) -> SourceFingerprint:
        """What tells that the source is still the same. Raises `SourceError`."""

    def rows(self, expected: SourceFingerprint | None = None) -> Iterator[Row | Broken]:
        """All rows, in order, numbered from 1 (a header is not counted).

        Raises `SourceError`; `SourceChanged` when the source is not the `expected` one at the
        beginning, or not the same at the end as at the beginning.
        """


class Store(Protocol):
    """Where a file lies."""

    @property
    def name(self) -> str:
        """How it is called in messages: the URI."""

    def fingerprint(self) -> SourceFingerprint:
        """Raises `SourceError`."""

    def open(self) -> BinaryIO:
        """Its bytes, from the start. Raises `SourceError`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds memory."""

    max_row_bytes: int = 65536


def email_column(columns: Sequence[str]) -> int | None:
    """Which column holds the addresses; None when none does."""
    folded = [column.strip().casefold() for column in columns]
    return next((folded.index(name) for name in EMAIL_NAMES if name in folded), None)


def shown(columns: Sequence[str], least: int = 1) -> str | None:
    """The names of columns, for messages that others read; None unless all look like names.

    A request may name any file that the planner can read, and its first line must not get about: names are short,
    of letters, digits and a few signs, and there are at least `least` of them.
    """
    if len(columns) < least or not all(_NAME.fullmatch(column) for column in columns):
        return None
    return ", ".join(repr(column) for column in columns[:SHOWN]) + (" ..." if len(columns) > SHOWN else "")


def no_email(name: str, columns: Sequence[str], least: int = 1) -> str:
    """What is said of a source in which no column has the addresses."""
    names = shown(columns, least)
    which = f"; its columns are {names}" if names else ""
    hint = "; its first line looks like data: put a line with the columns' names before it"
    looks_like_data = which == "" and any("@" in column for column in columns)
    call = "; call the column with the addresses `email`"
    return f"{name} has no e-mail column{which}{hint if looks_like_data else ''}{call}"


def header(name: str, columns: Sequence[str], least: int = 1) -> tuple[str, ...]:
    """The variables of a table's columns, `email` among them. `least`: see `shown`.

    Raises `SourceError` when there is no e-mail column, or a name stands twice.
    """
    found = [column.strip() or f"column_{place}" for place, column in enumerate(columns, 1)]
    place = email_column(found)
    if place is None:
        raise SourceError(no_email(name, found, least))
    found[place] = EMAIL
    twice = next((column for column in found if found.count(column) > 1), None)
    if twice is not None:
        raise SourceError(f"{name} has two columns called {twice[:60]!r}; rename or remove one of them")
    if sum(len(column.encode("utf-8", "replace")) + 8 for column in found) > MAX_COLUMNS_BYTES:
        raise SourceError(f"{name}: the names of its {len(found)} columns are too long; leave some out")
    return tuple(found)
