"""What becomes of taken messages: kept in memory, recorded, kept in a Maildir; or nothing, only counted.

A store is called before the 250 goes out; if it raises OSError, the connection is cut without a reply.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from simulator.answers import Taken
from simulator.record import RecordWriter, entry_of


class Store(Protocol):
    """Where messages go."""

    def take(self, message: Taken, number: int) -> None:
        """Keeps the message, whose number is counted from 1. Raises OSError if it cannot."""

    def close(self) -> None:
        """Nothing more will come."""


class MemoryStore:
    """Keeps messages in a list, for tests in the same process."""

    def __init__(self) -> None:
        self.messages: list[Taken] = []

    def take(self, message: Taken, number: int) -> None:  # noqa: ARG002  (the list counts by itself)
        self.messages.append(message)

    def close(self) -> None:
        """Keeps what it has."""


class RecordStore:
    """Appends a line to the record for each message."""

    def __init__(self, path: Path, headers: Sequence[str] = ()) -> None:
        self._writer = RecordWriter(path)
        self._headers = tuple(headers)

    def take(self, message: Taken, number: int) -> None:
        self._writer.write(entry_of(message, number, self._headers))

    def close(self) -> None:
        self._writer.close()


class MaildirStore:
    """A file a message in a Maildir, with Return-Path and X-Original-To in front and lines ending in LF."""

    def __init__(self, path: Path) -> None:
        for part in ("tmp", "new", "cur"):
            (path / part).mkdir(parents=True, exist_ok=True)
        self._path = path
        self._tail = f"P{os.getpid()}.{socket.gethostname().replace('/', '_')}"

    def take(self, message: Taken, number: int) -> None:
        seconds, fraction = divmod(int(message.at * 1_000_000), 1_000_000)
        name = f"{seconds}.M{fraction:06}Q{number}{self._tail}"
        envelope = [f"Return-Path: <{message.sender}>", *(f"X-Original-To: {to}" for to in message.recipients)]
        text = "".join(f"{line}\n" for line in envelope).encode() + message.body.replace(b"\r\n", b"\n")
        temporary = self._path / "tmp" / name
        temporary.write_bytes(text)
        temporary.rename(self._path / "new" / name)

    def close(self) -> None:
        """Every file is complete already."""
