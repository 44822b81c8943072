"""With WITH_MYPYC=1 the modules of compiled.txt are compiled to C by mypyc, from the same source.

They are what a sender does for each message. Without it everything is plain Python, and does the same, slower.
`make compiled` builds a tree with it, and the image of the Dockerfile has it. It needs a C compiler, and mypy.

A module with coroutines does not belong into the list (mypyc 2.1 loses `except` clauses around `await`), nor one that
takes slices of bytes which may end before they begin (it raises SystemError).
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import setup


def extensions() -> list[object]:
    """Raises ImportError when mypy is not there."""
    if os.environ.get("WITH_MYPYC") != "1":
        return []
    from mypyc.build import mypycify

    modules = (Path(__file__).parent / "compiled.txt").read_text("utf-8").split()
    return list(mypycify(modules, opt_level="2"))


setup(ext_modules=extensions())
