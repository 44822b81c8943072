"""What the owner of batches cannot handle ends at its own batch: the partition goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from journals import NOON, chunk, control

from schemas.base import Model
from schemas.chunk import Chunk, ChunkResult
from sender.journal import core
from sender.journal.values import Clue, Ended
from sender.owner import Owner, Topics
from sender.traffic import Came, Drained, Grant
from streams.clock import ManualClock
from streams.fenced import Effects, Input


@dataclass
class Runs:
    """Writes down what is asked of it."""

    started: dict[str, int] = field(default_factory=dict)
    halted: list[int] = field(default_factory=list)

    def start(self, run: int, chunk: Chunk, grant: Grant) -> None:  # noqa: ARG002 - Runs' signature
        self.started[chunk.campaign_id] = run

    def grant(self, run: int, grant: Grant) -> None: ...

    def stop(self, run: int, stopped: Any) -> None: ...

    def halt(self, run: int) -> None:
        self.halted.append(run)

    def settled(self, run: int, indices: Sequence[int]) -> None: ...

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None: ...

    def try_spools(self, names: Sequence[str]) -> None: ...


@dataclass
class Desk:
    """An owner of one partition, its runs and its log."""

    runs: Runs = field(default_factory=Runs)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    offset: int = 0

    def __post_init__(self) -> None:
        topics = Topics("chunks", "gate.inputs", "mail.events")
        self.owner = Owner(self.runs, ManualClock(NOON), topics, tags=lambda _: {})
        self.owner.assigned(0, dict(self.rows))

    def give(self, *records: Model) -> Effects:
        inputs = []
        for record in records:
            self.offset += 1
            inputs.append(Input("chunks", 0, self.offset, b"k", record.encode(), (), 0))
        effects = self.owner.step(inputs, 0.0) or Effects()
        for _, key, value in effects.state:
            self.rows.pop(key, None) if value is None else self.rows.__setitem__(key, value)
        self.owner.committed(effects)
        return effects

    def say(self, campaign: str, *indices: int) -> None:
        """The campaign's run has sent these, and is over."""
        run = self.runs.started[campaign]
        self.owner.post(Came((campaign, 1), run, [Ended(i, "accepted", NOON) for i in indices]))
        self.owner.post(Drained((campaign, 1), run, "done"))


def letters(effects: Effects) -> list[dict[str, bytes]]:
    return [dict(o.headers) for _, o in effects.outputs if o.topic == "chunks.dlq"]


def results(effects: Effects) -> dict[str, ChunkResult]:
    read = [ChunkResult.decode(o.value or b"") for _, o in effects.outputs if o.topic == "gate.inputs"]
    return {r.campaign_id: r for r in read}


def failing_for(name: str, campaign: str, patch: pytest.MonkeyPatch) -> list[int]:
    """`core.<name>` fails for the campaign from now on; how often it did."""
    sound, tried = getattr(core, name), []

    def poisoned(*args: Any) -> Any:
        if any(getattr(a, "campaign_id", None) == campaign for a in args):
            tried.append(1)
            raise ZeroDivisionError("a defect")
        return sound(*args)

    patch.setattr(core, name, poisoned)
    return tried


@pytest.mark.parametrize("zone", ["Mars/Phobos", "../etc", "America", ""])
def test_a_permit_in_a_time_zone_that_is_not_known_here_is_answered_as_an_error(zone: str) -> None:
    result = results(Desk().give(chunk(day_timezone=zone)))["c"]
    assert (result.final, result.stopped, result.begun, result.unsent) == (True, "error", 0, ((0, 10),))
    assert "time zone" in (result.detail or "")


def test_a_permit_whose_handling_fails_three_times_is_one_dead_letter_however_often_it_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, bad, good = Desk(), chunk(1, campaign_id="bad"), chunk(2, campaign_id="good")
    with monkeypatch.context() as patch:
        tried = failing_for("take_permit", "bad", patch)
        effects = desk.give(bad, good)
        assert [(d["error"], d["attempts"]) for d in letters(effects)] == [(b"ZeroDivisionError: a defect", b"3")]
        assert (len(tried), set(desk.runs.started)) == (3, {"good"})
        assert not any(key.startswith(b"bad/") for key in desk.rows)
        assert letters(desk.give(bad, bad)) == []
    desk.say("good", *range(10))
    assert results(desk.give())["good"].accepted == 10
    following = Desk(rows=desk.rows)  # the next owner takes it
    following.give(bad)
    assert set(following.runs.started) == {"bad"}


def test_a_batch_whose_outcomes_cannot_be_handled_is_left_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, bad, good = Desk(), chunk(1, campaign_id="bad"), chunk(2, campaign_id="good")
    desk.give(bad, good)
    with monkeypatch.context() as patch:
        failing_for("ended", "bad", patch)
        desk.say("bad", *range(10))
        desk.say("good", *range(10))
        effects = desk.give()
        assert results(effects)["good"].accepted == 10
        assert "bad" not in results(effects)
        assert [(d["error"], d["attempts"]) for d in letters(effects)] == [(b"ZeroDivisionError: a defect", b"3")]
        assert desk.runs.halted == [desk.runs.started["bad"]]
        assert not desk.owner.busy(0)
        effects = desk.give(bad, control("pause", 1, campaign_id="bad"))
        assert (effects.outputs, effects.state) == ([], [])
    windows = [orjson.loads(row)["states"] for key, row in desk.rows.items() if key.startswith(b"bad/1#")]
    assert windows == ["i" * 10]  # the next owner finds that nobody knows, and says so


def test_a_new_batch_whose_answer_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, late = Desk(), chunk(1, until=NOON)  # is answered at once
    with monkeypatch.context() as patch:
        patch.setattr("sender.turn.ChunkResult.encode", lambda _: 1 / 0)
        effects = desk.give(late)
        assert (len(letters(effects)), effects.state) == (1, [])
    assert results(desk.give(chunk(2, until=NOON)))["c"].version == 1


def test_an_ended_batch_whose_row_cannot_be_read_is_not_taken_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, permit = Desk(), chunk(1)
    desk.give(permit)
    desk.say("c", *range(10))
    desk.give()
    again = Desk(rows=desk.rows)
    with monkeypatch.context() as patch:
        patch.setattr("sender.batches.rows.load", lambda *_: 1 / 0)
        assert len(letters(again.give(chunk(2)))) == 1
    result = results(again.give(chunk(3)))["c"]
    assert (result.accepted, result.begun, again.runs.started) == (10, 0, {})
