"""`where`: which rows a campaign is for.

Values are compared as text, since a CSV has nothing else: true is `true`, 5 and 5.0 are `5`, null is
a cell that is empty or not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from planner.errors import SourceError
from planner.names import unknown

Predicate = tuple[int, frozenset[str]]
"""The place of a column, or -1 when there is no such column, and the texts that it may hold."""


def text_of(value: Any) -> str:
    """What a value is compared as."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def predicates(where: Mapping[str, Iterable[Any]], columns: Sequence[str]) -> list[Predicate]:
    """The conditions for rows of these columns."""
    places = {column: place for place, column in enumerate(columns)}
    return [(places.get(column, -1), _texts(wanted)) for column, wanted in where.items()]


def keeps(conditions: list[Predicate], values: Sequence[Any]) -> bool:
    """Whether a row meets all conditions."""
    return all(text_of(values[place] if place >= 0 else None) in wanted for place, wanted in conditions)


def check_columns(where: Mapping[str, Iterable[Any]], columns: Iterable[str]) -> None:
    """Raises `SourceError` when `where` names a column that no row has had: it would keep nothing by mistake."""
    columns = set(columns)
    for column in where:
        if column not in columns:
            raise SourceError(f"recipients.where: {unknown(column, columns, 'a column of the recipients')}")


def _texts(wanted: Iterable[Any]) -> frozenset[str]:
    texts = set()
    for value in wanted:
        text = text_of(value)
        texts |= {text, text.upper(), text.capitalize()} if isinstance(value, bool) else {text}
    return frozenset(texts)
