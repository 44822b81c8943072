"""What a worker says that still finishes, and what its supervisor hears."""

from __future__ import annotations

import os
from pathlib import Path

from streams.finishing import EVERY, Finishing, Heard


def test_news_are_heard_once_and_no_more_often_than_they_are_said(tmp_path: Path) -> None:
    path, now = tmp_path / "w.finishing", [0.0]
    finishing, heard = Finishing(str(path), lambda: now[0]), Heard(path)
    finishing.tell(0)
    assert heard.news() is None
    finishing.tell(3)
    assert (heard.news(), heard.news()) == (3, None)
    finishing.tell(2)
    assert heard.news() is None
    now[0] += EVERY
    finishing.tell(2)
    os.utime(path, ns=(1, 1))  # whatever the clock of the file system is
    assert heard.news() == 2


def test_what_an_earlier_process_said_is_no_news_and_half_a_word_is_none(tmp_path: Path) -> None:
    path = tmp_path / "w.finishing"
    path.write_text("5\n")
    heard = Heard(path)
    assert heard.news() is None
    path.write_text("")
    os.utime(path, ns=(1, 1))
    assert heard.news() is None


def test_without_a_supervisor_nobody_is_told() -> None:
    Finishing("").tell(3)
