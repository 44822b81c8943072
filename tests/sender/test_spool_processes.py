"""The spool of real processes: killed, suspended, out of room."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from sender.journal.spool_dead import Evidence, boot_id, read_dead

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sender.journal.spool import Spool, SpoolFull
from sender.smtp.outcomes import Outcome

END = Outcome("accepted", 250, "2.0.0", "Ok: queued as 4Xy " + "x" * 100, "4Xy")
spool = Spool.create(Path(sys.argv[1]), roll_bytes=int(sys.argv[2]), spare_bytes=int(sys.argv[3]))
slip = spool.permit("c", 7, 0, "main:1")
settled_to = int(sys.argv[4])
say = lambda *words: print(*words, flush=True)
say(spool.name)
sys.stdin.readline()
index = 0
full = False
while True:
    try:
        spool.write([(slip, index - 1, 1, END)] if index and not full else [], [(slip, index, 1)], datetime.now(UTC))
    except SpoolFull:
        if not full:
            say("full", index)
        full = True
        sys.stdin.readline()
        continue
    if full:
        say("again", index)
    full = False
    index += 1
    if index % 50 == 0:
        say(index)
        if settled_to:
            spool.settled(slip, range(max(0, index - 500), index - 100))
"""


class Writer:
    """A process that begins and ends one message after the other, and says how far it is."""

    def __init__(self, directory: Path, roll: int = 4 << 20, spare: int = 0, settle: int = 0) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(directory), str(roll), str(spare), str(settle)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self._last = "0"
        self.name = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line:
            self._last = line
        return line

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> int:
        """Kills it and returns how many messages it had surely begun by what it said."""
        self.process.kill()
        while self.line():
            pass
        self.process.wait()
        return int(self._last.split()[-1])

    def evidence(self) -> Evidence | None:
        return read_dead(self.directory, self.name, boot_id())


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    started: list[Writer] = []
    yield started
    for writer in started:
        writer.process.kill()
        writer.process.wait()
        for pipe in (writer.process.stdin, writer.process.stdout):
            if pipe is not None:
                pipe.close()


def states(found: Evidence, upto: int) -> list[str]:
    return [found.of("c", 7, i, 0).state for i in range(upto)]


def test_of_a_process_killed_while_it_writes_only_one_message_is_in_doubt(
    tmp_path: Path, writers: list[Writer]
) -> None:
    for turn in range(8):
        writer = Writer(tmp_path, roll=30_000)
        writers.append(writer)
        writer.go()
        for _ in range(3 + turn):
            writer.line()
        time.sleep(0.0007 * turn)  # at another point of the loop each time
        began = writer.kill()
        found = writer.evidence()
        assert found is not None
        assert not found.damage
        seen = states(found, began + 100_000)
        ended = seen.count("ended")
        assert ended + 1 >= began
        assert seen[: ended + 2] in (["ended"] * ended + ["begun", "never"], ["ended"] * ended + ["never"] * 2)
        assert set(seen[ended + 1 :]) == {"never"}


def test_what_was_settled_is_not_in_the_spool_of_a_killed_process(tmp_path: Path, writers: list[Writer]) -> None:
    writer = Writer(tmp_path, roll=20_000, settle=1)
    writers.append(writer)
    writer.go()
    for _ in range(60):
        writer.line()
    began = writer.kill()
    found = writer.evidence()
    assert found is not None
    assert not found.damage
    assert states(found, began - 1)[-50:] == ["ended"] * 50
    assert states(found, 1) == ["never"]  # settled and forgotten
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 300_000


def test_the_spool_of_a_suspended_process_is_no_evidence_until_it_is_dead(
    tmp_path: Path, writers: list[Writer]
) -> None:
    writer = Writer(tmp_path)
    writers.append(writer)
    assert writer.evidence() is None
    writer.go()
    writer.line()
    assert writer.evidence() is None
    writer.process.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{writer.process.pid}/stat")
    eventually(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", what="it is suspended")
    assert writer.evidence() is None
    began = writer.kill()
    found = writer.evidence()
    assert found is not None
    assert states(found, began - 1) == ["ended"] * (began - 1)


def test_a_forked_child_that_lives_on_keeps_the_spool_from_being_evidence(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from sender.journal.spool import Spool\n"
        "spool = Spool.create(Path(sys.argv[1])); child = os.fork()\n"
        "if child: print(spool.name, child, flush=True)\n"
        "else: os.close(1)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        name, child = parent.stdout.readline().split()
        parent.kill()
    try:
        assert read_dead(tmp_path, name, boot_id()) is None
    finally:
        os.kill(int(child), signal.SIGKILL)
    eventually(lambda: read_dead(tmp_path, name, boot_id()) is not None, what="the child is dead too")


def test_a_process_that_meets_a_limit_begins_nothing_and_goes_on_when_it_is_lifted(
    tmp_path: Path, writers: list[Writer]
) -> None:
    writer = Writer(tmp_path, roll=1 << 30, spare=1000)
    writers.append(writer)
    resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE, (20_003, 1 << 30))
    writer.go()
    while not (line := writer.line()).startswith("full"):
        assert line
    refused = int(line.split()[1])
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 20_003
    resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    writer.go()
    assert writer.line() == f"again {refused}"
    writer.line()
    began = writer.kill()
    found = writer.evidence()
    assert found is not None
    assert not found.damage
    seen = states(found, began - 1)
    assert seen.pop(refused - 1) in {"begun", "ended"}  # its reply met the limit too
    assert seen == ["ended"] * (began - 2)
