from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from smtp_wire import envelope

from sender.maildir import MaildirConnection, file_name
from sender.relays import make_relay
from sender.smtp.errors import RelayDown
from streams.settings import RelaySettings


def test_the_same_message_twice_is_seen_by_its_name(tmp_path: Path) -> None:
    async def run() -> None:
        connection = await make_relay(RelaySettings(type="maildir", path=tmp_path / "mail")).open()
        for n in (1, 2, 1):
            outcome = await connection.send(envelope(n=n))
            assert outcome.kind == "accepted"
            assert (tmp_path / "mail" / "new" / outcome.provider_id).is_file()
        await connection.close()
        assert not connection.usable

    asyncio.run(run())
    new = sorted(path.name for path in (tmp_path / "mail" / "new").iterdir())
    assert new == ["c.1.1.0.x@bore.example", "c.1.1.0.x@bore.example#2", "c.1.2.0.x@bore.example"]
    assert list((tmp_path / "mail" / "tmp").iterdir()) == []
    first = (tmp_path / "mail" / "new" / new[0]).read_bytes()
    assert first.startswith(b"Return-Path: <cobros@bore.example>\r\nDelivered-To: anna@example.com\r\n")
    assert first.endswith(envelope(n=1).content)


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        relay = make_relay(RelaySettings(type="maildir", path=tmp_path))
        first, second = await relay.open(), await relay.open()
        await asyncio.gather(*(c.send(envelope(n=n % 10)) for n in range(40) for c in (first, second)))

    asyncio.run(run())
    assert len(list((tmp_path / "new").iterdir())) == 80


def test_a_path_that_is_a_file_is_the_relays_trouble(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("not a directory")
    with pytest.raises(RelayDown, match="Maildir"):
        asyncio.run(make_relay(RelaySettings(type="maildir", path=tmp_path / "mail")).open())


def test_a_directory_that_vanished_is_a_transient_failure(tmp_path: Path) -> None:
    outcome = asyncio.run(MaildirConnection(tmp_path / "gone").send(envelope()))
    assert outcome.kind == "transient"


def test_names_are_safe_for_a_directory() -> None:
    assert file_name("<../../etc/passwd@x>") == "_.._etc_passwd@x"
    assert file_name("<>") == "message"
    assert ":" not in file_name("<a:2,S@x>")
