"""`rampa doctor`, as far as it needs no broker."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from console.doctor import examine

RELAY = '[relays.main]\nhost = "h"\n'


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ('[kafka]\nbootstrap = "h:9092"\n', True),
        ('[kafka]\nbootstrap = "h:9092"\n[planner]\nroots = ["people"]\n', False),
        ('[kafka]\nbootstrap = "embedded"\n', False),
    ],
)
def test_it_warns_when_any_file_can_be_mailed(tmp_path: Path, settings: str, warned: bool) -> None:
    file = tmp_path / "rampa.toml"
    file.write_text(f'data = "{tmp_path}"\n{settings}{RELAY}')
    before = []
    for check in examine(file):
        if check.name == "kafka":
            break
        before.append((check.name, check.state))
        if check.name == "roots":
            break  # the next would wait for a broker
    assert (("roots", "warning") in before) == warned


def test_one_relay_is_counted_as_one(tmp_path: Path) -> None:
    file = tmp_path / "rampa.toml"
    file.write_text(f'data = "{tmp_path}"\n{RELAY}[domains."b.example"]\nrelay = "main"\n')
    (said,) = (check.detail for check in itertools.islice(examine(file), 2) if check.name == "settings")
    assert said == "1 relay, 1 sending domain"
