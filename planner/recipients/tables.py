"""Rows that come as objects, each with columns of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.errors import SourceError
from planner.recipients.base import EMAIL, Broken, Row, email_column, no_email, shown

PATIENCE = 100
"""After so many rows without an e-mail, the source is taken to have no e-mail column at all."""


class Objects:
    """Makes rows of objects; rows with the same keys share one tuple of columns."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys: tuple[str, ...] | None = None
        self._columns: tuple[str, ...] | None = None
        self._held: list[Broken] | None = []
        self._seen: dict[str, None] = {}

    def row(self, number: int, value: dict[str, Any] | str) -> Iterator[Row | Broken]:
        """What row `number` is, given its object or what is wrong with it.

        Rows without an e-mail are held back until one has it. Raises `SourceError` when none has.
        """
        if isinstance(value, str):
            yield from self._give(Broken(number, value))
            return
        keys = tuple(value)
        if keys != self._keys:
            self._keys, self._columns = keys, self._named(keys)
        if self._columns is None:
            if self._held is not None:
                self._seen.update(dict.fromkeys(keys[:50]))
            names = shown(keys)
            yield from self._give(
                Broken(number, f"has no e-mail; its columns are {names}" if names else "has no e-mail")
            )
            return
        if self._held:
            yield from self._held
        self._held = None
        yield Row(number, self._columns, list(value.values()))

    def end(self) -> Iterator[Row | Broken]:
        """There are no more rows. Raises `SourceError` when none had an e-mail."""
        if self._held and self._seen:
            self._no_email()
        yield from self._held or ()

    def _give(self, broken: Broken) -> Iterator[Broken]:
        if self._held is None:
            yield broken
            return
        self._held.append(broken)
        if len(self._held) >= PATIENCE:
            if self._seen:
                self._no_email()
            yield from self._held
            self._held = []

    def _no_email(self) -> None:
        raise SourceError(no_email(self._name, list(self._seen)))

    @staticmethod
    def _named(keys: tuple[str, ...]) -> tuple[str, ...] | None:
        place = email_column(keys)
        if place is None:
            return None
        return tuple(EMAIL if i == place else key for i, key in enumerate(keys))
