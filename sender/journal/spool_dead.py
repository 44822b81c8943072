"""What the spool of a process that has died proves, and how spools go away."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sender.journal.spool_evidence import Evidence, Fate, Missing, identity, read

__all__ = ["Evidence", "Fate", "boot_id", "read_dead", "sweep"]

log = logging.getLogger(__name__)

KEPT_SECONDS = 7 * 86400.0
"""How long the spool of a dead process may still settle what is in doubt."""


def boot_id() -> str:
    """What tells this boot of this machine from all others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_dead(directory: Path, name: str, boot: str) -> Evidence | None:
    """What the spool `name` (as an intention records it) proves; None: nothing.

    None when it is of another boot than `boot` (the present one) or another machine, and when its process may
    still be alive. Then everything that was intended is in doubt. So it is when its files are not all there, but
    then for good: the evidence is damaged. May be called by several processes at once, and again. Raises OSError
    for a file that cannot be read.
    """
    token, at, of_boot = name.partition("@")
    if not at or of_boot != boot or not token.isalnum():
        return None
    with _locked(directory / f"{token}.lock", fcntl.LOCK_SH) as dead:
        if not dead:
            return None
        files = {int(f.suffix[1:]): f.read_bytes() for f in directory.glob(f"{token}.*") if f.suffix[1:].isdigit()}
    try:
        found = read(files)
    except Missing as e:
        found = Evidence(damage=str(e))
    if found.damage:
        log.warning("spool %s: %s", token, found.damage)
    return found


def sweep(directory: Path, boot: str, now: float, kept_seconds: float = KEPT_SECONDS) -> int:
    """Removes spools that are no evidence any more: of dead processes, of another boot or `kept_seconds` old.

    `now`: seconds since 1970, real time. Returns how many went away.
    """
    gone = 0
    for lock in directory.glob("*.lock"):
        # Shared, because another process may be reading it as evidence; one that sweeps too may be quicker.
        with suppress(FileNotFoundError), _locked(lock, fcntl.LOCK_SH) as dead:
            files = sorted(directory.glob(f"{lock.stem}.*")) if dead else []
            if not dead or not (_of_other_boot(files, boot) or _newest(files) < now - kept_seconds):
                continue
            for file in files:
                file.unlink(missing_ok=True)
            gone += 1
    for fresh in directory.glob(".*.new"):  # its process died before it had a name
        if _newest([fresh]) < now - kept_seconds:
            fresh.unlink(missing_ok=True)
    return gone


def _of_other_boot(files: Iterable[Path], boot: str) -> bool:
    for file in files:
        if file.suffix[1:].isdigit():
            with file.open("rb") as opened:
                head = identity(opened.readline(1 << 16))
            return head is not None and head["spool"].partition("@")[2] != boot
    return False


def _newest(files: Iterable[Path]) -> float:
    return max((file.stat().st_mtime for file in files), default=0.0)


@contextmanager
def _locked(file: Path, how: int) -> Iterator[bool]:
    """Whether the lock could be had at once; it is held inside."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
