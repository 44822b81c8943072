"""The spool's files: generations, a full disk, evidence."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sender.journal.spool import Slip, Spool, SpoolEnd, SpoolFull, SpoolLost
from sender.journal.spool_dead import Evidence, Fate, boot_id, read_dead, sweep
from sender.journal.spool_evidence import read
from sender.smtp.outcomes import Outcome

NOW = datetime(2026, 2, 2, 9, 0, tzinfo=UTC)
TAKEN = SpoolEnd("accepted", NOW, 1, 250, "2.0.0", "", "Ok: queued as 4Xy", "4Xy")
LATER = TAKEN._replace(kind="transient", code=451)
TOOK = Outcome("accepted", 250, "2.0.0", "Ok: queued as 4Xy", "4Xy")
NOT_YET = replace(TOOK, kind="transient", code=451)
REPLIES = {TAKEN: TOOK, LATER: NOT_YET}
"""What a server says, by what a dead spool says of it."""


class Disk:
    """A directory that holds so many bytes: writes beyond are cut, as a full disk cuts them."""

    def __init__(self, directory: Path, room: int = 1 << 30) -> None:
        self.directory = directory
        self.room = room
        self._write, self._allocate = os.write, os.posix_fallocate

    def used(self) -> int:
        return sum(file.stat().st_size for file in self.directory.iterdir())

    def write(self, fd: int, data: bytes) -> int:
        left = max(0, self.room - self.used())
        if data and not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(fd, data[:left])

    def allocate(self, fd: int, offset: int, length: int) -> None:
        if self.used() - os.fstat(fd).st_size + length > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._allocate(fd, offset, length)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", self.write)
            patch.setattr(os, "posix_fallocate", self.allocate)
            yield


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    with disk.in_place():
        yield disk


def evidence(directory: Path, spool: Spool) -> Evidence:
    found = read_dead(directory, spool.name, boot_id())
    assert found is not None
    return found


def generations(directory: Path) -> list[int]:
    return sorted(int(f.suffix[1:]) for f in directory.iterdir() if f.suffix[1:].isdigit())


def test_a_dead_process_tells_what_it_had_begun(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    slip, other = spool.permit("c", 7, 0, "main:1"), spool.permit("c", 8, 1, "main:2")
    spool.begin(slip, 0)
    spool.begin(slip, 1, tries=2)
    spool.end(slip, 0, 1, TOOK, NOW)
    spool.write([(slip, 1, 1, NOT_YET)], [(other, 0, 1), (slip, 2, 1)], NOW)
    spool.close(clean=False)
    found = evidence(tmp_path, spool)
    assert found.of("c", 7, 0, 0) == Fate("ended", 1, TAKEN)
    assert found.of("c", 7, 1, 0) == Fate("ended", 1, LATER)
    assert found.of("c", 7, 2, 0).state == found.of("c", 8, 0, 1).state == "begun"
    assert found.of("c", 8, 0, 0).state == found.of("c", 7, 3, 0).state == "never"


def test_a_spool_that_was_closed_in_order_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    slip = spool.permit("c", 7, 0, "main:1")
    spool.begin(slip, 0)
    spool.end(slip, 0, 1, TOOK, NOW)
    spool.settled(slip, [0])
    spool.close(clean=True)
    spool.close(clean=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpoolLost, match="closed"):
        spool.begin(slip, 1)


def test_files_stay_while_something_in_them_is_not_settled(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    slip = spool.permit("c", 7, 0, "main:1")
    spool.begin(slip, 0)
    spool.close(clean=True)
    assert evidence(tmp_path, spool).of("c", 7, 0, 0).state == "begun"


def test_two_spools_have_two_names(tmp_path: Path) -> None:
    one, two = Spool.create(tmp_path), Spool.create(tmp_path)
    assert one.name != two.name
    one.close(clean=False)
    assert read_dead(tmp_path, two.name, boot_id()) is None
    assert read_dead(tmp_path, one.name, boot_id()) is not None
    two.close(clean=True)
    one.close(clean=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_several_may_read_a_spool_at_once_and_again(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.close(clean=False)
    assert evidence(tmp_path, spool) == evidence(tmp_path, spool)


@pytest.mark.parametrize("name", ["nothing", "nothing@boot", "", "@", "../../etc/x@boot", "*@boot"])
def test_a_name_that_is_none_of_this_boot_is_no_evidence(tmp_path: Path, name: str) -> None:
    spool = Spool.create(tmp_path)
    spool.close(clean=False)
    assert read_dead(tmp_path, name, "boot") is None
    assert read_dead(tmp_path, spool.name, "another-boot") is None
    assert read_dead(tmp_path, spool.name.partition("@")[0] + "@another-boot", boot_id()) is None


def test_without_its_files_a_spool_is_no_evidence(tmp_path: Path) -> None:
    for suffix in ("1", "lock"):
        spool = Spool.create(tmp_path)
        spool.close(clean=False)
        (tmp_path / f"{spool.name.partition('@')[0]}.{suffix}").unlink()
        found = read_dead(tmp_path, spool.name, boot_id())
        assert found is None if suffix == "lock" else found is not None and found.damage
        assert found is None or found.of("c", 1, 0, 0).state == "begun"  # nobody can tell


def test_twenty_thousand_messages_leave_a_small_spool(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, roll_bytes=20_000, spare_bytes=0)
    most = 0
    for batch in range(200):
        slip = spool.permit("c", batch, 0, f"main:{batch}")
        for start in range(0, 100, 10):
            spool.write([], [(slip, i, 1) for i in range(start, start + 10)], NOW)
            spool.write([(slip, i, 1, TOOK) for i in range(start, start + 10)], [], NOW)
            spool.settled(slip, range(start, start + 10))
        assert slip.last == {}
        most = max(most, sum(f.stat().st_size for f in tmp_path.iterdir()))
    assert most < 2 * 20_000
    assert len(generations(tmp_path)) == 1
    spool.close(clean=True)


def test_a_generation_stays_while_one_message_of_it_is_open(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, roll_bytes=500)
    old, new = spool.permit("c", 1, 0, "main:1"), spool.permit("c", 2, 0, "main:2")
    spool.begin(old, 0)
    for i in range(100):
        spool.begin(new, i)
        spool.end(new, i, 1, TOOK, NOW)
        spool.settled(new, [i])
    assert generations(tmp_path)[0] == 1
    assert len(generations(tmp_path)) == 2
    spool.settled(old, [0])  # it is on a wire: that cannot be
    assert generations(tmp_path)[0] == 1
    spool.end(old, 0, 1, TOOK, NOW)
    spool.settled(old, [0, 0, 99])
    assert len(generations(tmp_path)) == 1
    spool.close(clean=True)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_what_would_begin_and_keeps_what_ends(tmp_path: Path, disk: Disk) -> None:
    spool = Spool.create(tmp_path, spare_bytes=10_000)
    slip = spool.permit("c", 7, 0, "main:1")
    for i in range(30):
        spool.begin(slip, i)
    disk.room = disk.used() + 5  # half a line
    assert spool.full == ""
    with pytest.raises(SpoolFull, match="make some on the disk"):
        spool.begin(slip, 30)
    assert "No space left" in spool.full
    for i in range(30):
        spool.end(slip, i, 1, TOOK, NOW)
    with pytest.raises(SpoolFull):
        spool.write([], [(slip, 31, 1)], NOW)
    disk.room = 1 << 30
    spool.begin(slip, 32)
    assert spool.full == ""
    spool.close(clean=False)
    found = evidence(tmp_path, spool)
    assert not found.damage
    assert [found.of("c", 7, i, 0).state for i in range(33)] == ["ended"] * 30 + ["never", "never", "begun"]


def test_ends_that_come_with_begins_are_kept_when_there_is_no_room_for_begins(tmp_path: Path, disk: Disk) -> None:
    spool = Spool.create(tmp_path, spare_bytes=10_000)
    slip = spool.permit("c", 7, 0, "main:1")
    spool.begin(slip, 0)
    disk.room = disk.used()
    with pytest.raises(SpoolFull):
        spool.write([(slip, 0, 1, TOOK)], [(slip, 1, 1)], NOW)
    spool.close(clean=False)
    assert evidence(tmp_path, spool).of("c", 7, 0, 0) == Fate("ended", 1, TAKEN)
    assert evidence(tmp_path, spool).of("c", 7, 1, 0).state == "never"


def test_an_end_that_finds_no_room_at_all_leaves_its_message_in_doubt_until_it_is_settled(
    tmp_path: Path, disk: Disk
) -> None:
    spool = Spool.create(tmp_path, roll_bytes=200, spare_bytes=0)
    slip = spool.permit("c", 7, 0, "main:1")
    spool.begin(slip, 0)
    disk.room = disk.used()
    spool.end(slip, 0, 1, TOOK, NOW)
    spool.settled(slip, [0])
    disk.room = 1 << 30
    for i in range(1, 20):
        spool.begin(slip, i)
        spool.end(slip, i, 1, TOOK, NOW)
        spool.settled(slip, [i])
    assert 1 not in generations(tmp_path)
    spool.close(clean=False)


def test_without_room_no_spool_is_made_and_nothing_is_left(tmp_path: Path, disk: Disk) -> None:
    for room in (0, 10, 1000):
        disk.room = room
        with pytest.raises(SpoolFull):
            Spool.create(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_written_for_another_reason_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spool = Spool.create(tmp_path)
    slip = spool.permit("c", 7, 0, "main:1")
    spool.begin(slip, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        with pytest.raises(SpoolLost, match="Input/output error"):
            spool.begin(slip, 1)
        spool.end(slip, 0, 1, TOOK, NOW)
    with pytest.raises(SpoolLost):
        spool.begin(slip, 1)
    assert "Input/output error" in spool.full
    spool.close(clean=False)
    assert evidence(tmp_path, spool).of("c", 7, 0, 0).state == "begun"


def test_spools_go_away_when_they_are_no_evidence_any_more(tmp_path: Path) -> None:
    alive, dead, old, other = (Spool.create(tmp_path) for _ in range(4))
    for spool in (dead, old, other):
        spool.close(clean=False)
    a_year_ago = time.time() - 365 * 86400
    for file in tmp_path.glob(f"{old.name.partition('@')[0]}.*"):
        os.utime(file, (a_year_ago, a_year_ago))
    for file in tmp_path.glob(f"{alive.name.partition('@')[0]}.*"):
        os.utime(file, (a_year_ago, a_year_ago))
    assert sweep(tmp_path, boot_id(), time.time()) == 1
    assert read_dead(tmp_path, old.name, boot_id()) is None
    assert read_dead(tmp_path, dead.name, boot_id()) is not None
    assert sweep(tmp_path, "the-next-boot", time.time()) == 2
    assert {file.stem for file in tmp_path.iterdir()} == {alive.name.partition("@")[0]}
    alive.close(clean=True)


def test_who_sweeps_and_who_reads_do_not_keep_each_other_out(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.close(clean=False)
    with (tmp_path / f"{spool.name.partition('@')[0]}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as either of them holds it
        assert read_dead(tmp_path, spool.name, boot_id()) is not None
        assert sweep(tmp_path, "the-next-boot", time.time()) == 1
    assert list(tmp_path.iterdir()) == []


class SpoolMachine(RuleBasedStateMachine):
    """Against a dict: whatever is begun, ended, settled, however full the disk: the evidence says what happened."""

    @initialize(roll=st.integers(150, 900), spare=st.sampled_from([0, 300, 3000]))
    def start(self, roll: int, spare: int) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.disk = Disk(self.directory)
        with self.disk.in_place():
            self.spool = Spool.create(self.directory, roll_bytes=roll, spare_bytes=spare)
        self.slips: list[Slip] = [self.spool.permit("c", 1, 0, "main:0")]
        self.model: dict[tuple[Slip, int], Any] = {}
        self.ever: set[tuple[Slip, int]] = set()
        self.lost: set[tuple[Slip, int]] = set()
        """Whose end may not have found room."""

    @rule(pick=st.integers(0, 1000), indices=st.lists(st.integers(0, 9), unique=True, max_size=4), data=st.data())
    def write(self, pick: int, indices: list[int], data: st.DataObject) -> None:
        slip = self.slips[pick % len(self.slips)]
        on_wire = [i for i in indices if self.model.get((slip, i)) == "begun"]
        free = [i for i in indices if i not in on_wire and self.model.get((slip, i)) != TAKEN]
        ends = [(slip, i, data.draw(st.sampled_from([TAKEN, LATER]))) for i in on_wire]
        with self.disk.in_place():
            try:
                said = [(slip, i, 1, REPLIES[end]) for slip, i, end in ends]
                self.spool.write(said, [(slip, i, 1) for i in free], NOW)
            except SpoolFull:
                assert free
                assert self.spool.full
                free = []
        for _, i, end in ends:
            self.model[slip, i] = end
            if self.disk.room < 1 << 30:
                self.lost.add((slip, i))
        for i in free:
            self.model[slip, i] = "begun"
            self.ever.add((slip, i))
            self.lost.discard((slip, i))

    @rule(pick=st.integers(0, 1000), index=st.integers(0, 9))
    def one(self, pick: int, index: int) -> None:
        slip = self.slips[pick % len(self.slips)]
        state = self.model.get((slip, index))
        with self.disk.in_place():
            if state == "begun":
                self.spool.end(slip, index, 1, TOOK, NOW)
                self.model[slip, index] = TAKEN
                if self.disk.room < 1 << 30:
                    self.lost.add((slip, index))
            elif state != TAKEN:
                try:
                    self.spool.begin(slip, index)
                except SpoolFull:
                    assert self.disk.room < 1 << 30
                else:
                    self.model[slip, index] = "begun"
                    self.ever.add((slip, index))
                    self.lost.discard((slip, index))

    @rule(pick=st.integers(0, 1000), indices=st.lists(st.integers(0, 9), max_size=6))
    def settle(self, pick: int, indices: list[int]) -> None:
        slip = self.slips[pick % len(self.slips)]
        with self.disk.in_place():
            self.spool.settled(slip, indices)
        for i in indices:
            if self.model.get((slip, i)) != "begun":
                self.model.pop((slip, i), None)
                self.lost.discard((slip, i))

    @rule()
    def another_permit(self) -> None:
        self.slips.append(self.spool.permit("c", len(self.slips) + 1, 0, f"main:{len(self.slips)}"))

    @rule(left=st.integers(0, 400))
    def fill_the_disk(self, left: int) -> None:
        self.disk.room = self.disk.used() + left

    @rule()
    def make_room(self) -> None:
        self.disk.room = 1 << 30

    @precondition(lambda self: hasattr(self, "spool"))
    @invariant()
    def the_evidence_is_true(self) -> None:
        files = [f for f in self.directory.iterdir() if f.suffix[1:].isdigit()]
        found = read({int(f.suffix[1:]): f.read_bytes() for f in files})  # as they would be if it were killed now
        assert not found.damage
        for (slip, index), state in self.model.items():
            fate = found.of(slip.name[0], slip.name[1], index, 0)
            if state == "begun":
                assert fate.state == "begun"
            elif (slip, index) in self.lost:
                assert fate.state == "begun" or fate.end == state
            else:
                assert fate.end == state
        for slip in self.slips:
            for index in range(10):
                if (slip, index) not in self.ever:
                    assert found.of(slip.name[0], slip.name[1], index, 0).state == "never"

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close(clean=False)
            shutil.rmtree(self.directory)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
