"""A campaign of one's own on Apache Kafka on this machine: init, up, submit --watch, stopped and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import eventually

from streams.brokers.lock import running

RAMPA = [sys.executable, "-m", "console.cli.main"]
PEOPLE = 120


def rampa(directory: Path, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAMPA, *words], cwd=directory, capture_output=True, text=True, timeout=timeout, check=False)


def up(directory: Path) -> subprocess.Popen[bytes]:
    log = directory / "up.log"
    log.write_bytes(b"")
    with log.open("ab") as output:
        process = subprocess.Popen([*RAMPA, "up"], cwd=directory, stdout=output, stderr=subprocess.STDOUT)
    eventually(lambda: b"rampa is up" in log.read_bytes() or process.poll() is not None, 90, log.read_text)
    assert process.poll() is None, log.read_text()
    return process


def down(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def kill_the_broker(directory: Path) -> None:
    """SIGKILL, a start that ends at once (no jars), and wait until `up` has started it again."""
    place = directory / "var" / "kafka-local"
    before = running(place)
    assert before is not None
    jars, aside = directory / "home" / "libs", directory / "home" / "aside"
    said = (directory / "up.log").read_text
    jars.rename(aside)
    jars.mkdir()
    (jars / "pom.xml").write_bytes((aside / "pom.xml").read_bytes())
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: said().count("could not be started again") > 1, 60, said)
    assert "The broker ended while it was starting" in said()
    assert "ClassNotFoundException" in said()
    shutil.rmtree(jars)
    aside.rename(jars)

    def again() -> bool:
        now = running(place)
        return now is not None and now.pid != before.pid

    eventually(again, 60, said)
    eventually(lambda: rampa(directory, "doctor").returncode == 0, 60, (directory / "up.log").read_text)


@pytest.mark.apache
@pytest.mark.timeout(300)
def test_a_campaign_survives_a_stop_and_a_start_in_the_middle(
    tmp_path: Path, kafka_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "libs").symlink_to(kafka_home / "libs")
    monkeypatch.setenv("RAMPA_KAFKA_HOME", str(home))
    assert rampa(tmp_path, "init").returncode == 0
    settings = (tmp_path / "rampa.toml").read_text().replace('bootstrap = "embedded"', 'bootstrap = "local"')
    settings = settings.replace('path = "var/mail"', 'path = "var/mail"\nrate = "20/s"').replace("= 12 ", "= 4 ")
    (tmp_path / "rampa.toml").write_text(settings)
    people = "".join(f"p{i}@correo.example,P{i},{i}\n" for i in range(PEOPLE))
    (tmp_path / "clients.csv").write_text("email,first_name,amount\n" + people)
    inbox = tmp_path / "var" / "mail" / "new"

    first = up(tmp_path)
    try:
        second = rampa(tmp_path, "up")
        assert second.returncode == 1
        assert "already up" in second.stderr
        submitted = rampa(tmp_path, "campaign", "submit", "campaign.json", "--json")
        campaign_id = json.loads(submitted.stdout)["campaign_id"]
        eventually(lambda: inbox.exists() and len(list(inbox.iterdir())) > 10, 60, submitted.stderr)
    finally:
        down(first)
    between = len(list(inbox.iterdir()))
    assert 10 < between < PEOPLE
    assert "rampa up" in rampa(tmp_path, "campaign", "status", campaign_id).stderr

    again = up(tmp_path)
    try:
        watched = rampa(tmp_path, "campaign", "watch", campaign_id)
        assert watched.returncode == 0, watched.stderr
        status = json.loads(rampa(tmp_path, "campaign", "status", campaign_id, "--json").stdout)
        assert (status["state"], status["accepted"], status["in_doubt"]) == ("completed", PEOPLE, 0)
        resubmitted = rampa(tmp_path, "campaign", "submit", "campaign.json")
        assert "changes nothing" in resubmitted.stdout
        fates = rampa(tmp_path, "campaign", "recipients", campaign_id, "--json").stdout.splitlines()
        assert {json.loads(line)["state"] for line in fates} == {"accepted"}
        assert len(fates) == PEOPLE
        assert rampa(tmp_path, "doctor").returncode == 0
        kill_the_broker(tmp_path)
        request = json.loads((tmp_path / "campaign.json").read_text())
        rows = [{"email": f"later{i}@correo.example", "first_name": "L", "amount": 1} for i in range(3)]
        request |= {"campaign_id": "later", "recipients": {"inline": rows}}
        (tmp_path / "later.json").write_text(json.dumps(request))
        later = rampa(tmp_path, "campaign", "submit", "later.json", "--watch")
        assert "completed" in later.stdout, later.stdout + later.stderr + (tmp_path / "up.log").read_text()
    finally:
        down(again)
    names = [file.name for file in inbox.iterdir()]
    assert len(names) == PEOPLE + 3
    addressed = {line for f in inbox.iterdir() for line in f.read_text().splitlines() if line.startswith("To:")}
    assert len(addressed) == PEOPLE + 3
