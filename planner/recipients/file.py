"""`file://` URIs."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from planner.errors import SourceError
from schemas.campaign import SourceFingerprint

SCHEME = "file://"


class FileStore:
    """A file of this machine."""

    def __init__(self, uri: str, roots: Sequence[Path] = ()) -> None:
        """`roots`: where files may lie, symbolic links followed; empty: anywhere. Raises `SourceError`."""
        self.name = uri
        self._path = _local_path(uri)
        self._roots = roots

    def fingerprint(self) -> SourceFingerprint:
        """Size, modification time and inode."""
        path = self._checked()
        try:
            return _of(path.stat())
        except OSError as e:
            raise SourceError(_reason(self.name, e)) from e

    def open(self) -> BinaryIO:
        """The file, to be read from its start."""
        path = self._checked()
        try:
            return path.open("rb")
        except OSError as e:
            raise SourceError(_reason(self.name, e)) from e

    def _checked(self) -> Path:
        try:
            path = self._path.resolve()
            self._below_a_root(path)  # first: whoever asks learns nothing of what lies elsewhere
            mode = path.stat().st_mode
        except SourceError:
            raise
        except (OSError, RuntimeError, ValueError) as e:
            raise SourceError(_reason(self.name, e)) from e
        if stat.S_ISDIR(mode):
            raise SourceError(f"{self.name} is a directory; name one file")
        if not stat.S_ISREG(mode):
            raise SourceError(f"{self.name} is not a regular file; name one")
        if not os.access(path, os.R_OK):
            raise SourceError(f"{self.name} cannot be read by the user that the planner runs as; change its mode")
        return path

    def _below_a_root(self, path: Path) -> None:
        if self._roots and not any(path.is_relative_to(root.resolve()) for root in self._roots):
            allowed = ", ".join(str(root) for root in self._roots)
            raise SourceError(f"{self.name} does not lie below {allowed} (planner.roots); copy it there")


def _local_path(uri: str) -> Path:
    rest = uri.removeprefix(SCHEME)
    host, slash, path = rest.partition("/")
    if not slash or host not in {"", "localhost"}:
        raise SourceError(f"{uri} names no file of this machine; write file:///absolute/path")
    decoded = unquote("/" + path, errors="surrogateescape")
    if "\x00" in decoded:
        raise SourceError(f"{uri} has a zero byte in its path")
    return Path(decoded)


def _of(status: os.stat_result) -> SourceFingerprint:
    return SourceFingerprint(kind="file", size=status.st_size, changed=f"{status.st_mtime_ns}/{status.st_ino}")


def _reason(uri: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{uri}: there is no such file on the planner's machine; check the path"
    if isinstance(error, PermissionError):
        return f"{uri} cannot be read by the user that the planner runs as; change its mode"
    return f"{uri} cannot be read: {getattr(error, 'strerror', None) or error}"
