"""Collecting a message from the wire: DATA up to the final dot, or BDAT chunks.

Both take bytes however they are cut and give the same message. What exceeds the size limit is read
to its end and thrown away, so the conversation stays in step.
"""

from __future__ import annotations

from typing import Final

from simulator import replies

_END: Final = b"\r\n.\r\n"
MAX_LINE: Final = 1000  # octets with CRLF, RFC 5321, 4.5.3.1.6


class DataBody:
    """A message sent by DATA (RFC 5321, 4.1.1.4), its dots unstuffed (4.5.2)."""

    __slots__ = ("_limit", "_lost", "_raw", "message", "too_big")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._raw: bytearray | None = None  # begins with the CRLF that ended the DATA command
        self._lost = False
        self.message = b""
        self.too_big = False

    def take(self, data: bytes, start: int) -> int:
        """Reads on from `start`; gives where the message ended (after its final dot), or -1: more is needed."""
        if self._raw is None:
            if data.startswith(b".\r\n", start):
                return start + 3
            end = data.find(_END, start)
            if end >= 0:
                self._finish(data[start : end + 2])
                return end + 5
            self._raw = bytearray(b"\r\n")
        return self._take_more(self._raw, data, start)

    def _take_more(self, raw: bytearray, data: bytes, start: int) -> int:
        before = len(raw)
        raw += data if start == 0 else data[start:]
        end = raw.find(_END, max(0, before - 4))
        if end >= 0:
            self._finish(bytes(raw[2 : end + 2]))
            return start + end + 5 - before
        # Unstuffing shortens a text by less than half: beyond twice the limit it is certainly too big.
        if len(raw) > 2 * self._limit + 2:
            self._lost = True
            del raw[:-4]
        return -1

    def _finish(self, raw: bytes) -> None:
        message = unstuff(raw)
        self.too_big = self._lost or len(message) > self._limit
        self.message = b"" if self.too_big else message


class ChunkBody:
    """A message sent by BDAT (RFC 3030, section 2): any number of chunks of announced size."""

    __slots__ = ("_limit", "_missing", "_parts", "_size", "discard")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._missing = 0
        self._size = 0
        self.discard = False

    @property
    def message(self) -> bytes:
        return b"".join(self._parts)

    @property
    def too_big(self) -> bool:
        return self._size > self._limit

    def announce(self, size: int) -> None:
        """A chunk of `size` octets follows."""
        self._missing = size
        self._size += size
        if self.discard or self.too_big:
            self._parts.clear()

    def take(self, data: bytes, start: int) -> int:
        """Reads on from `start`; gives where the chunk ended, or -1: more is needed."""
        end = start + self._missing
        part = data[start:end]
        self._missing -= len(part)
        if part and not (self.discard or self.too_big):
            self._parts.append(part)
        return end if self._missing == 0 else -1


def unstuff(raw: bytes) -> bytes:
    """Takes one dot from each line that begins with one (RFC 5321, 4.5.2)."""
    if raw.startswith(b"."):
        raw = raw[1:]
    return raw.replace(b"\r\n.", b"\r\n") if b"\r\n." in raw else raw


def stuff(message: bytes) -> bytes:
    """The inverse of `unstuff`, for clients: a second dot before each line that begins with one."""
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..")


def flaw(message: bytes) -> bytes | None:
    """The reply for a message that breaks the rules for lines (RFC 5321, 2.3.8 and 4.5.3.1.6), or None."""
    ends = message.count(b"\r\n")
    if message.count(b"\n") != ends or message.count(b"\r") != ends:
        return replies.BARE_NEWLINES
    start, size = 0, len(message)
    while size - start > MAX_LINE:
        end = message.rfind(b"\n", start, start + MAX_LINE)
        if end < 0:
            return replies.BODY_LINE_TOO_LONG
        start = end + 1
    # What remains fits one line's limit, with the CRLF that a chunked message may lack at its end.
    return None
