"""Old records stay readable: a sample of each version of each record is kept for ever.

Raise `schema_version` when a record changes its meaning, add a sample, and keep the old one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.base import SCHEMA_HEADER, Model
from schemas.topics import TOPICS

SAMPLES = Path(__file__).parent / "samples"
MODELS: dict[str, type[Model]] = {m.__name__: m for t in TOPICS for m in t.models}
FILES = sorted(SAMPLES.glob("*.json"))


@pytest.mark.parametrize("name", MODELS)
def test_the_present_version_of_each_record_has_a_sample(name: str) -> None:
    assert (SAMPLES / f"{name}-{MODELS[name].schema_version}.json").exists()
    assert dict(MODELS[name].headers()) == {SCHEMA_HEADER: f"{name}/{MODELS[name].schema_version}".encode()}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_sample_is_readable_and_loses_nothing(file: Path) -> None:
    model = MODELS[file.stem.rpartition("-")[0]]
    sample = json.loads(file.read_text("utf-8"))
    read = model.decode(json.dumps(sample))
    written = json.loads(read.encode())
    assert missing(sample, written) == []
    assert model.decode(read.encode()) == read


def missing(old: Any, new: Any, path: str = "") -> list[str]:
    """The places of `old` whose values `new` does not have."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [place for k, v in old.items() for place in missing(v, new.get(k), f"{path}.{k}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [place for i, (a, b) in enumerate(zip(old, new, strict=True)) for place in missing(a, b, f"{path}[{i}]")]
    return [] if old == new else [path]


def test_records_of_our_own_roles_read_what_a_newer_release_added() -> None:
    sample = json.loads((SAMPLES / "ChunkResult-1.json").read_text("utf-8"))
    read = MODELS["ChunkResult"].decode(json.dumps({**sample, "added_later": 1}))
    assert "added_later" not in json.loads(read.encode())
