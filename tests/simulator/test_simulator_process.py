"""The simulator as a process: starts, records, is killed, dies with its parent."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from simulator_wire import SECONDS

from simulator.errors import StartError
from simulator.process import SimulatorProcess
from simulator.rules import Drop, LimitConnections
from simulator.settings import Settings


def send(provider: SimulatorProcess, number: int) -> None:
    """Mails one message."""
    with smtplib.SMTP(provider.host, provider.port, timeout=SECONDS) as client:
        text = f"Message-ID: <{number}@bore.example>\r\nX-Batch: {number}\r\n\r\nHola\r\n"
        client.sendmail("a@bore.example", [f"user{number}@mailbox.example"], text)


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def test_it_takes_mail_records_it_and_gives_its_figures(tmp_path: Path) -> None:
    rules = [Drop(at="message", when="after", every_connection=2, name="each second")]
    settings = Settings(record_headers=("X-Batch",))
    began = time.time()
    with SimulatorProcess(tmp_path, rules=rules, settings=settings, maildir=True) as provider:
        reader = provider.reader()
        send(provider, 1)
        assert [one.message_id for one in reader.new()] == ["<1@bore.example>"]
        send(provider, 2)  # taken and answered; the stream ends before QUIT is, which smtplib forgives
        assert [one.headers for one in reader.new()] == [{"X-Batch": "2"}]
    assert all(began <= one.time <= time.time() for one in provider.records())
    assert provider.stats["messages"] == 2
    assert provider.stats["rules"] == {"each second": 1}
    assert len(list((provider.maildir_path / "new").iterdir())) == 2


def test_what_was_answered_is_in_the_record_after_sigkill_and_a_new_start_goes_on(tmp_path: Path) -> None:
    provider = SimulatorProcess(tmp_path)
    provider.start()
    port = provider.port
    for number in range(20):
        send(provider, number)
    provider.kill()
    assert len(list(provider.records())) == 20
    with provider:
        assert provider.port == port
        send(provider, 20)
    assert [one.number for one in provider.records()][-2:] == [20, 1]


def test_a_suspended_server_is_silent_and_wakes(tmp_path: Path) -> None:
    with SimulatorProcess(tmp_path) as provider:
        with smtplib.SMTP(provider.host, provider.port, timeout=SECONDS) as client:
            client.ehlo()
            provider.suspend()
            assert client.sock is not None
            client.sock.sendall(b"NOOP\r\n")
            client.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.sock.recv(100)
            provider.wake()
            client.sock.settimeout(SECONDS)
            assert client.sock.recv(100).startswith(b"250")
        provider.suspend()
        assert provider.stop()["connections"] == 1


def test_a_wrong_port_is_an_error_that_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        provider = SimulatorProcess(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(StartError, match="Is the port free"):
            provider.start()
    with pytest.raises(StartError, match="does not run"):
        provider.suspend()


def test_wrong_rules_end_the_command_with_the_place_of_the_error(tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"action": "reject", "at": "nowhere"}]))
    done = subprocess.run(
        [sys.executable, "-m", "simulator", "--rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "rules.json: 0.reject.at" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_alone_is_enough(tmp_path: Path) -> None:
    port_file, record = tmp_path / "port", tmp_path / "record"
    command = [sys.executable, "-m", "simulator", "--port-file", str(port_file), "--record", str(record)]
    command += [
        "--max-connections",
        "1",
        "--user",
        "anna:secret",
        "--require-auth",
        "--chunking",
        "--hostname",
        "mx.example",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        until(port_file.exists)
        port = int(port_file.read_text())
        with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
            assert client.ehlo()[1].startswith(b"mx.example")
            assert client.has_extn("chunking")
            assert client.login("anna", "secret")[0] == 235
            with pytest.raises(smtplib.SMTPConnectError) as caught:
                smtplib.SMTP("127.0.0.1", port, timeout=SECONDS)
            assert caught.value.smtp_code == 421
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert json.loads(output)["peak_connections"] == 2


PARENT = """
import os, sys, time
from pathlib import Path
from simulator.process import SimulatorProcess
provider = SimulatorProcess(Path(sys.argv[1]))
provider.start()
print(provider.pid, flush=True)
time.sleep(600)
"""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        os.kill(parent.pid, signal.SIGKILL)
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_limits_hold_across_the_process_boundary(tmp_path: Path) -> None:
    with (
        SimulatorProcess(tmp_path, rules=[LimitConnections(most=1)], record=False) as provider,
        smtplib.SMTP(provider.host, provider.port, timeout=SECONDS),
        pytest.raises(smtplib.SMTPConnectError),
    ):
        smtplib.SMTP(provider.host, provider.port, timeout=SECONDS)
    assert not provider.record_path.exists()
