"""The receiving server's own record: one JSON line a taken message, written before its 250 goes out.

A line is written by one `write()` to a file opened for appending, so it survives the death of the
server by SIGKILL (not of the machine), and two servers may share a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from simulator.answers import Taken
from simulator.errors import RecordError


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One taken message."""

    time: float  # seconds since the epoch, at the acceptance
    number: int  # of the message, from 1, since this server started
    connection: int  # its number, from 1, since this server started
    sender: str
    recipients: tuple[str, ...]
    message_id: str  # with its brackets; empty when there is none
    size: int  # octets, dots unstuffed
    replied: bool = True  # False: a rule cut the connection before the 250
    tls: bool = False
    user: str = ""  # by AUTH
    headers: dict[str, str] = field(default_factory=dict)  # those asked for, unfolded


def entry_of(taken: Taken, number: int, headers: Sequence[str] = ()) -> RecordEntry:
    """What the record says of a message."""
    head = taken.body.partition(b"\r\n\r\n")[0]
    return RecordEntry(
        time=taken.at,
        number=number,
        connection=taken.connection,
        sender=taken.sender,
        recipients=taken.recipients,
        message_id=header(head, "Message-ID"),
        size=len(taken.body),
        replied=taken.replied,
        tls=taken.tls,
        user=taken.user,
        headers={name: header(head, name) for name in headers},
    )


_FOLD: Final = re.compile(rb"\r\n(?=[ \t])")


def header(head: bytes, name: str) -> str:
    """The first header field of that name, unfolded (RFC 5322, 2.2.3); empty when there is none."""
    wanted = b"\r\n" + name.encode() + b":"
    block = b"\r\n" + head
    start = block.find(wanted)
    if start < 0:
        start = block.lower().find(wanted.lower())
        if start < 0:
            return ""
    start += len(wanted)
    end = start
    while True:
        end = block.find(b"\r\n", end)
        if end < 0:
            end = len(block)
        elif block[end + 2 : end + 3] in (b" ", b"\t"):
            end += 2
            continue
        return _FOLD.sub(b"", block[start:end]).strip().decode("utf-8", "backslashreplace")


class RecordWriter:
    """Appends entries to a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, entry: RecordEntry) -> None:
        """Appends one line; raises OSError when it cannot be written whole."""
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        if os.write(self._file, line) != len(line):
            raise OSError("the record's line was written in part only; is the disk full?")

    def close(self) -> None:
        os.close(self._file)


class RecordReader:
    """Reads a record that may still grow; each call of `new` gives what was added since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._line = 0

    def new(self) -> Iterator[RecordEntry]:
        """Entries not seen yet; a line without its end is left for the next call. No file: no entries.

        Raises:
            RecordError: a whole line that is not an entry.
        """
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                self._line += 1
                yield self._parse(line)

    def _parse(self, line: bytes) -> RecordEntry:
        try:
            fields = orjson.loads(line)
            fields["recipients"] = tuple(fields["recipients"])
            return RecordEntry(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise RecordError(self._path, self._line, str(error)) from error


def read_record(path: Path) -> Iterator[RecordEntry]:
    """All entries of a record file, in the order of acceptance; raises RecordError."""
    return RecordReader(path).new()
