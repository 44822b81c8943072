"""A role's slot of a data directory belongs to one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.errors import ConsoleError
from console.worker import hold_slot

HOLDER = (
    "import pathlib, sys; from console.worker import hold_slot;"
    "hold_slot(pathlib.Path(sys.argv[1]), 'sender', '1', 5.0); print('held', flush=True); sys.stdin.read()"
)


def test_a_second_process_is_refused_while_the_first_lives_and_no_longer(tmp_path: Path) -> None:
    place = tmp_path / "sender" / "1"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConsoleError, match=rf"'1' .* \(process {holder.pid}\).*--slot NAME"):
            hold_slot(place, "sender", "1", 0.1)
        hold_slot(tmp_path / "sender" / "2", "sender", "2", 0.1)
        holder.kill()
        holder.wait()
    hold_slot(place, "sender", "1", 5.0)


def test_the_command_says_so_and_fails(tmp_path: Path) -> None:
    (tmp_path / "rampa.toml").write_text('data = "var"\n', encoding="utf-8")
    hold_slot(tmp_path / "var" / "sender" / "1", "sender", "1", 0.1)
    argv = [sys.executable, "-m", "console.cli.main", "worker", "sender"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "runs already" in " ".join(done.stderr.split())
