"""gzip and zstd, told by their first bytes, whatever the file is called; bounded in memory."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

import zstandard

from planner.errors import SourceError

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_INPUT = 256
"""Bytes fed at a time: a block of 4 bytes may expand to 128 KB, so these to 8 MB at worst (RFC 8878 3.1.1.2)."""
SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")


def decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    """The content of `stream`, decompressed when it is gzip or zstd. Must be read from its start.

    Only the first bytes tell: plain rows in a file that is called `.gz` are read as they are.
    """
    buffered = cast("io.BufferedReader", stream)
    magic = buffered.peek(4)[:4]
    if magic.startswith(GZIP_MAGIC):
        return cast("BinaryIO", io.BufferedReader(_Guarded(gzip.GzipFile(fileobj=stream), name), 256 * 1024))
    if magic == ZSTD_MAGIC:
        return cast("BinaryIO", io.BufferedReader(_Guarded(_Zstd(stream), name), 256 * 1024))
    return stream


class _Zstd:
    """Frames of zstd one after the other; unlike the library's reader it notices one that is cut off."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._new = zstandard.ZstdDecompressor(max_window_size=128 * 1024 * 1024).decompressobj
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._output:
            self._input = self._input or self._stream.read(ZSTD_INPUT)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("it is cut off")
                return b""
            self._frame = self._frame or self._new()
            self._output = memoryview(self._frame.decompress(self._input))
            self._input = b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        taken = bytes(self._output[:size])
        self._output = self._output[size:]
        return taken


class _Guarded(io.RawIOBase):
    """Turns the errors of a damaged file into `SourceError`."""

    def __init__(self, source: Any, name: str) -> None:
        self._source = source
        self._name = name
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data: bytes = self._source.read(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as e:
            raise SourceError(f"{self._name} is damaged after {self._at} bytes of its content: {e}") from e
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
