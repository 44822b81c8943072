"""The spool: what this process puts on a wire and what came of it, in a file on this machine.

When the process dies, whoever takes over reads it: what was intended and never begun is simply sent, what has
an end has its outcome, and only what was begun without an end is in doubt.

- A record is in the file (`write()` has returned) before the message goes on a wire. It is not flushed to
  the disk: what the kernel has outlives the process, and after a reboot no spool is evidence.
- The process holds a lock (`flock`) from before its first record until it has died. Reading takes the lock
  shared, so it succeeds only when the writer is dead; a suspended writer holds it.
- A spool belongs to one boot of one machine and is told by a random name. `Spool.name` says both.
- Bounded: past `roll_bytes` it goes on in a new file, a generation; an old one is removed when the outcomes
  of all that it has were committed (`settled`).
- A full disk stops what would begin (`SpoolFull`). For the ends of what is on a wire a little is set aside.

Files of a spool, below one directory: `NAME.lock`, `NAME.1`, `NAME.2` ..., `NAME.spare`. The directory must be
on a disk of this machine (`flock` over a network file system promises less).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from sender.journal import spool_lines as lines
from sender.journal.spool_dead import boot_id, read_dead
from sender.journal.spool_file import FULL, LineFile, SpoolFull, SpoolLost
from sender.journal.spool_lines import Begins, Ends, Slip, SpoolEnd
from sender.smtp.outcomes import Outcome

__all__ = ["Slip", "Spool", "SpoolEnd", "SpoolFull", "SpoolLost", "boot_id", "read_dead"]

log = logging.getLogger(__name__)

ROLL_BYTES = 4 << 20
_NO_ENDS = datetime.fromtimestamp(0, UTC)
"""When the ends came where there are none."""
SPARE_BYTES = 256 << 10
"""Set aside for ends on a full disk: of some two thousand messages."""


class Spool:
    """The spool of this process. Its methods may be called from any thread."""

    def __init__(self, directory: Path, name: str, lock: int, roll_bytes: int, spare_bytes: int) -> None:
        """Use `create`."""
        self.name = name
        """What an intention records: which spool, in which boot."""
        self.directory = directory
        self._base = directory / name.partition("@")[0]
        self._lock_fd = lock
        self._roll_bytes = self._roll_at = roll_bytes
        self._spare_bytes = spare_bytes
        self._spare = False
        self._guard = threading.Lock()
        self._slips = 0
        self._counts: dict[int, int] = {}
        """By generation whose file is there: the messages whose last record it has and that are not settled."""
        self._generation = 0
        self._lost = self._full = ""
        self._file: LineFile

    @classmethod
    def create(cls, directory: Path, *, roll_bytes: int = ROLL_BYTES, spare_bytes: int = SPARE_BYTES) -> Spool:
        """A new spool, locked until this process ends or `close`. Raises OSError, of which `SpoolFull` is one."""
        directory.mkdir(parents=True, exist_ok=True)
        name = f"{secrets.token_hex(8)}@{boot_id()}"
        fresh = directory / f".{name.partition('@')[0]}.new"
        lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        spool = cls(directory, name, lock, roll_bytes, spare_bytes)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.rename(spool._path("lock"))  # nobody sees it unlocked
            spool._roll()
            spool._set_aside()
        except BaseException:
            fresh.unlink(missing_ok=True)
            spool.close(clean=True)
            raise
        return spool

    @property
    def full(self) -> str:
        """Why nothing can be begun at the moment; empty when it can. A `begin` that succeeds clears it."""
        return self._lost or self._full

    def permit(self, campaign_id: str, batch_number: int, round_: int, permit_id: str) -> Slip:
        """A page for what is sent under one permit. Writes nothing yet."""
        with self._guard:
            self._slips += 1
            return Slip(self._slips, (campaign_id, batch_number, round_, permit_id))

    def begin(self, slip: Slip, index: int, tries: int = 1) -> None:
        """A message is about to go on a wire for the `tries`th time. Raises `SpoolLost`: then it must not."""
        self.write((), ((slip, index, tries),), _NO_ENDS)

    def end(self, slip: Slip, index: int, tries: int, outcome: Outcome, at: datetime) -> None:
        """What became of that try. Never raises for a full disk; when even the spare is used up it is not kept."""
        self.write(((slip, index, tries, outcome),), (), at)

    def write(self, ended: Ends, begun: Begins, at: datetime) -> None:
        """Several ends, which came `at`, then several begins, in one `write()`.

        Raises `SpoolLost` when there are begins: the ends are recorded as far as there is room, and no begin is.
        """
        with self._guard:
            if begun and self._file.size >= self._roll_at and not self._lost:
                self._try_roll()
            had_spare = self._spare
            if not begun:
                self._keep(ended, at)
            elif not (had_spare and self._append(ended, begun, at)):
                kept = self._keep(ended, at)
                self._begin_again(begun, worth_it=kept and not had_spare)
            if begun:
                self._full = ""

    def settled(self, slip: Slip, indices: Iterable[int]) -> None:
        """What became of these is committed: their records are not needed any more.

        To be said before any of them may begin again. One that is on a wire is left as it is.
        """
        with self._guard:
            last, counts = slip.last, self._counts
            for index in indices:
                where = last.pop(index, 0)
                if where < 0:
                    counts[-where] -= 1
                elif where:
                    last[index] = where
            self._retire()

    def close(self, *, clean: bool) -> None:
        """Give the lock up. `clean`: nothing that this process intended is without a committed outcome.

        Then the files go away; otherwise they stay as evidence. May be called again.
        """
        with self._guard:
            if clean and self._lock_fd >= 0 and not any(self._counts.values()):
                self._remove_all()
            self._lost = self._lost or "the spool is closed"
            if self._counts:
                self._file.close()
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
            self._lock_fd = -1

    # --- records

    def _append(self, ended: Ends, begun: Begins, at: datetime) -> bool:
        """All in one write, or nothing."""
        now = self._generation
        slips: dict[int, Slip] = {}
        for slip, _, _, _ in ended:
            if slip.declared != now:
                slips[slip.number] = slip
        for slip, _, _ in begun:
            if slip.declared != now:
                slips[slip.number] = slip
        payloads = [lines.declared(slip) for slip in slips.values()]
        if ended:
            payloads.append(lines.ends(ended, at))
        if begun:
            payloads.append(lines.begins(begun))
        if not self._put(payloads):
            return False
        for slip in slips.values():
            slip.declared = now
        for slip, index, _, _ in ended:
            self._moved(slip, index, -now)
        for slip, index, _ in begun:
            self._moved(slip, index, now)
        return True

    def _put(self, payloads: list[bytes]) -> bool:
        """False: nothing was written, and `_full` or `_lost` says why."""
        if self._lost:
            return False
        try:
            self._file.put_all(payloads)
        except SpoolFull as e:
            self._full = self._no_room(e)
            return False
        except SpoolLost as e:
            self._lost = str(e.strerror)
            return False
        return True

    def _moved(self, slip: Slip, index: int, where: int) -> None:
        """The last record of an index is here now; what an older generation says of it does not count."""
        before = slip.last.get(index)
        slip.last[index] = where
        if before is None:
            self._counts[abs(where)] += 1
        elif before != -where:
            self._counts[abs(before)] -= 1
            self._counts[abs(where)] += 1

    # --- a full disk

    def _keep(self, ended: Ends, at: datetime) -> bool:
        if not ended or self._append(ended, (), at):
            return True
        self._spend()
        if self._append(ended, (), at):
            return True
        log.warning("%d replies are not in the spool: %s", len(ended), self.full)
        for slip, index, _, _ in ended:
            if index in slip.last:
                slip.last[index] = -abs(slip.last[index])  # it may be settled nevertheless
        return False

    def _begin_again(self, begun: Begins, *, worth_it: bool) -> None:
        """Begins that found no room: once more, if something can be set aside by now. Else raises `SpoolLost`."""
        if worth_it and not self._lost:
            self._set_aside()
            if self._append((), begun, _NO_ENDS):
                return
        if self._lost:
            raise SpoolLost(errno.EIO, f"nothing can be put on a wire: {self._lost}")
        raise SpoolFull(errno.ENOSPC, f"nothing can be put on a wire: {self._full}")

    def _no_room(self, e: OSError) -> str:
        return f"the spool has no room: {os.strerror(e.errno or 0)}; make some on the disk of {self._base.parent}"

    def _set_aside(self) -> None:
        try:
            fd = os.open(self._path("spare"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if self._spare_bytes:
                    os.posix_fallocate(fd, 0, self._spare_bytes)
            finally:
                os.close(fd)
        except OSError as e:
            self._spend()
            if e.errno not in FULL:
                raise SpoolLost(e.errno, f"{self._path('spare')} cannot be written: {e.strerror}") from None
            self._full = self._no_room(e)
            raise SpoolFull(e.errno, f"nothing can be put on a wire: {self._full}") from None
        self._spare = True

    def _spend(self) -> None:
        self._spare = False
        with contextlib.suppress(OSError):
            os.truncate(self._path("spare"), 0)

    # --- generations

    def _try_roll(self) -> None:
        """Without a new file the old one goes on."""
        try:
            self._roll()
        except OSError as e:
            log.warning("the spool goes on in its old file: %s", e)
            self._roll_at = self._file.size + self._roll_bytes // 4

    def _roll(self) -> None:
        number = self._generation + 1
        new = LineFile(self._path(number), lines.head(self.name, number, sorted(self._counts)))
        if number > 1:
            if not self._put([b"n%d" % number]):
                new.close()
                new.path.unlink()
                raise OSError(errno.ENOSPC, self.full)
            self._file.close()
        self._file, self._generation, self._roll_at = new, number, self._roll_bytes
        self._counts[number] = 0
        self._retire()

    def _retire(self) -> None:
        """Removes what is settled. That is said in the file that goes on, before: else it would be missed."""
        for number in [n for n, count in self._counts.items() if not count and n != self._generation]:
            if not self._put([b"r%d" % number]):
                return
            del self._counts[number]
            self._path(number).unlink(missing_ok=True)

    # --- files

    def _path(self, part: str | int) -> Path:
        return self._base.with_name(f"{self._base.name}.{part}")

    def _remove_all(self) -> None:
        for part in [*map(str, self._counts), "spare", "lock"]:
            self._path(part).unlink(missing_ok=True)
