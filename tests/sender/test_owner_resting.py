"""A batch of which nothing is done is kept as its rows, and nobody notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from journals import HOUR, NOON, chunk, control
from test_owner_poison import Desk, Runs, doubtful, events, is_aside, letters, results

from schemas.chunk import Chunk
from sender import batches
from sender.journal import core, rows
from sender.journal.spool_evidence import NEVER_BEGUN, Fate
from sender.journal.spool_lines import SpoolEnd
from sender.journal.values import Clue, Ended
from sender.traffic import Came, Drained, Known, Readable, Want


@dataclass
class Asked(Runs):
    """Knows also what was looked up where."""

    clues: dict[int, Mapping[int, Clue]] = field(default_factory=dict)
    spools: list[str] = field(default_factory=list)

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:
        super().look_up(look, chunk, indices, clues)
        self.clues[look] = clues

    def try_spools(self, names: Sequence[str]) -> None:
        self.spools += names


def held(desk: Desk) -> list[str]:
    return [campaign for campaign, _ in desk.owner._batches.held]


def suspended(*campaigns: str) -> dict[bytes, bytes]:
    """Rows of batches of which two were sent by a process, and eight are in doubt until its spool can be read."""
    desk = Desk()
    desk.owner._conduct._spool = "spool-1"
    desk.give(*(chunk(n, campaign_id=campaign) for n, campaign in enumerate(campaigns, 1)))
    following = Desk(runs=Asked(), rows=desk.rows)
    following.give()
    for campaign, look in zip(campaigns, following.runs.looks, strict=True):
        following.owner.post(Known((campaign, 1), look, {i: f"p{i}@x.example" for i in range(10)}))
    following.give()
    return following.rows


def test_one_that_is_read_with_nothing_to_do_is_not_held_and_a_permit_finds_it() -> None:
    before = doubtful("c")
    assert held(before) == []
    after = Desk(rows=before.rows)
    effects = after.give()
    assert (held(after), effects.state, effects.outputs) == ([], [], [])
    effects = after.give(chunk(1))  # the gate repeats it
    assert (results(effects)["c"].in_doubt, results(effects)["c"].version) == (((0, 10),), 3)
    assert (after.runs.started, held(after)) == ({}, [])
    after.give(chunk(2, ((2, 5),), round=1))
    assert (after.runs.granted[after.runs.started["c"]], held(after)) == ((2, 3, 4), ["c"])
    after.say("c", 2, 3, 4)
    result = results(after.give())["c"]
    assert (result.accepted, result.in_doubt, held(after)) == (3, ((0, 2), (5, 10)), [])
    assert after.rows.keys() == before.rows.keys()


def test_one_that_ends_while_a_newer_permit_waits_is_recorded_as_a_whole_when_that_opens_some_of_it() -> None:
    desk = Desk()
    desk.give(chunk(1, ((0, 61),), 61))
    run = desk.runs.started["c"]
    desk.owner.post(Want(("c", 1), run, 11))
    desk.give()
    assert desk.give(chunk(2, ((60, 61),), 61, round=1)).outputs == []  # it waits
    desk.owner.post(Came(("c", 1), run, [Ended(i, "failed" if i == 60 else "accepted", NOON) for i in range(61)]))
    desk.owner.post(Drained(("c", 1), run, "done"))
    desk.give()
    assert set(desk.rows) == {b"c/1!"}  # it has ended
    desk.give()
    assert desk.runs.granted[desk.runs.started["c"]] == (60,)
    after = Desk(rows=desk.rows)
    after.give()
    assert after.owner._batches.held["c", 1].journal.states() == "a" * 60 + "i"


def test_one_that_has_something_to_do_does_not_rest() -> None:
    desk = Desk()
    desk.give(chunk(1))
    assert held(Desk(rows=desk.rows)) == ["c"]  # its permit is active
    waiting = doubtful("c")
    waiting.give(control("resolve", 1, resolution="accepted", address="p3@x.example"))
    assert held(waiting) == ["c"]  # an order waits for addresses
    assert held(Desk(rows=waiting.rows)) == ["c"]


def test_an_order_that_is_no_news_leaves_it_at_rest_and_one_that_is_news_is_kept_over_it() -> None:
    desk = doubtful("c")
    desk.give(control("pause", 2))
    assert held(desk) == []
    before = dict(desk.rows)
    effects = desk.give(control("cancel", 1))
    assert (effects.state, desk.rows, held(desk)) == ([], before, [])
    assert results(desk.give(chunk(2, round=1)))["c"].stopped == "paused"


def test_one_that_rests_is_forgotten_with_all_its_rows() -> None:
    permit, _, _ = core.take_permit(None, chunk(1, ((0, 60),), 60), NOON)
    journal, begun = core.begin(permit, 60, NOON, "spool-1")
    journal, _ = core.ended(journal, [Ended(i, "in_doubt", NOON, recovered=True, unread="spool-1") for i in begun])
    recorded = rows.changes(None, core.finish(journal, NOON, "done")[0], NOON)
    desk = Desk(rows={key: value or b"" for key, value in recorded})
    assert (sorted(desk.rows), held(desk)) == ([b"c/1!", b"c/1#0", b"c/1#50"], [])
    desk.give(control("forget", 1))
    assert desk.rows == {}
    assert (desk.give(control("forget", 2)).state, desk.owner._batches.awaited()) == ([], set())
    desk.give(chunk(3, issued_at=NOON + HOUR))
    assert desk.runs.granted[desk.runs.started["c"]] == tuple(range(10))


def test_a_spool_that_can_be_read_at_last_settles_those_that_rest() -> None:
    log = {**suspended("a", "b"), **doubtful("c").rows}
    desk = Desk(runs=(runs := Asked()), rows=log)
    desk.give()
    assert (held(desk), runs.spools) == ([], ["spool-1"])
    desk.owner.post(Readable("spool-2"))
    desk.give()
    assert (held(desk), runs.looks) == ([], [])
    desk.owner.post(Readable("spool-1"))
    desk.give()
    assert held(desk) == ["a", "b"]  # until it is known what the spool says
    assert {tuple(clues.values()) for clues in runs.clues.values()} == {(("spool-1", 0),) * 10}
    sent = Fate("ended", 1, SpoolEnd("accepted", NOON))
    for campaign, look in zip("ab", runs.looks, strict=True):
        fates = {i: sent if i < 4 else NEVER_BEGUN for i in range(10)}
        desk.owner.post(Known((campaign, 1), look, {i: f"p{i}@x.example" for i in range(10)}, fates))
    effects = desk.give()
    assert events(effects) == [("accepted", i) for i in range(4)] * 2
    assert {c: (r.accepted, r.open, r.in_doubt) for c, r in results(effects).items()} == {
        "a": (4, ((4, 10),), ()), "b": (4, ((4, 10),), ()),
    }  # fmt: skip
    assert (held(desk), desk.owner._batches.awaited()) == ([], set())


def test_one_that_cannot_be_read_again_is_put_aside_with_all_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(rows=suspended("c"))
    with monkeypatch.context() as patch:
        patch.setattr("sender.batches.rows.load", lambda *_: 1 / 0)
        desk.owner.post(Readable("spool-1"))
        assert letters(desk.give()) == []  # it rests on, and can be asked for again
        effects = desk.give(chunk(2, round=1))
        assert is_aside(results(effects)["c"], chunk(2), "it cannot be handled")
        assert (len(letters(effects)), sorted(desk.rows)) == (1, [b"c/1!", b"c/1#0", b"c/1~"])
        desk.owner.post(Readable("spool-1"))
        assert desk.give().state == []
    healed = Desk(rows=desk.rows)
    assert results(healed.give())["c"].in_doubt == ((0, 10),)
    assert sorted(healed.rows) == [b"c/1!", b"c/1#0"]
    desk.give(control("forget", 2))
    assert desk.rows == {}


def test_one_whose_rows_cannot_be_made_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(rows=doubtful("c").rows)
    with monkeypatch.context() as patch:
        patch.setattr("sender.batches.rows.whole", lambda _: 1 / 0)
        assert desk.give(control("pause", 1)).state
        assert held(desk) == ["c"]
    assert results(desk.give(chunk(1)))["c"].in_doubt == ((0, 10),)
    assert held(desk) == []


def test_many_are_laid_to_rest_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LAID_DOWN", 3)
    campaigns = [f"c{n}" for n in range(8)]
    desk = Desk(rows={key: row for name in campaigns for key, row in doubtful(name).rows.items()})
    desk.give(*(control("pause", 1, campaign_id=name) for name in campaigns))
    left = [len(held(desk))]
    while held(desk):
        desk.give()
        left.append(len(held(desk)))
    assert left == [5, 2, 0]


def test_what_rests_goes_with_its_partition() -> None:
    desk = Desk(rows=suspended("c"))
    desk.owner.lost(0)
    assert desk.owner._batches.awaited() == set()
    desk.owner.post(Readable("spool-1"))
    assert desk.give().state == []
    desk.owner.assigned(0, suspended("c"))
    assert desk.owner._batches.awaited() == {"spool-1"}


def test_an_ended_one_that_is_looked_at_rests_as_it_was() -> None:
    desk = Desk()
    desk.give(chunk(1))
    desk.say("c", *range(10))
    desk.give(control("pause", 1))
    desk.clock.move(HOUR)
    before = desk.owner._batches._resting[0].rows(("c", 1))
    assert before == [desk.rows[b"c/1!"]]
    assert desk.give(control("cancel", 1)).state == []
    assert (held(desk), desk.owner._batches._resting[0].rows(("c", 1))) == ([], before)
