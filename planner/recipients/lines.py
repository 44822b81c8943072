"""Lines of a byte stream, however long they are, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CHUNK = 256 * 1024


class TooLong(NamedTuple):
    """A line that was skipped; `begin` are its first bytes."""

    size: int
    begin: bytes


def lines(stream: BinaryIO, limit: int, separator: bytes = b"\n") -> Iterator[bytes | TooLong]:
    """The lines of `stream` without their ends; one longer than `limit` bytes is skipped and its size told."""
    rest = b""
    skipped = 0  # bytes of a line that is too long already; then `rest` is its beginning
    while chunk := stream.read(CHUNK):
        head, *whole = chunk.split(separator)
        if skipped:
            skipped += len(head)
        else:
            rest += head
            if len(rest) > limit:
                skipped, rest = len(rest), rest[:200]
        if not whole:
            continue
        yield TooLong(skipped, rest) if skipped else rest
        rest = whole.pop()
        skipped = 0
        if max(map(len, whole), default=0) <= limit:
            yield from whole
        else:
            for line in whole:
                yield line if len(line) <= limit else TooLong(len(line), line[:200])
        if len(rest) > limit:
            skipped, rest = len(rest), rest[:200]
    if skipped:
        yield TooLong(skipped, rest)
    elif rest:
        yield rest
