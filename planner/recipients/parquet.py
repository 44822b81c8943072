"""Parquet, read by record batches. Nulls lack the column; dates and decimals become text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from planner.errors import SourceError
from planner.recipients.base import Broken, Limits, Row, header

MAGIC = b"PAR1"
BATCH_ROWS = 4096


def rows(stream: BinaryIO, name: str, limits: Limits) -> Iterator[Row | Broken]:  # noqa: ARG001 - as every format
    """The rows of a Parquet file. Raises `SourceError` when it is damaged or has no e-mail column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _seekable(stream) as file:
        try:
            parquet = pq.ParquetFile(file)
            columns = header(name, parquet.schema_arrow.names)
            number = 0
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                for values in zip(*(_plain(pa, column) for column in batch.columns), strict=True):
                    number += 1
                    yield Row(number, columns, values)
        except pa.ArrowException as e:
            raise SourceError(f"{name} cannot be read as Parquet: {e}; write it anew") from e


def _plain(pa: Any, column: Any) -> list[Any]:
    """A column's values as JSON has them."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    values: list[Any] = column.to_pylist()
    simple = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating,
              pa.types.is_boolean, pa.types.is_null)  # fmt: skip
    if any(is_kind(kind) for is_kind in simple):
        return values
    return [None if value is None else _jsonable(value) for value in values]


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _seekable(stream: BinaryIO) -> BinaryIO:
    """`stream`, or a copy of it on disk when it cannot be read out of order (a store, a compressed file)."""
    if stream.seekable():
        return stream
    copy = tempfile.TemporaryFile(prefix="rampa-recipients-")  # noqa: SIM115 - the caller closes it
    while chunk := stream.read(1024 * 1024):
        copy.write(chunk)
    copy.seek(0)
    return copy
