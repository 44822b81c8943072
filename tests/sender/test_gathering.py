"""What the lines of a loop put on record and on their wires at the end of a turn."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sender.gathering import Gathering, Sent
from sender.journal import spool_file
from sender.journal.spool import Slip, Spool, SpoolFull
from sender.journal.spool_file import LineFile
from sender.line import Line
from sender.smtp.feed import Outcome, Outgoing
from sender.smtp.learned import Mode
from sender.smtp.pipeline import MessagePipe
from sender.smtp.watch import Patience
from sender.smtp.wire import Offer
from streams.clock import REAL

GO_AHEAD = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go ahead\r\n"


class Wire:
    """A transport that keeps what is written, and what the spool had by then."""

    def __init__(self, spool: Spool) -> None:
        self.ours, self.peer = socket.socketpair()
        self._directory = spool.directory
        self.bodies: list[bytes] = []
        self.on_record: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        if b"Subject" in data:
            self.bodies.append(data)
            self.on_record.append(b"".join(f.read_bytes() for f in self._directory.glob("*.[0-9]")))

    def abort(self) -> None:
        self.closing = True

    close = abort

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, _: str) -> socket.socket:
        return self.ours


class Run:
    """A source of messages, one a line."""

    def __init__(self, slip: Slip, n: int) -> None:
        self.slip = slip
        self.halted = False
        self.left = list(range(n))
        self.ours: Callable[[], bool] = lambda: True
        self.asked = self.told_ = 0
        self.came_: list[tuple[int, str, bool]] = []

    def take(self) -> Outgoing | None:
        if not self.left:
            return None
        index = self.left.pop(0)
        to = f"r{index}@x.example"
        return Outgoing(
            "b@bore.example", to, b"Subject: x\r\n\r\nHola\r\n", token=Sent(self, self.slip, index, 1, to, "<id>")
        )

    def may_begin(self) -> bool:
        self.asked += 1
        return self.ours()

    def came(self, line: Line, sent: Sent, outcome: Outcome, at: datetime) -> None:  # noqa: ARG002
        self.came_.append((sent.index, outcome.kind, sent.refused))

    def told(self) -> None:
        self.told_ += 1


class _Line(Line):
    def lost_by_the_network(self) -> None:
        assert self.pipe is not None
        self.pipe.connection_lost(None)


class World:
    """Lines of one run that are asked for a body each, in one turn of the loop."""

    def __init__(self, spool: Spool, lines: int, gathering: Gathering | None = None) -> None:
        self.gathering = gathering or Gathering(spool, REAL)
        self.run = Run(spool.permit("c", 1, 0, "main:1"), lines)
        self.lines = [_Line(self.gathering) for _ in range(lines)]
        self.wires = [Wire(spool) for _ in range(lines)]

    @classmethod
    def of(cls, before: World, lines: int) -> World:
        """Other lines of the same loop."""
        assert before.gathering._spool is not None
        return cls(before.gathering._spool, lines, before.gathering)

    async def to_the_bodies(self) -> None:
        """Every server has said 354, and the turn is not over."""
        for line, wire in zip(self.lines, self.wires, strict=True):
            line.source = self.run
            line.pipe = MessagePipe(
                line, Offer(pipelining=True), Mode.PIPELINING, patience=Patience(), most=100, alone=False
            )
            line.pipe.connection_made(wire)
            line.kick()
        for line in self.lines:
            assert line.pipe is not None
            line.pipe.data_received(GO_AHEAD)

    async def end(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        for line, wire in zip(self.lines, self.wires, strict=True):
            if line.pipe is not None:
                line.pipe.abort("the test is over")
            wire.ours.close()
            wire.peer.close()


@contextmanager
def world(tmp_path: Path, lines: int) -> Iterator[World]:
    spool = Spool.create(tmp_path)
    try:
        yield World(spool, lines)
    finally:
        spool.close(clean=False)


def played(tmp_path: Path, lines: int, do: Callable[[World], Any]) -> World:
    """`do` happens between the servers' 354 and the end of the turn."""

    async def play(w: World) -> None:
        try:
            await w.to_the_bodies()
            assert not any(wire.bodies for wire in w.wires)
            do(w)
            await w.end()
            await w.end()
        finally:
            w.close()

    with world(tmp_path, lines) as w:
        asyncio.run(play(w))
        return w


def begun_in(record: bytes) -> set[bytes]:
    """Each begin as a line of its own would say it."""
    payloads = [line[9:] for line in record.split(b"\n")]
    several = [orjson.loads(payload[1:]) for payload in payloads if payload[:1] == b"B"]
    flat = [value for values in several for value in values]
    found = {b"b%d %d %d" % one for one in zip(flat[::3], flat[1::3], flat[2::3], strict=True)}
    return found | {payload for payload in payloads if payload[:1] == b"b"}


def test_all_begins_of_a_turn_are_in_the_spool_by_one_write_before_any_body_is_on_a_wire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writes = spool_file.LineFile._write, []

    def counted(self: spool_file.LineFile, data: bytes, crc: int) -> None:
        writes.append(data)
        write(self, data, crc)

    w = played(tmp_path, 5, lambda _: monkeypatch.setattr(spool_file.LineFile, "_write", counted))
    assert [len(wire.bodies) for wire in w.wires] == [1] * 5
    assert all(begun_in(wire.on_record[0]) == {b"b1 %d 1" % n for n in range(5)} for wire in w.wires)
    assert len([data for data in writes if begun_in(data)]) == 1
    assert w.run.asked == 2  # before the spool and after it
    assert w.run.told_ >= 1


def test_whoever_is_not_the_owner_any_more_writes_no_body_and_puts_none_on_record(tmp_path: Path) -> None:
    w = played(tmp_path, 3, lambda w: setattr(w.run, "ours", lambda: False))
    assert not any(wire.bodies for wire in w.wires)
    assert w.run.came_ == [(n, "lost_before", True) for n in range(3)]
    assert not any(begun_in(file.read_bytes()) for file in tmp_path.glob("*.[0-9]"))


def test_a_permit_that_runs_out_while_the_spool_is_written_lets_no_body_out_and_leaves_nobody_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = spool_file.LineFile._write
    slow: list[World] = []

    def suspended(self: spool_file.LineFile, data: bytes, crc: int) -> None:
        write(self, data, crc)
        slow[0].run.ours = lambda: False  # a day has gone by

    def do(w: World) -> None:
        slow.append(w)
        monkeypatch.setattr(spool_file.LineFile, "_write", suspended)

    w = played(tmp_path, 3, do)
    assert not any(wire.bodies for wire in w.wires)
    assert sorted(w.run.came_) == [(n, "lost_before", True) for n in range(3)]
    record = b"".join(file.read_bytes() for file in tmp_path.glob("*.[0-9]"))
    assert begun_in(record) == {b"b1 %d 1" % n for n in range(3)}
    assert record.count(b'"lost_before"') == 3, record  # what began has ended: nobody is in doubt


def test_a_server_that_has_hung_up_gets_no_body_and_costs_no_doubt(tmp_path: Path) -> None:
    w = played(tmp_path, 3, lambda w: w.wires[1].peer.close())
    assert [len(wire.bodies) for wire in w.wires] == [1, 0, 1]
    assert (1, "lost_before", False) in w.run.came_
    assert begun_in(w.wires[0].on_record[0]) == {b"b1 0 1", b"b1 2 1"}


def test_without_room_for_the_begins_no_line_writes_a_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise SpoolFull(errno.ENOSPC, "the spool has no room")

    w = played(tmp_path, 3, lambda _: monkeypatch.setattr(spool_file.LineFile, "_write", full))
    assert not any(wire.bodies for wire in w.wires)
    assert sorted(w.run.came_) == [(n, "lost_before", False) for n in range(3)]
    for line in w.lines:
        assert line.ending is not None
        assert isinstance(line.ending.error, SpoolFull)


def test_a_connection_that_ends_within_the_turn_leaves_nothing_on_record(tmp_path: Path) -> None:
    w = played(tmp_path, 2, lambda w: w.lines[0].lost_by_the_network())
    assert [len(wire.bodies) for wire in w.wires] == [0, 1]
    assert begun_in(w.wires[1].on_record[0]) == {b"b1 1 1"}


def ended_of(w: World) -> list[Any]:
    return [line.ending.error if line.ending else None for line in w.lines]


@pytest.mark.parametrize("place", ["hung_up", "may_begin", "spool", "after the spool"])
def test_what_nobody_has_foreseen_ends_the_lines_of_its_turn_and_no_other(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a defect")

    async def play(w: World) -> None:
        try:
            await w.to_the_bodies()
            with monkeypatch.context() as patch:
                if place == "hung_up":
                    for line in w.lines:
                        assert line.pipe is not None
                        line.pipe.fileno = 1 << 40  # no socket that one could ask about has it
                elif place == "spool":
                    patch.setattr(LineFile, "put_all", poisoned)
                else:
                    patch.setattr(w.run, "ours", lambda: w.run.asked == (place != "may_begin") or poisoned())
                await w.end()
                await w.end()
            foreseen = OverflowError if place == "hung_up" else ZeroDivisionError
            assert [type(error) for error in ended_of(w)] == [foreseen] * 3
            assert sorted(w.run.came_) == [(n, "lost_before", False) for n in range(3)]
            assert not any(wire.bodies for wire in w.wires)
            w.close()
            again = World.of(w, 3)
            await again.to_the_bodies()
            await again.end()
            await again.end()
            assert [len(wire.bodies) for wire in again.wires] == [1] * 3
            again.close()
        finally:
            w.close()

    with world(tmp_path, 3) as w:
        asyncio.run(play(w))


def test_a_line_that_cannot_write_and_a_run_that_cannot_hear_of_it_keep_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*_: Any) -> None:
        raise ZeroDivisionError("a defect")

    def do(w: World) -> None:
        monkeypatch.setattr(w.wires[0], "write", poisoned)
        monkeypatch.setattr(w.run, "told", poisoned)

    w = played(tmp_path, 3, do)
    assert [len(wire.bodies) for wire in w.wires] == [0, 1, 1]
    assert isinstance(ended_of(w)[0], ZeroDivisionError)
