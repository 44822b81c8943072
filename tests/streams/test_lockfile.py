"""A file that one process holds at a time, and what it tells of itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams import lockfile
from streams.errors import LockTaken

HOLDER = (
    "import pathlib, sys; from streams import lockfile;"
    "lockfile.take(pathlib.Path(sys.argv[1])).note('it is me'); print('held', flush=True); sys.stdin.read()"
)


def test_one_process_holds_it_and_says_who_it_is_until_it_dies(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "some.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert lockfile.holders_note(file) == "it is me"
        with pytest.raises(LockTaken, match=r"some\.lock is held") as refused:
            lockfile.take(file)
        assert refused.value.note == "it is me"
        holder.kill()
        holder.wait()
    assert lockfile.holders_note(file) is None
    lockfile.take(file).release()


def test_whoever_only_looks_takes_nothing_and_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "some.lock"
    assert lockfile.holders_note(file) is None
    assert not file.exists()
    held = lockfile.take(file)
    assert lockfile.holders_note(file) == ""
    held.release()
    held.release()
    assert lockfile.holders_note(file) is None


def test_a_new_note_replaces_a_longer_one_of_whoever_was_there_before(tmp_path: Path) -> None:
    file = tmp_path / "some.lock"
    before = lockfile.take(file)
    before.note("a long story")
    before.release()
    lockfile.take(file).note("short")
    assert lockfile.holders_note(file) == "short"


def test_it_is_waited_for_as_long_as_asked_and_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "some.lock"
    lockfile.take(file)
    began = time.monotonic()
    with pytest.raises(LockTaken):
        lockfile.take(file, 0.3)
    assert time.monotonic() - began >= 0.3
