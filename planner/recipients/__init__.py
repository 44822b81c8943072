"""Recipient sources: where they lie (stores), how they are packed, how they are written (formats).

One file each; a new one is its file and a line in a registry here. Everything is streamed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import BinaryIO, cast

from planner.errors import SourceChanged, SourceError
from planner.recipients import csv, file, jsonl, parquet, s3
from planner.recipients.base import Broken, Limits, Row, Source, Store
from planner.recipients.compression import SUFFIXES, decompressed
from planner.recipients.inline import InlineSource
from schemas.campaign import SourceFingerprint
from schemas.request import Recipients
from streams.settings import PlannerSettings

Format = Callable[[BinaryIO, str, Limits], Iterator[Row | Broken]]

STORES: Mapping[str, Callable[[str, PlannerSettings], Store]] = MappingProxyType({
    file.SCHEME: lambda uri, settings: file.FileStore(uri, settings.roots),
    s3.SCHEME: lambda uri, settings: s3.S3Store(uri, settings.s3_endpoint),
})  # fmt: skip
FORMATS: Mapping[str, Format] = MappingProxyType({
    ".csv": csv.rows, ".tsv": csv.rows, ".jsonl": jsonl.rows, ".ndjson": jsonl.rows, ".parquet": parquet.rows,
})  # fmt: skip

__all__ = ["FORMATS", "STORES", "Broken", "Row", "Source", "open_source"]


def open_source(recipients: Recipients, *, settings: PlannerSettings) -> Source:
    """The source that a request names. Nothing is read yet. Raises `SourceError` when the URI is wrong."""
    if recipients.inline is not None:
        return InlineSource(recipients.inline)
    uri = recipients.uri or ""
    for scheme, store in STORES.items():
        if uri.startswith(scheme):
            return TableSource(store(uri, settings), Limits(settings.max_row_bytes))
    raise SourceError(f"{uri} is of no known kind; write {' or '.join(STORES)}...")


class TableSource:
    """A table in a store: CSV, JSON Lines or Parquet, by its extension or else by its first bytes."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits

    def fingerprint(self) -> SourceFingerprint:
        """See `planner.recipients.base.Source`."""
        found = self._store.fingerprint()
        if found.size == 0:
            raise SourceError(f"{self._store.name} is empty; write a header and a row for each recipient")
        return found

    def rows(self, expected: SourceFingerprint | None = None) -> Iterator[Row | Broken]:
        """See `planner.recipients.base.Source`."""
        before = self.fingerprint()
        if expected is not None and before != expected:
            raise SourceChanged(_changed(self._store.name, "since it was accepted"))
        first: Row | Broken | None = None
        try:
            for row in self._read():
                first = first or row
                yield row
        except SourceError:
            self._still(before)  # a file that is being written looks damaged
            raise
        self._still(before)
        if first is None:
            raise SourceError(f"{self._store.name} has no rows; write one for each recipient")

    def _read(self) -> Iterator[Row | Broken]:
        with ExitStack() as stack:
            stream = stack.enter_context(self._store.open())
            content = stack.enter_context(decompressed(stream, self._store.name))
            yield from self._format(content)(content, self._store.name, self._limits)

    def _still(self, before: SourceFingerprint) -> None:
        if self._store.fingerprint() != before:
            raise SourceChanged(_changed(self._store.name, "while it was planned"))

    def _format(self, content: BinaryIO) -> Format:
        path = PurePosixPath(self._store.name.casefold())
        while path.suffix in SUFFIXES:
            path = path.with_suffix("")
        if path.suffix in FORMATS:
            return FORMATS[path.suffix]
        begin = cast("io.BufferedReader", content).peek(4096).removeprefix(jsonl.BOM).lstrip()
        if begin.startswith(parquet.MAGIC):
            return parquet.rows
        return jsonl.rows if begin[:1] in {b"{", b"["} else csv.rows


def _changed(name: str, when: str) -> str:
    return f"{name} has changed {when}, so its batches would not be the same; send it as a new campaign"
