"""One file of a spool, to which whole lines are appended."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from sender.journal.spool_lines import line

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolLost(OSError):
    """The spool cannot be written any more: nothing may be put on a wire by this process."""


class SpoolFull(SpoolLost):
    """There is no room: nothing may begin until there is. What was begun is recorded."""


class LineFile:
    """A new file. Raises OSError when it cannot be made, or has no room for its first line."""

    def __init__(self, path: Path, first: bytes) -> None:
        self.path = path
        self.size = 0
        self._crc = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.put(first)
        except BaseException:
            self.close()
            path.unlink(missing_ok=True)
            raise

    def put(self, payload: bytes) -> None:
        """One line, in one `write()`. Raises like `put_all`."""
        data, crc = line(payload, self._crc)
        self._write(data, crc)

    def put_all(self, payloads: Iterable[bytes]) -> None:
        """A line for each, in one `write()`. Raises `SpoolFull`, and then has none of them; or `SpoolLost`."""
        crc = self._crc
        out = []
        for payload in payloads:
            text, crc = line(payload, crc)
            out.append(text)
        self._write(b"".join(out), crc)

    def close(self) -> None:
        """May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _write(self, data: bytes, crc: int) -> None:
        try:
            done = os.write(self._fd, data)
        except OSError as e:
            done, error = 0, e
        else:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if done != len(data):
            self._undo()
            if error.errno not in FULL:
                raise SpoolLost(error.errno, f"{self.path} cannot be written: {error.strerror}") from None
            raise SpoolFull(error.errno, f"the spool has no room: {error.strerror}") from None
        self.size += done
        self._crc = crc

    def _undo(self) -> None:
        """Half a line may not stay: what comes after it would not be believed."""
        try:
            os.ftruncate(self._fd, self.size)
        except OSError as e:
            raise SpoolLost(e.errno, f"{self.path} cannot be written: {e.strerror}") from None
