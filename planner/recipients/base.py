"""What a recipient source is: a fingerprint, and rows, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

from planner.errors import SourceError
from schemas.campaign import SourceFingerprint

EMAIL = "email"
EMAIL_NAMES = ("email", "e-mail", "mail")
"""What a column of addresses may be called, in any case; as a variable it is always `email`."""
MAX_COLUMNS_BYTES = 128 * 1024


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


def header(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The variables of a table's columns, `email` among them.

    Raises `SourceError` when there is no e-mail column, or a name stands twice.
    """
    found = [column.strip() or f"column_{place}" for place, column in enumerate(columns, 1)]
    place = email_column(found)
    if place is None:
        shown = ", ".join(repr(column[:60]) for column in found[:50])
        hint = "; its first line looks like data: put a line with the columns' names before it"
        raise SourceError(
            f"{name} has no e-mail column; its columns are {shown}{hint if '@' in ''.join(found) else ''}"
            "; call the column with the addresses `email`"
        )
    found[place] = EMAIL
    twice = next((column for column in found if found.count(column) > 1), None)
    if twice is not None:
        raise SourceError(f"{name} has two columns called {twice[:60]!r}; rename or remove one of them")
    if sum(len(column.encode("utf-8", "replace")) + 8 for column in found) > MAX_COLUMNS_BYTES:
        raise SourceError(f"{name}: the names of its {len(found)} columns are too long; leave some out")
    return tuple(found)
