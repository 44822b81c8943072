"""JSON Lines: one object a line; a line that is broken costs that row only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from planner.errors import SourceError
from planner.recipients.base import Broken, Limits, Row, kind_of
from planner.recipients.lines import TooLong, lines
from planner.recipients.tables import Objects

BOM = b"\xef\xbb\xbf"


def rows(stream: BinaryIO, name: str, limits: Limits) -> Iterator[Row | Broken]:
    """The rows of a JSON Lines file. Raises `SourceError` when it is a JSON array, or no row has an e-mail."""
    objects = Objects(name)
    number = 0
    for line in lines(stream, limits.max_row_bytes):
        if number == 0 and not isinstance(line, TooLong):
            line = line.removeprefix(BOM)  # noqa: PLW2901
            if line.lstrip().startswith(b"[") and not _whole(line):
                raise SourceError(f"{name} is a JSON array; write one object a line (`jq -c '.[]'` does that)")
        if not isinstance(line, TooLong) and not line.strip():
            continue
        number += 1
        yield from objects.row(number, _parse(line, limits))
    yield from objects.end()


def _whole(line: bytes) -> bool:
    """Whether a line that begins like an array is one whole value: then it is just a broken row."""
    try:
        return not isinstance(orjson.loads(line), list)
    except orjson.JSONDecodeError:
        return False


def _parse(line: bytes | TooLong, limits: Limits) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    if isinstance(line, TooLong):
        return f"has {line.size} bytes, more than planner.max_row_bytes = {limits.max_row_bytes}"
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as e:
        try:
            line.decode()
        except UnicodeDecodeError as u:
            return f"is not UTF-8 (byte 0x{line[u.start]:02X} at position {u.start + 1} of the line); save it as UTF-8"
        return f"is not JSON: {e}"
    if not isinstance(value, dict):
        return f"is not a JSON object but {kind_of(value)}"
    return value
