"""Replies out of a stream of bytes that may be cut anywhere (RFC 5321, 4.2).

Pure. What is no reply ends the reading: nothing behind it can be matched with a command.
"""

from __future__ import annotations

import re

MAX_LINE = 4096
"""Octets of a reply's line. RFC 5321, 4.5.3.1.5, asks for 512; servers that quote addresses go beyond."""
MAX_LINES = 100
MAX_TEXT = 4096
"""What is read of a reply's words: they go into records, and no broker takes one of a megabyte."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_COMMON = {b"250 ": 250, b"354 ": 354}


Reply = tuple[int, bytes]
"""(code, the text without it: the lines of a longer one joined by LF). Plain, because there are four a message."""


def words(text: bytes) -> str:
    """A reply's text, for people and for the table of outcomes."""
    return text.strip()[:MAX_TEXT].decode("utf-8", "replace")


class ReplyReader:
    """Bytes in, replies out. A bare LF ends a line too."""

    __slots__ = ("_code", "_lines", "_rest", "problem")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._code = 0
        self.problem: str | None = None
        """Why there will be no further reply."""

    @property
    def within(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now; look at `problem` afterwards."""
        if self.problem is not None:
            data = b""
        elif self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        rest = self._rest = lines.pop()
        replies: list[Reply] = []
        for line in lines:
            if (code := _COMMON.get(line[:4])) is not None and not self._lines and len(line) <= MAX_LINE:
                replies.append((code, line[4:]))
            elif (reply := self._line(line.rstrip(b"\r"))) is not None:
                replies.append(reply)
            elif self.problem is not None:
                return replies
        if len(rest) > MAX_LINE + 1:  # its last octet may be the CR of a line end
            self.problem = f"a reply's line has more than {MAX_LINE} octets"
        return replies

    def _line(self, line: bytes) -> Reply | None:
        """One line that is not a common reply of its own; None: more follow, or `problem` says why not."""
        match = _LINE.fullmatch(line)
        if len(line) > MAX_LINE:
            self.problem = f"a reply's line has more than {MAX_LINE} octets"
        elif match is None:
            self.problem = f"{line[:60].decode('ascii', 'replace')!r} is no reply"
        elif self._lines and int(match[1]) != self._code:
            self.problem = f"the lines of a reply begin with {self._code} and {int(match[1])}"
        elif len(self._lines) >= MAX_LINES:
            self.problem = f"a reply has more than {MAX_LINES} lines"
        else:
            self._code = int(match[1])
            self._lines.append((match[3] or b"").strip())
            if match[2] != b"-":
                whole, self._lines = b"\n".join(self._lines), []
                return self._code, whole
        return None
