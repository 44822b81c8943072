"""What setup.py compiles when it is asked to, and that it is all there when it was."""

from __future__ import annotations

import ast
import importlib
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = (ROOT / "compiled.txt").read_text("utf-8").split()


def is_binary(path: str) -> bool:
    name = path.removesuffix(".py").replace("/", ".")
    return (importlib.import_module(name).__file__ or "").endswith(tuple(EXTENSION_SUFFIXES))


def test_either_all_that_is_to_be_compiled_is_or_nothing() -> None:
    wanted = os.environ.get("EXPECT_COMPILED") == "1"
    assert {path: is_binary(path) for path in MODULES} == dict.fromkeys(MODULES, wanted)


def test_no_coroutine_is_compiled() -> None:
    """mypyc loses `except` clauses around `await`."""
    tasks = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = {
        path: [node.lineno for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))) if isinstance(node, tasks)]
        for path in MODULES
    }
    assert {path: lines for path, lines in found.items() if lines} == {}
