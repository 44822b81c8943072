"""Apache Kafka's jars and the Java that runs them.

Maven fetches what the `pom.xml` beside this file pins into `HOME/libs`, once. HOME is `.kafka` in the
project (or in the working directory when rampa is installed elsewhere), or what `RAMPA_KAFKA_HOME` says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from streams.errors import BrokerNotInstalled

POM = Path(__file__).with_name("pom.xml")
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_JAVA_NEEDED = 17
_OTHERWISE = 'Or name a cluster in kafka.bootstrap, or "embedded" for trying things out.'


def default_home() -> Path:
    """Where the jars are, unless somebody says otherwise."""
    if named := os.environ.get("RAMPA_KAFKA_HOME"):
        return Path(named).expanduser()
    project = Path(__file__).parents[2]
    return (project if (project / "pyproject.toml").is_file() else Path.cwd()) / ".kafka"


def have_jars(home: Path) -> bool:
    """Whether the jars that `pom.xml` asks for were fetched completely."""
    marker = home / "libs" / POM.name
    return marker.is_file() and marker.read_bytes() == POM.read_bytes()


def fetch(home: Path, timeout: float = 900.0) -> Path:
    """Have the jars in `home/libs` (44 MB, half a minute the first time) and return that directory.

    They are fetched beside it and moved into place when complete. Raises BrokerNotInstalled.
    """
    libs = home / "libs"
    if have_jars(home):
        return libs
    find_java()
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerNotInstalled(
            "Apache Kafka's jars are fetched by Maven, and there is no `mvn` on the PATH. Install it (Debian: "
            f"apt-get install maven), or set RAMPA_KAFKA_HOME to a directory that has libs/. {_OTHERWISE}"
        )
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=home) as work:
        _run_maven(maven, Path(work), timeout)
        shutil.copyfile(POM, Path(work) / "libs" / POM.name)
        shutil.rmtree(libs, ignore_errors=True)
        (Path(work) / "libs").rename(libs)
    return libs


def _run_maven(maven: str, work: Path, timeout: float) -> None:
    shutil.copyfile(POM, work / POM.name)
    command = [
        maven, "-q", "-B", "-f", str(work / POM.name), _PLUGIN,
        f"-DoutputDirectory={work / 'libs'}", "-DincludeScope=runtime",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise BrokerNotInstalled(
            f"Maven did not fetch Apache Kafka's jars within {timeout:g} s. Check the network and try again."
        ) from None
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise BrokerNotInstalled(
            f"Maven could not fetch Apache Kafka's jars (exit status {done.returncode}). Check the network and "
            f"Maven's settings, then try again (make kafka). {_OTHERWISE} Maven says:\n{words}"
        )


def classpath(home: Path) -> str:
    """Java's class path for the broker. Raises BrokerNotInstalled when the jars were not fetched."""
    if not have_jars(home):
        raise BrokerNotInstalled(
            f"Apache Kafka's jars are not in {home / 'libs'}. Fetch them with `make kafka` (or `python -m "
            f"streams.brokers.local fetch`), or set RAMPA_KAFKA_HOME to where they are. {_OTHERWISE}"
        )
    return f"{home / 'libs'}/*"


def find_java() -> str:
    """The `java` of JAVA_HOME or of the PATH, version 17 or newer. Raises BrokerNotInstalled."""
    java_home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(java_home) / "bin")) if java_home else None
    java = java or shutil.which("java")
    install = f"Install Java {_JAVA_NEEDED} (Debian: apt-get install openjdk-17-jre-headless). {_OTHERWISE}"
    if java is None:
        raise BrokerNotInstalled(f"Apache Kafka needs Java, and there is no `java` on the PATH. {install}")
    version = java_version(subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr)
    if version is None or version < _JAVA_NEEDED:
        raise BrokerNotInstalled(
            f"Apache Kafka needs Java {_JAVA_NEEDED} or newer; {java} is {version or 'unusable'}. {install}"
        )
    return java


def java_version(text: str) -> int | None:
    """The feature version in what `java -version` prints: 17 of `17.0.15`, 8 of `1.8.0_292`."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None
