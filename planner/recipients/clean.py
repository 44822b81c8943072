"""From rows as they stand to recipients who can be mailed; all others are counted and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from planner.addresses import check
from planner.errors import AddressError
from planner.recipients.base import EMAIL, Broken, Row, kind_of
from planner.recipients.seen import Seen
from planner.recipients.where import Predicate, check_columns, keeps, predicates
from planner.variables import required
from schemas.batch import MAX_PART_BYTES
from schemas.campaign import Campaign
from schemas.records import InvalidRow

OnInvalid = Callable[[InvalidRow], None]
FRAME = 1024
"""Bytes of a part besides its rows and its columns' names: never more."""

SAME = "an earlier row has the same address, capitals aside"
"""Only a provider knows whether it tells A@x.example and a@x.example apart, and hardly one does. Whoever is mailed is
mailed as he was written first: on the wire a local part keeps its case (RFC 5321 section 2.4)."""


class Clean(NamedTuple):
    """A recipient. `columns` begins with `email` and is the same object for rows of the same columns."""

    columns: tuple[str, ...]
    encoded: bytes
    """The values as a JSON array; null where the row lacks a column."""


class _Shape(NamedTuple):
    """What is worked out once for rows of the same columns."""

    columns: tuple[str, ...]
    email: int
    rest: tuple[int, ...]
    conditions: list[Predicate]
    lacking: list[str]
    needed: tuple[int, ...]
    room: int
    """Bytes that a row's values may take as JSON."""


class Cleaner:
    """Checks rows one by one. `recipients`, `invalid` and `duplicate` count what `where` keeps."""

    def __init__(
        self,
        campaign_id: str,
        *,
        where: Mapping[str, Sequence[Any]] | None = None,
        needed: frozenset[str] = frozenset(),
        max_row_bytes: int = 65536,
        on_invalid: OnInvalid | None = None,
    ) -> None:
        """`needed`: the variables that every row must have. `on_invalid` is told of each row left out."""
        self.recipients = 0
        self.invalid = 0
        self.duplicate = 0
        self._elsewhere = 0
        self._first_invalid = ""
        self._campaign_id = campaign_id
        self._where = where or {}
        self._needed = needed
        self._max_bytes = max_row_bytes
        self._on_invalid = on_invalid
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._known: set[str] = set()

    @classmethod
    def of(cls, campaign: Campaign, *, max_row_bytes: int, on_invalid: OnInvalid | None = None) -> Cleaner:
        """The cleaner of a campaign."""
        return cls(
            campaign.campaign_id,
            where=campaign.source.where,
            needed=required(campaign.template),
            max_row_bytes=max_row_bytes,
            on_invalid=on_invalid,
        )

    def clean(self, rows: Iterable[Row | Broken]) -> Iterator[Clean]:
        """Those who can be mailed, in order, each address once, whatever the case of its letters.

        Raises `SourceError` when `where` names a column that no row has.
        """
        shape: _Shape | None = None
        of_columns: tuple[str, ...] | None = None
        add, dumps = Seen().add, orjson.dumps
        for row in rows:
            if isinstance(row, Broken):
                self.recipients += 1
                self._leave_out(row.number, row.address, row.reason)
                continue
            number, columns, values = row
            if columns is not of_columns or shape is None:
                of_columns, shape = columns, self._shape(columns)
            if shape.conditions and not keeps(shape.conditions, values):
                self._elsewhere += 1
                continue
            self.recipients += 1
            written = values[shape.email]
            try:
                address = check(written if isinstance(written, str) else _not_text(written))
                lacking = shape.lacking or self._nulls(shape, values)
                if lacking:
                    raise AddressError(_lacks(lacking))
                encoded = dumps([address, *[values[place] for place in shape.rest]])
                if len(encoded) > shape.room:
                    raise AddressError(f"its values take {len(encoded)} bytes as JSON; {shape.room} may be used")
            except (AddressError, orjson.JSONEncodeError) as e:
                self._leave_out(number, written, str(e))
                continue
            if add(address.lower()):
                yield Clean(shape.columns, encoded)
            else:
                self._leave_out(number, address, SAME, "duplicate")
        if self._known:
            check_columns(self._where, self._known)

    def warnings(self) -> tuple[str, ...]:
        """What is odd about the rows as a whole, once all have been read: that nobody of them is mailed."""
        if not self.recipients:
            where = orjson.dumps(self._where, default=str).decode()
            return (f"no row of {self._elsewhere:,} matches recipients.where {where[:300]}: nobody is mailed",)
        if self.invalid and self.recipients == self.invalid + self.duplicate:
            rows = "the only row is" if self.recipients == 1 else f"all {self.recipients:,} rows are"
            return (f"{rows} invalid: nobody is mailed ({self._first_invalid})",)
        return ()

    def _shape(self, columns: tuple[str, ...]) -> _Shape:
        if columns in self._shapes:
            return self._shapes[columns]
        self._known.update(columns)
        email = columns.index(EMAIL)
        rest = tuple(place for place in range(len(columns)) if place != email)
        shape = _Shape(
            (EMAIL, *(columns[place] for place in rest)),
            email,
            rest,
            predicates(self._where, columns),
            sorted(self._needed.difference(columns)),
            tuple(place for place, column in enumerate(columns) if column in self._needed),
            min(self._max_bytes, MAX_PART_BYTES - FRAME - names_bytes(columns)),
        )
        if len(self._shapes) < 1000:  # a source in which every row has other columns must not fill the memory
            self._shapes[columns] = shape
        return shape

    @staticmethod
    def _nulls(shape: _Shape, values: Sequence[Any]) -> list[str]:
        if None not in values:
            return []
        columns = dict(zip((shape.email, *shape.rest), shape.columns, strict=True))
        return sorted(columns[place] for place in shape.needed if values[place] is None)

    def _leave_out(
        self, number: int, address: object, reason: str, kind: Literal["invalid", "duplicate"] = "invalid"
    ) -> None:
        if kind == "duplicate":
            self.duplicate += 1
        else:
            self.invalid += 1
            self._first_invalid = self._first_invalid or f"row {number}: {reason[:300]}"
        if self._on_invalid is not None:
            shown = "" if address is None else str(address)[:320].encode("utf-8", "replace").decode()
            self._on_invalid(
                InvalidRow(campaign_id=self._campaign_id, row=number, address=shown, kind=kind, reason=reason[:500])
            )


def names_bytes(columns: Sequence[str]) -> int:
    """Bytes of the columns' names as a JSON array."""
    return len(orjson.dumps(list(columns)))


def _not_text(value: object) -> str:
    if value is None:
        return ""
    raise AddressError(f"the address is not a text but {kind_of(value)}")


def _lacks(names: Sequence[str]) -> str:
    return f"lacks variable{'s' if len(names) > 1 else ''} {', '.join(names[:20])}"
