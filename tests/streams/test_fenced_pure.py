"""The pure parts of fenced processing: which offsets a transaction carries, where a partition starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.fenced import Effects, EffectsError, FencedSettings, OperatorNeeded, Output, Outputs
from streams.fenced.offsets import Committed, Ledger, starting_offset


def ledger(**given_offsets: int) -> Ledger:
    """Partitions 0 and 1 assigned at 10 and 20."""
    made = Ledger()
    made.assign(0, 10)
    made.assign(1, 20)
    for name, offset in given_offsets.items():
        made.give(int(name.removeprefix("p")), offset)
    return made


OUT = Output("out", b"k", b"v")
ALIKE = Outputs("out", b"k", [b"v", b"w"])


@pytest.mark.parametrize(
    ("given_offsets", "effects", "offsets"),
    [
        ({}, Effects(), {}),
        ({}, Effects(state=[(1, b"k", b"v")]), {1: 20}),
        ({}, Effects(outputs=[(0, OUT)]), {0: 10}),
        ({}, Effects(bulk=[(0, ALIKE)]), {0: 10}),
        ({"p0": 14}, Effects(), {0: 15}),
        ({"p0": 14}, Effects(state=[(1, b"k", b"v")]), {0: 15, 1: 20}),
        ({"p0": 14, "p1": 20}, Effects(consumed={0: 12}), {0: 12}),
        ({"p0": 14, "p1": 20}, Effects(consumed={0: 12}, outputs=[(1, OUT)]), {0: 12, 1: 20}),
        ({"p0": 14, "p1": 20}, Effects(consumed={0: 12}, bulk=[(1, ALIKE)]), {0: 12, 1: 20}),
        ({"p0": 14}, Effects(consumed={}), {}),
        ({"p0": 14}, Effects(consumed={}, state=[(0, b"k", None)]), {0: 10}),
    ],
)
def test_a_transaction_carries_an_offset_of_everything_that_it_touches(
    given_offsets: dict[str, int], effects: Effects, offsets: dict[int, int]
) -> None:
    assert ledger(**given_offsets).of(effects) == offsets


@pytest.mark.parametrize(
    "effects",
    [
        Effects(state=[(2, b"k", b"v")]),
        Effects(outputs=[(2, OUT)]),
        Effects(bulk=[(2, ALIKE)]),
        Effects(consumed={2: 0}),
        Effects(consumed={0: 9}),
        Effects(consumed={0: 16}),
    ],
)
def test_effects_outside_of_what_is_ours_and_was_given_are_refused(effects: Effects) -> None:
    with pytest.raises(EffectsError):
        ledger(p0=14).of(effects)


def test_a_dropped_partition_expects_nothing() -> None:
    made = ledger()
    made.drop(0)
    assert not made.expects(0, 10)
    assert not made.owns(0)
    assert made.positions() == {1: 20}


@given(
    committed=st.one_of(st.none(), st.integers(0, 50)),
    low=st.integers(0, 50),
    length=st.integers(0, 50),
    rows=st.integers(0, 3),
    had_state=st.booleans(),
    changelog=st.booleans(),
)
def test_a_start_is_where_processing_stopped_or_an_error(
    committed: int | None, low: int, length: int, rows: int, had_state: bool, changelog: bool
) -> None:
    high = low + length
    known = None if committed is None else Committed(committed, had_state)
    right = rows == 0 if committed is None else low <= committed <= high and (changelog or not had_state)
    if right:
        start = starting_offset("in[0]", known, low, high, rows, "g", changelog=changelog)
        assert start == (low if committed is None else committed)
    else:
        with pytest.raises(OperatorNeeded, match=r"in\[0\].*group g"):
            starting_offset("in[0]", known, low, high, rows, "g", changelog=changelog)


@pytest.mark.parametrize("wrong", [{"drain": 130.0}, {"load_timeout": 120.0}])
def test_settings_that_would_make_the_group_give_up_on_us_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="max_poll_interval"):
        FencedSettings(**wrong)  # type: ignore[arg-type]


class LedgerMachine(RuleBasedStateMachine):
    """Against a model: whatever happens, each input is committed exactly once, in order, while it is ours."""

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger()
        self.log_end = dict.fromkeys(range(3), 0)
        self.durable = dict.fromkeys(range(3), 0)
        self.given: dict[int, int] = {}

    @rule(partition=st.integers(0, 2))
    def assign(self, partition: int) -> None:
        if partition not in self.given:
            self.ledger.assign(partition, self.durable[partition])
            self.given[partition] = self.durable[partition]

    @rule(partition=st.integers(0, 2))
    def lose(self, partition: int) -> None:
        self.ledger.drop(partition)
        self.given.pop(partition, None)

    @rule(partition=st.integers(0, 2), offset=st.integers(0, 30))
    def offer(self, partition: int, offset: int) -> None:
        wanted = partition in self.given and offset >= self.given[partition]
        assert self.ledger.expects(partition, offset) == wanted
        if wanted:
            self.ledger.give(partition, offset)
            self.given[partition] = offset + 1

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        touched = data.draw(st.sets(st.sampled_from(sorted(self.given))))
        offsets = self.ledger.of(Effects(state=[(p, b"k", b"v") for p in touched]))
        assert touched <= offsets.keys()
        for partition, offset in offsets.items():
            assert offset >= self.durable[partition]
            self.durable[partition] = offset
        self.ledger.commit(offsets)
        assert all(self.durable[p] == n for p, n in self.given.items())

    @invariant()
    def owns_what_the_model_owns(self) -> None:
        assert self.ledger.partitions() == sorted(self.given)


TestLedger = LedgerMachine.TestCase
