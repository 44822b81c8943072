"""What the owner of batches cannot handle ends at its own batch: the partition goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from journals import HOUR, NOON, chunk, control, mail_events

from schemas.base import Model
from schemas.chunk import Chunk, ChunkResult
from sender.journal import core, rows
from sender.journal.values import Clue, Ended
from sender.owner import Owner, Topics
from sender.traffic import Came, Drained, Grant, Known
from streams.clock import ManualClock
from streams.fenced import Effects, Input


@dataclass
class Runs:
    """Writes down what is asked of it."""

    started: dict[str, int] = field(default_factory=dict)
    halted: list[int] = field(default_factory=list)
    granted: dict[int, tuple[int, ...]] = field(default_factory=dict)
    looks: list[int] = field(default_factory=list)

    def start(self, run: int, chunk: Chunk, grant: Grant) -> None:
        self.started[chunk.campaign_id] = run
        self.granted[run] = tuple(grant.indices)

    def grant(self, run: int, grant: Grant) -> None: ...

    def stop(self, run: int, stopped: Any) -> None: ...

    def halt(self, run: int) -> None:
        self.halted.append(run)

    def settled(self, run: int, indices: Sequence[int]) -> None: ...

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:  # noqa: ARG002
        self.looks.append(look)

    def try_spools(self, names: Sequence[str]) -> None: ...


@dataclass
class Desk:
    """An owner of one partition, its runs and its log."""

    runs: Runs = field(default_factory=Runs)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    offset: int = 0

    def __post_init__(self) -> None:
        topics = Topics("chunks", "gate.inputs", "mail.events")
        self.clock = ManualClock(NOON)
        self.owner = Owner(self.runs, self.clock, topics, tags=lambda _: {})
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


def is_aside(result: ChunkResult, permit: Chunk, why: str, begun: int | None = None) -> bool:
    """Whether the permit was answered by its owner's having put the batch aside."""
    assert why in (result.detail or "")
    assert (result.aside, result.final, result.permit_id) == (True, True, permit.permit_id)
    assert result.unsent == permit.ranges
    return begun is None or result.begun == begun


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
        assert [key for key in desk.rows if key.startswith(b"bad/")] == [b"bad/1~"]
        assert is_aside(results(effects)["bad"], bad, "ZeroDivisionError: a defect")
        effects = desk.give(bad, bad)
        assert letters(effects) == []
        assert is_aside(results(effects)["bad"], bad, "ZeroDivisionError: a defect")
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
        assert is_aside(results(effects)["bad"], bad, "ZeroDivisionError: a defect", begun=10)
        assert [(d["error"], d["attempts"]) for d in letters(effects)] == [(b"ZeroDivisionError: a defect", b"3")]
        assert desk.runs.halted == [desk.runs.started["bad"]]
        assert not desk.owner.busy(0)
        effects = desk.give(chunk(3, campaign_id="bad", issued_at=NOON + HOUR), control("pause", 1, campaign_id="bad"))
        assert (len(effects.outputs), effects.state, results(effects)["bad"].begun) == (1, [], 0)
    windows = [orjson.loads(row)["states"] for key, row in desk.rows.items() if key.startswith(b"bad/1#")]
    assert windows == ["i" * 10]  # the next owner finds that nobody knows, and says so


def test_a_new_batch_whose_answer_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, late = Desk(), chunk(1, until=NOON)  # is answered at once
    encode = ChunkResult.encode
    with monkeypatch.context() as patch:
        patch.setattr("sender.turn.ChunkResult.encode", lambda r: encode(r) if r.aside else 1 / 0)
        effects = desk.give(late)
        assert (len(letters(effects)), [key for _, key, _ in effects.state]) == (1, [b"c/1~"])
    assert results(Desk(rows=desk.rows).give(chunk(2, until=NOON)))["c"].version == 1


def test_an_ended_batch_whose_row_cannot_be_read_is_not_taken_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, permit = Desk(), chunk(1)
    desk.give(permit)
    desk.say("c", *range(10))
    desk.give()
    again = Desk(rows=desk.rows)
    with monkeypatch.context() as patch:
        patch.setattr("sender.batches.rows.load", lambda *_: 1 / 0)
        assert len(letters(again.give(chunk(2)))) == 1
    assert is_aside(results(again.give(chunk(3, issued_at=NOON + HOUR)))["c"], chunk(3), "it cannot be handled")
    last = Desk(rows=again.rows)
    result = results(last.give(chunk(4)))["c"]
    assert (result.accepted, result.begun, last.runs.started) == (10, 0, {})


def test_a_batch_whose_rows_cannot_be_made_sends_nothing_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, bad, good = Desk(), chunk(1, campaign_id="bad"), chunk(2, campaign_id="good")
    with monkeypatch.context() as patch:
        sound = rows.changes
        patch.setattr(
            rows, "changes", lambda old, new, now: 1 / 0 if new.campaign_id == "bad" else sound(old, new, now)
        )
        effects = desk.give(bad, good)
        assert set(desk.runs.started) == {"good"}  # what is not recorded as intended is not begun
        assert is_aside(results(effects)["bad"], bad, "its rows cannot be made: ZeroDivisionError", begun=10)
        assert len(letters(effects)) == 1
    desk.say("good", *range(10))
    assert results(desk.give())["good"].accepted == 10
    assert [key for key in desk.rows if key.startswith(b"bad/")] == [b"bad/1~"]


def sent(campaign: str, *indices: int) -> Desk:
    """A desk whose run has sent these of ten, and intended the others."""
    desk = Desk()
    desk.give(chunk(1, campaign_id=campaign))
    run = desk.runs.started[campaign]
    desk.owner.post(Came((campaign, 1), run, [Ended(i, "accepted", NOON) for i in indices]))
    desk.give()
    return desk


@pytest.mark.parametrize("row", [b"bad/1!", b"bad/1#0"])
@pytest.mark.parametrize("value", [b"\xff\x00", b"[]", b"{}", b'{"kind": "window", "campaign_id": 7}'])
def test_a_row_that_cannot_be_read_puts_its_batch_aside_and_names_itself(row: bytes, value: bytes) -> None:
    log = {**sent("bad", 0, 1).rows, **sent("good", 0).rows}
    desk = Desk(rows={**log, row: value})
    effects = desk.give()
    assert [(o.key, o.value) for _, o in effects.outputs if o.topic == "chunks.dlq"] == [(row, value)]
    assert row.decode() in letters(effects)[0]["error"].decode()
    assert (desk.rows[row], b"bad/1~" in desk.rows) == (value, True)
    answered = results(desk.give(chunk(1, campaign_id="bad")))["bad"]
    assert is_aside(answered, chunk(1), f"row {row.decode()} of the journal cannot be read", begun=10)
    later = chunk(3, campaign_id="bad", issued_at=NOON + HOUR)
    assert results(desk.give(later))["bad"].begun == 0
    assert desk.runs.started == {}  # of the other one who was left intended is looked up first
    again = Desk(rows=desk.rows)
    assert letters(again.give()) == []  # once is enough
    assert is_aside(results(again.give(later))["bad"], later, row.decode())


def test_a_batch_that_can_be_read_again_goes_on_but_not_under_the_permit_that_was_answered() -> None:
    whole = sent("bad", 0, 1).rows
    desk = Desk(rows={**whole, b"bad/1#0": b"?"})
    desk.give(chunk(1, campaign_id="bad"))
    healed = Desk(rows={**desk.rows, b"bad/1#0": whole[b"bad/1#0"]})
    assert letters(healed.give()) == []
    assert b"bad/1~" not in healed.rows
    look = healed.runs.looks.pop()
    healed.owner.post(Known(("bad", 1), look, {i: f"p{i}@x.example" for i in range(2, 10)}))
    result = results(healed.give())["bad"]
    assert (result.final, result.aside, result.accepted, result.in_doubt) == (True, False, 2, ((2, 10),))
    assert healed.runs.started == {}
    healed.give(chunk(2, round=1, campaign_id="bad"))
    assert set(healed.runs.started) == {"bad"}


def test_rows_of_no_batch_are_dead_letters_and_go_away() -> None:
    desk = Desk(rows={b"nonsense": b"1", b"\xff": b"2", b"c/x!": b"3", **sent("good", 0).rows})
    effects = desk.give()
    assert len(letters(effects)) == 3
    assert {key for key in desk.rows if not key.startswith(b"good/")} == set()


def test_windows_without_a_permit_row_put_their_batch_aside() -> None:
    log = sent("bad", 0).rows
    del log[b"bad/1!"]
    desk = Desk(rows=log)
    assert "there is no permit row beside it" in letters(desk.give())[0]["error"].decode()
    assert is_aside(results(desk.give(chunk(1, campaign_id="bad")))["bad"], chunk(1), "bad/1#0", begun=10)


def doubtful(campaign: str = "bad", **more: Any) -> Desk:
    """A desk on which ten are in doubt."""
    desk = Desk()
    desk.give(chunk(1, campaign_id=campaign, **more))
    run = desk.runs.started[campaign]
    desk.owner.post(Came((campaign, 1), run, [Ended(i, "in_doubt", NOON) for i in range(10)]))
    desk.owner.post(Drained((campaign, 1), run, "done"))
    desk.give()
    return desk


def events(effects: Effects) -> list[tuple[str, int]]:
    return [(e.event_type, e.recipient_index) for e in mail_events(effects)]


def test_evidence_for_a_batch_that_is_put_aside_is_carried_out_when_it_is_back() -> None:
    whole = doubtful().rows
    seen = [control("evidence", n, campaign_id="bad", indices=((n, n + 1),)) for n in (1, 2, 3)]
    desk = Desk(rows={**whole, b"bad/1#0": b"?"})
    desk.give(*seen[:2])
    again = Desk(rows=desk.rows)  # another owner, who cannot read it either
    again.give(seen[2], seen[0])
    healed = Desk(rows={**again.rows, b"bad/1#0": whole[b"bad/1#0"]})
    healed.give()
    healed.owner.post(Known(("bad", 1), healed.runs.looks.pop(), {i: f"p{i}@x.example" for i in range(10)}))
    effects = healed.give()
    assert events(effects) == [("accepted", 1), ("accepted", 2), ("accepted", 3)]
    assert results(effects)["bad"].in_doubt == ((0, 1), (4, 10))
    assert b"bad/1~" not in healed.rows


def test_evidence_that_came_in_the_turn_in_which_its_batch_was_put_aside_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = doubtful()
    with monkeypatch.context() as patch:
        patch.setattr(rows, "changes", lambda *_: 1 / 0)
        desk.give(control("evidence", 1, campaign_id="bad", indices=((3, 4),)))
    healed = Desk(rows=desk.rows)
    healed.give()
    healed.owner.post(Known(("bad", 1), healed.runs.looks.pop(), {3: "p3@x.example"}))
    assert events(healed.give()) == [("accepted", 3)]


def test_an_order_to_settle_somebody_of_a_batch_that_is_put_aside_is_answered_and_a_dead_letter() -> None:
    desk = Desk(rows={**doubtful().rows, b"bad/1#0": b"?"})
    desk.give()
    order = control("resolve", 4, campaign_id="bad", resolution="drop", address="p1@x.example", indices=((0, 10),))
    effects = desk.give(order)
    result = results(effects)["bad"]
    assert (result.order, result.resolved, result.aside) == (4, 0, True)
    assert b"is put aside" in letters(effects)[0]["error"]


def test_a_batch_that_is_put_aside_can_be_forgotten() -> None:
    desk = Desk(rows={**doubtful().rows, b"bad/1#0": b"?"})
    desk.give()
    assert {key for key in desk.rows if key.startswith(b"bad/")} == {b"bad/1!", b"bad/1#0", b"bad/1~"}
    desk.give(control("forget", 2, campaign_id="bad"))
    assert [key for key in desk.rows if key.startswith(b"bad/")] == []
    assert Desk(rows=desk.rows).give().state == []


def test_a_batch_that_was_put_aside_while_it_was_led_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.give(chunk(1, campaign_id="bad"))
    with monkeypatch.context() as patch:
        failing_for("ended", "bad", patch)
        desk.say("bad", 1)
        desk.give()
    assert b"bad/1#0" in desk.rows
    desk.give(control("forget", 2, campaign_id="bad"))
    assert desk.rows == {}
