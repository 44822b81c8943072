"""A sender whose spool has no room stops with that reason, and nothing is lost."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from sending import Gate, SenderThread, context, people, recipients_of, settings
from waiting import eventually

from sender.journal import spool_file
from simulator.process import SimulatorProcess
from streams.clients import Kafka


@pytest.mark.parametrize("type_", ["smtp", "maildir"])
def test_without_room_for_the_spool_nothing_begins_and_with_room_everything_goes_on(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str
) -> None:
    write, full = spool_file.LineFile._write, [False]

    def _write(self: spool_file.LineFile, data: bytes, crc: int) -> None:
        if full[0]:
            raise spool_file.SpoolFull(errno.ENOSPC, "the spool has no room: No space left on device")
        write(self, data, crc)

    monkeypatch.setattr(spool_file.LineFile, "_write", _write)
    more = {"type": type_, "path": str(tmp_path / "mail")} if type_ == "maildir" else {}
    with SimulatorProcess(tmp_path / "mailbox") as mailbox, Gate(embedded_kafka, prefix) as gate:
        gate.plan(people(60))

        def mailed() -> int:
            if type_ == "maildir":
                return len(list((tmp_path / "mail" / "new").glob("*")))
            return recipients_of(mailbox.records()).total()

        with SenderThread(context(embedded_kafka, settings(mailbox.port, prefix, **more), "s1", tmp_path)):
            chunk = gate.permit(rate=100.0)
            eventually(lambda: mailed() > 5)
            full[0] = True
            result = gate.final(chunk)
            assert result.stopped == "unready"
            assert "no room" in (result.detail or "")
            assert (result.failed, result.in_doubt) == ((), ())
            assert result.accepted == mailed() < 60
            assert result.accepted + sum(end - start for start, end in result.unsent) == 60
            full[0] = False
            assert gate.final(gate.permit(result.unsent)).accepted == 60
        assert mailed() == 60
