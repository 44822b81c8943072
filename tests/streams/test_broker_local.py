"""Apache Kafka on this machine: durable, alone on its data directory, and clear about what it lacks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually

from streams.brokers import jars, local
from streams.brokers.child import last_words
from streams.brokers.local import QUICK, LocalBroker
from streams.brokers.lock import running
from streams.clients import Kafka, Record, produce_all
from streams.errors import BrokerAlreadyRunning, BrokerNotInstalled, BrokerStartFailed
from streams.process import free_port


def values(kafka: Kafka, topic: str, count: int) -> list[bytes | None]:
    from confluent_kafka import TopicPartition

    consumer = kafka.consumer("reader", auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0, 0)])
    seen: list[bytes | None] = []
    end = time.monotonic() + 20
    while len(seen) < count and time.monotonic() < end:
        seen += [m.value() for m in consumer.consume(500, 0.2) if not m.error()]
    consumer.close()
    return seen


@pytest.mark.apache
def test_acknowledged_records_survive_kill_9_and_a_second_broker_is_refused(kafka_home: Path, tmp_path: Path) -> None:
    from confluent_kafka.cimpl import NewTopic

    broker = LocalBroker(tmp_path, home=kafka_home, jvm_options=QUICK)
    try:
        kafka = broker.start()
        admin = kafka.admin()
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result()
        produce_all(kafka.producer(), [Record("kept", b"%d" % n) for n in range(1000)])
        found = running(tmp_path)
        assert found is not None
        assert (found.pid, found.bootstrap) == (broker.pid, broker.bootstrap)
        with pytest.raises(BrokerAlreadyRunning, match=f"process {broker.pid}, at 127.0.0.1"):
            LocalBroker(tmp_path, home=kafka_home).start()
        broker.kill()
        assert running(tmp_path) is None
        again = broker.start()
        assert again.bootstrap == kafka.bootstrap, "clients that reconnect find it where it was"
        assert values(again, "kept", 1000) == [b"%d" % n for n in range(1000)]
    finally:
        broker.stop()


@pytest.mark.apache
def test_it_dies_with_the_process_that_started_it(kafka_home: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from streams.brokers.local import *;"
        "b = LocalBroker(pathlib.Path(sys.argv[1]), home=pathlib.Path(sys.argv[2]), jvm_options=QUICK);"
        "b.start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(kafka_home)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        assert running(tmp_path) is not None
        parent.kill()
    eventually(lambda: running(tmp_path) is None, what="the broker is gone")


@pytest.mark.apache
def test_a_port_that_is_taken_is_named(kafka_home: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerStartFailed, match=f"Port {port} .* is taken"):
            LocalBroker(tmp_path, port, home=kafka_home).start()
    assert running(tmp_path) is None


def test_jars_that_were_not_fetched_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BrokerNotInstalled, match="make kafka"):
        jars.classpath(tmp_path)


def test_jars_of_another_version_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "pom.xml").write_text("<project/>")
    assert not jars.have_jars(tmp_path)
    (tmp_path / "libs" / "pom.xml").write_bytes(jars.POM.read_bytes())
    assert jars.have_jars(tmp_path)


def fake(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of our own, without Java and Maven."""
    bare = tmp_path / "bin"
    bare.mkdir()
    monkeypatch.setenv("PATH", str(bare))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return bare


def test_a_machine_without_java_is_told_so(bare_path: Path) -> None:
    with pytest.raises(BrokerNotInstalled, match=r"no `java` on the PATH.*openjdk-17"):
        jars.find_java()


def test_an_old_java_is_named_with_its_version(bare_path: Path) -> None:
    fake(bare_path, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    with pytest.raises(BrokerNotInstalled, match=r"needs Java 17 or newer; .*/java is 11"):
        jars.find_java()


def test_a_machine_without_maven_is_told_so(bare_path: Path, tmp_path: Path) -> None:
    fake(bare_path, "java", "echo 'openjdk version \"17.0.2\"' >&2")
    with pytest.raises(BrokerNotInstalled, match="no `mvn` on the PATH"):
        jars.fetch(tmp_path / "home")


def test_what_maven_says_is_shown_and_nothing_half_fetched_stays(bare_path: Path, tmp_path: Path) -> None:
    fake(bare_path, "java", "echo 'openjdk version \"17.0.2\"' >&2")
    fake(bare_path, "mvn", "echo 'Could not resolve host'; exit 1")
    with pytest.raises(BrokerNotInstalled, match=r"(?s)exit status 1.*Could not resolve host"):
        jars.fetch(tmp_path / "home")
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize(
    ("text", "version"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "1.8.0_292"', 8), ("", None)],
)  # fmt: skip
def test_javas_version_is_read(text: str, version: int | None) -> None:
    assert jars.java_version(text) == version


def test_the_home_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAMPA_KAFKA_HOME", str(tmp_path))
    assert jars.default_home() == tmp_path


def test_the_broker_listens_on_loopback_only() -> None:
    settings = dict(
        line.split("=", 1) for line in local.server_properties(1, 2).splitlines() if "=" in line and line[0] != "#"
    )
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert settings["auto.create.topics.enable"] == "false"


def test_a_cluster_id_is_22_characters_and_never_reads_as_an_option() -> None:
    ids = {local.new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert {len(i) for i in ids} == {22}
    assert not any(i.startswith("-") for i in ids)


def test_status_of_a_directory_without_a_broker_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert local.main(["status", "--data", str(tmp_path), "--home", str(tmp_path)]) == 1
    assert "no broker runs" in capsys.readouterr().out
    assert local.main(["stop", "--data", str(tmp_path), "--home", str(tmp_path)]) == 0
    assert local.main(["start", "--data", str(tmp_path), "--home", str(tmp_path), "--port", str(free_port())]) == 1
    assert "Fetch them" in capsys.readouterr().err


def test_of_a_log_the_lines_that_say_of_trouble_are_shown() -> None:
    log = "started\nERROR it is broken\njava.io.IOException: disk\n\tat kafka.X\nWARN more\n"
    assert last_words(log) == "ERROR it is broken\njava.io.IOException: disk\nWARN more"
    assert last_words("one\ntwo\n", 1) == "two"
    assert last_words("") == "(nothing)"
