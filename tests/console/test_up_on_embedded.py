"""What `rampa init` sets up, and what `up` says when it stops a broker that keeps nothing."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner
from waiting import eventually

from console.cli.main import app
from console.initial import SETTINGS
from streams.settings import load

RAMPA = [sys.executable, "-m", "console.cli.main"]


def test_a_stop_on_embedded_says_that_the_same_request_mails_again(tmp_path: Path) -> None:
    subprocess.run([*RAMPA, "init"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen([*RAMPA, "up"], cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: "rampa is up" in log.read_text() or up.poll() is not None, 60, log.read_text)
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0, log.read_text()
    finally:
        up.kill()
        up.wait()
    said = " ".join(log.read_text().split())
    assert "stopped The embedded broker kept nothing" in said
    assert "submitting the same file again mails again whoever was mailed" in said


def test_the_relay_of_the_simulator_can_be_used_as_it_is_written(tmp_path: Path) -> None:
    found = re.search(r"# \[relays\.try\]\n(?:# .+\n)+", SETTINGS)
    assert found is not None
    (tmp_path / "rampa.toml").write_text(re.sub(r"^# ", "", found[0], flags=re.MULTILINE))
    relay = load(tmp_path / "rampa.toml", {}).relays["try"]
    assert (relay.host, relay.port, relay.tls) == ("127.0.0.1", 2525, "none")


def test_what_is_sent_again_is_said_to_follow_the_pace() -> None:
    for command in ("retry", "resolve"):
        said = CliRunner().invoke(app, ["campaign", command, "--help"]).stdout
        assert "pace and in its windows" in " ".join(said.split())
