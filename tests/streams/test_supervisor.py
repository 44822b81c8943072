"""The supervisor: pure decisions by values, the rest with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import eventually

from streams import supervisor as supervisor_module
from streams.restarts import Policy, decide, describe_end
from streams.supervisor import Child, Supervisor

FAST = Policy(first_delay=0.01, longest_delay=0.05, healthy_after=60)


def python(name: str, code: str, *args: str) -> Child:
    return Child(name, [sys.executable, "-u", "-c", code, *args])


SLEEPER = "import time; print('up'); time.sleep(60)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"


def test_each_short_life_doubles_the_wait_up_to_the_longest() -> None:
    failures, delays = 0, []
    for _ in range(10):
        decision = decide(failures, 1.0)
        failures = decision.failures
        delays.append(decision.delay)
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_long_life_forgets_the_short_ones_before_it() -> None:
    assert decide(9, 59.9).delay == 30.0
    assert (decide(9, 60.0).delay, decide(9, 60.0).failures) == (0.2, 1)


def test_the_fifth_short_life_in_a_row_is_reported_once() -> None:
    assert [n + 1 for n in range(20) if decide(n, 1.0).report] == [5]


@given(st.integers(0, 10**9), st.floats(0, 1e9))
def test_the_wait_is_always_within_its_bounds(failures: int, lived: float) -> None:
    assert 0.2 <= decide(failures, lived).delay <= 30.0


@pytest.mark.parametrize(
    ("code", "words"), [(3, "exit status 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    assert describe_end(code) == words


def test_a_worker_that_ends_is_started_again_and_its_output_kept(tmp_path: Path) -> None:
    with Supervisor([python("w", "print('hello'); raise SystemExit(3)")], tmp_path, policy=FAST) as supervisor:
        eventually(lambda: supervisor.status()[0].starts >= 3)
        assert supervisor.status()[0].last_end == "exit status 3"
    assert (tmp_path / "w.log").read_text().splitlines()[:2] == ["hello", "hello"]


def test_a_killed_worker_comes_back_under_another_pid(tmp_path: Path) -> None:
    with Supervisor([python("w", SLEEPER)], tmp_path, policy=FAST) as supervisor:
        first = supervisor.status()[0]
        assert first.state == "running"
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: supervisor.status()[0].pid not in {None, first.pid})
        assert supervisor.status()[0].last_end == "killed by SIGKILL"


def test_one_that_ends_five_times_is_reported_with_its_last_words(tmp_path: Path) -> None:
    said: list[str] = []
    child = python("gate-1", "print('no such broker'); raise SystemExit(4)")
    with Supervisor([child], tmp_path, policy=FAST, report=said.append) as supervisor:
        eventually(lambda: said)
        eventually(lambda: supervisor.status()[0].starts > 6)
    assert len(said) == 1
    assert "gate-1 ended 5 times in a row" in said[0]
    assert "exit status 4" in said[0]
    assert said[0].endswith("no such broker")


def test_a_program_that_does_not_exist_is_named_in_its_log(tmp_path: Path) -> None:
    with Supervisor([Child("w", ["no-such-program"])], tmp_path, policy=FAST) as supervisor:
        eventually(lambda: supervisor.status()[0].starts >= 2)
    assert "cannot start no-such-program: No such file" in (tmp_path / "w.log").read_text()
    assert supervisor.status()[0].state == "stopped"


def test_workers_stop_in_reverse_order_and_each_may_finish(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit());\n"
        "print('up')\n"
        "try: time.sleep(60)\n"
        "finally:\n time.sleep(0.1); open(sys.argv[1], 'a').write(sys.argv[2])"
    )
    order = tmp_path / "order"
    children = [python(name, code, str(order), name) for name in "abc"]
    supervisor = Supervisor(children, tmp_path)
    supervisor.start()
    for name in "abc":
        eventually(lambda name=name: "up" in (tmp_path / f"{name}.log").read_text())  # type: ignore[misc]
    supervisor.stop()
    assert order.read_text() == "cba"
    assert [s.state for s in supervisor.status()] == ["stopped"] * 3


def test_one_that_ignores_sigterm_is_killed_after_its_deadline(tmp_path: Path) -> None:
    supervisor = Supervisor([python("w", DEAF)], tmp_path, stop_timeout=0.3)
    supervisor.start()
    eventually(lambda: "up" in (tmp_path / "w.log").read_text())
    supervisor.stop()
    assert supervisor.status()[0].last_end == "killed by SIGKILL"


FINISHES = """
import os, signal, sys, time
asked = []
signal.signal(15, lambda *_: asked.append(1))
print('up')
while not asked: time.sleep(0.01)
end = time.monotonic() + float(sys.argv[1])
from streams.finishing import Finishing
finishing = Finishing()
while time.monotonic() < end:
    finishing.tell(3)
    time.sleep(0.05)
"""


def test_one_that_says_that_it_still_finishes_may_take_longer_than_its_deadline(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    child = python("w", FINISHES, "4")
    supervisor = Supervisor([child], tmp_path, stop_timeout=2, finishing=lambda *words: told.append(words))
    supervisor.start()
    eventually(lambda: "up" in (tmp_path / "w.log").read_text())
    supervisor.stop()
    assert supervisor.status()[0].last_end == describe_end(0)
    assert told == [("w", 3)]
    assert not (tmp_path / "w.finishing").exists()


def test_in_a_hurry_one_that_still_finishes_is_killed(tmp_path: Path) -> None:
    told: list[str] = []
    supervisor = Supervisor([python("w", FINISHES, "60")], tmp_path, finishing=lambda name, _: told.append(name))
    supervisor.start()
    eventually(lambda: "up" in (tmp_path / "w.log").read_text())
    supervisor.request_stop()
    eventually(lambda: told)
    supervisor.hurry()
    assert supervisor.wait(10)
    assert supervisor.status()[0].last_end == "killed by SIGKILL"


def test_asking_twice_for_the_end_does_not_wait_for_deadlines(tmp_path: Path) -> None:
    supervisor = Supervisor([python("w", DEAF)], tmp_path, stop_timeout=60)
    supervisor.start()
    eventually(lambda: "up" in (tmp_path / "w.log").read_text())
    supervisor.request_stop()
    assert not supervisor.wait(0.3)
    supervisor.request_stop()
    assert supervisor.wait(10)


def test_lines_are_echoed_with_the_workers_name_when_asked(tmp_path: Path) -> None:
    (tmp_path / "w.log").write_text("from an earlier run\n")
    lines: list[str] = []
    with Supervisor([python("w", SLEEPER)], tmp_path, echo=lines.append):
        eventually(lambda: lines)
    assert lines == ["w | up"]


def test_a_long_log_is_put_aside_while_its_worker_writes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_LOG_LIMIT", 20_000)
    code = "import time\nfor n in range(10**6): print(n, 'x' * 100); time.sleep(0.001)"
    lines: list[str] = []
    log, aside = tmp_path / "w.log", tmp_path / "w.log.1"
    with Supervisor([python("w", code)], tmp_path, echo=lines.append) as supervisor:
        eventually(aside.exists)
        assert aside.read_text().startswith("0 xxx")
        eventually(lambda: not aside.read_text().startswith("0 xxx"), what="it is put aside again")
        assert log.stat().st_size < 10 * 20_000
        assert supervisor.status()[0].starts == 1
    assert int(lines[-1].split()[2]) > 300, "what comes after is still echoed"


def test_workers_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from streams.supervisor import *\n"
        "s = Supervisor([Child('w', ['sleep', '60'])], pathlib.Path(sys.argv[1]))\n"
        "s.start(); print(s.status()[0].pid, flush=True); s.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    eventually(lambda: not lives(pid), what="the worker is gone")


def lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", ["s.run()", "import asyncio; asyncio.run(s.serve())"])
def test_sigterm_ends_it_and_all_its_workers(tmp_path: Path, how: str) -> None:
    code = (
        "import sys, pathlib; from streams.supervisor import *\n"
        f"s = Supervisor([Child('w', [sys.executable, '-u', '-c', {SLEEPER!r}])], pathlib.Path(sys.argv[1]))\n{how}"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as parent:
        eventually(lambda: (tmp_path / "w.log").exists() and "up" in (tmp_path / "w.log").read_text())
        parent.terminate()
        assert parent.wait(10) == 0


def test_cancelling_serve_stops_the_workers(tmp_path: Path) -> None:
    supervisor = Supervisor([python("w", SLEEPER)], tmp_path)

    async def main() -> None:
        task = asyncio.create_task(supervisor.serve())
        await asyncio.to_thread(eventually, lambda: supervisor.status()[0].state == "running")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert supervisor.status()[0].state == "stopped"


def test_a_log_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, not a directory")
    with pytest.raises(OSError, match="logs"):
        Supervisor([python("w", SLEEPER)], tmp_path / "logs").start()
