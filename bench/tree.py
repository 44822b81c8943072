"""Which tree the measured processes run: the one of `make compiled`, or with `--plain` the sources as they are."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPILED = ROOT / "build" / "compiled"


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--plain`, for `use`."""
    parser.add_argument("--plain", action="store_true", help="the sources as they are, not the tree of `make compiled`")


def use(*more: Path, plain: bool) -> None:
    """Processes that are started from now on run this tree, and find what is in `more`.

    Leaves by SystemExit when there is none, or an old one.
    """
    tree = ROOT if plain else COMPILED
    if not plain and (late := _other_than_here()):
        raise SystemExit(f"{late} is not in {COMPILED} as it is here: `make compiled`, or measure with --plain")
    path = os.pathsep.join(map(str, (tree, *more)))
    os.environ |= {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "BENCH_TREE": str(tree)}


def _other_than_here() -> str | None:
    """A source that the compiled tree has otherwise, or not at all; or what is to be compiled there and is not."""
    for package in ("schemas", "streams", "planner", "sender", "console", "simulator"):
        for source in sorted((ROOT / package).rglob("*.py")):
            name = source.relative_to(ROOT)
            copy = COMPILED / name
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                return str(name)
    modules = (ROOT / "compiled.txt").read_text("utf-8").split()
    return next((m for m in modules if not list((COMPILED / m).parent.glob(f"{Path(m).stem}.*.so"))), None)
