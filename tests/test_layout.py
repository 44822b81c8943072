"""Imports go one way, pure modules import no client library, no text names this machine."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "schemas": {"schemas"},
    "streams": {"schemas", "streams"},
    "simulator": {"schemas", "streams", "simulator"},
    "planner": {"schemas", "streams", "planner"},
    "sender": {"schemas", "streams", "sender"},
    "feedback": {"schemas", "streams", "feedback"},
    "console": {"schemas", "streams", "simulator", "planner", "sender", "feedback", "console"},
}
CLIENTS = {"confluent_kafka", "faust", "aiokafka", "boto3", "botocore", "aiosmtplib", "clickhouse_connect"}
PURE = ("schemas/", "planner/strategies/", "planner/plan.py", "planner/resolve.py", "planner/batches.py",
        "planner/addresses.py", "planner/state.py", "sender/gate/core.py", "sender/gate/quota.py", "sender/journal/",
        "sender/message/", "sender/smtp/outcomes.py", "sender/smtp/pace.py",
        "sender/smtp/wire.py", "sender/smtp/replies.py", "sender/smtp/flight.py", "sender/smtp/learned.py",
        "sender/smtp/pipeline.py", "sender/smtp/watch.py", "console/explain.py")  # fmt: skip
FILES = [p for package in MAY_IMPORT for p in sorted((ROOT / package).rglob("*.py"))]


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    package = file.relative_to(ROOT).parts[0]
    assert imported(file) & set(MAY_IMPORT) <= MAY_IMPORT[package]


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_modules_know_no_client_library(file: Path) -> None:
    if str(file.relative_to(ROOT)).startswith(PURE):
        assert not imported(file) & CLIENTS


def test_the_list_of_pure_modules_names_files_that_exist() -> None:
    assert [p for p in PURE if not (ROOT / p).exists()] == []


def test_no_text_names_the_machine_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    words = ("/work" + "/main", "/work" + "/shared", "files." + "pythonhosted", "--index" + "-url http", "/root" + "/")
    named = []
    for name in filter(None, listed.split("\0")):
        file = ROOT / name
        if file.is_file():
            text = file.read_bytes().decode("utf-8", "replace")
            named += [f"{name}: {word}" for word in words if word in text]
    assert named == []
