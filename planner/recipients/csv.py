"""CSV: commas, semicolons or tabs, quotes, a BOM; a row that is broken costs that row only."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from planner.errors import SourceError
from planner.recipients.base import Broken, Limits, Row, email_column, header
from planner.recipients.lines import TooLong, lines

BOM = b"\xef\xbb\xbf"
DELIMITERS = (",", ";", "\t", "|")
PEEK = 64 * 1024


class _NotARecord(Exception):
    """The record that is being read cannot be one; the message says why."""


def rows(stream: BinaryIO, name: str, limits: Limits) -> Iterator[Row | Broken]:
    """The rows of a CSV file. Raises `SourceError` when its header cannot be used."""
    feed = _Feed(lines(stream, limits.max_row_bytes), limits.max_row_bytes)
    first = feed.header(name)
    delimiter = _delimiter(first)
    columns = header(name, next(csv.reader([first], delimiter=delimiter), []), least=2)
    width = len(columns)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_row_bytes))
    number = 0
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_NotARecord, csv.Error) as e:
            number += 1
            yield Broken(number, feed.give_back(str(e)), _address(feed.record, delimiter, columns))
            continue
        if not cells:
            continue  # an empty line
        number += 1
        if len(cells) == width and feed.bad is None:
            yield Row(number, columns, cells)
        else:
            reason = feed.bad or f"has {len(cells)} cells where the header has {width}"
            yield Broken(number, feed.give_back(reason), _address(feed.record, delimiter, columns))


class _Feed(Iterator[str]):
    """Gives the CSV reader its lines, and takes those back that a broken record has swallowed."""

    def __init__(self, source: Iterator[bytes | TooLong], limit: int) -> None:
        self._source = source
        self._limit = limit
        self._again: list[bytes | TooLong] = []
        self._size = 0
        self.record: list[bytes | TooLong] = []
        self.bad: str | None = None

    def header(self, name: str) -> str:
        """The first line. Raises `SourceError`."""
        first = next(self._source, b"")
        if isinstance(first, TooLong):
            raise SourceError(f"{name}: its first line has {first.size} bytes; is this a CSV file with a header?")
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise SourceError(f"{name} is UTF-16; save it as UTF-8")
        first = first.removeprefix(BOM)
        if not first.strip():
            raise SourceError(f"{name} has no header: its first line is empty; put the columns' names there")
        if b"\r" in first.rstrip(b"\r"):
            raise SourceError(f"{name} ends its lines with CR alone; save it with LF or CRLF line ends")
        try:
            return first.decode()
        except UnicodeDecodeError as e:
            raise SourceError(f"{name}: its header {_not_utf8(first, e)}") from None

    def begin(self) -> None:
        """A new record begins."""
        self.record = []
        self._size = 0
        self.bad = None

    def give_back(self, reason: str) -> str:
        """The record is broken: its first line is, the lines after it are read again by themselves."""
        if len(self.record) > 1:
            self._again.extend(reversed(self.record[1:]))
            return f"{reason}: a quote that this line opens is not closed in it"
        return reason

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._source)
        self.record.append(line)
        if isinstance(line, TooLong):
            raise _NotARecord(f"has {line.size} bytes, more than planner.max_row_bytes = {self._limit}")
        self._size += len(line)
        if self._size > self._limit:
            raise _NotARecord(f"has more than planner.max_row_bytes = {self._limit} bytes")
        try:
            return line.decode() + "\n"
        except UnicodeDecodeError as e:
            self.bad = self.bad or _not_utf8(line, e)
            return line.decode(errors="replace") + "\n"


def _not_utf8(line: bytes, error: UnicodeDecodeError) -> str:
    return f"is not UTF-8 (byte 0x{line[error.start]:02X} at position {error.start + 1} of the line); save it as UTF-8"


def _delimiter(first: str) -> str:
    """The delimiter with which the header has an e-mail column, and of those the one that occurs most."""

    def fitness(delimiter: str) -> tuple[bool, int]:
        cells = next(csv.reader([first], delimiter=delimiter), [])
        return email_column(cells) is not None, len(cells)

    return max(DELIMITERS, key=fitness)


def _address(record: list[bytes | TooLong], delimiter: str, columns: tuple[str, ...]) -> str:
    """What stands in the e-mail column of a broken row, as far as it can be made out."""
    if not record:
        return ""
    line = record[0]
    cells = (line.begin if isinstance(line, TooLong) else line).decode(errors="replace").split(delimiter)
    place = columns.index("email")
    found = cells[place].strip().strip('"') if place < len(cells) else ""
    return found[:254] if "@" in found else ""
