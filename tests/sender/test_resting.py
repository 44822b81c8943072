"""What rests comes back as it was, in little room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from journals import NOON, chunk

from sender.journal import core, late, rows
from sender.journal.values import BatchJournal, Ended
from sender.resting import Resting
from sender.traffic import BatchKey

KEYS = st.tuples(st.sampled_from(["c", "d"]), st.integers(1, 4))
ROWS = st.lists(st.binary(max_size=80).filter(lambda row: b"\0" not in row), min_size=1, max_size=4)
SPOOLS = st.sets(st.sampled_from(["s1", "s2", "s3"]))


@given(st.lists(st.tuples(KEYS, st.none() | st.tuples(ROWS, SPOOLS))))
def test_every_batch_is_what_was_put_last_until_it_is_dropped(
    steps: list[tuple[BatchKey, tuple[list[bytes], set[str]] | None]],
) -> None:
    resting, expected = Resting(), dict[BatchKey, tuple[list[bytes], set[str]]]()
    for key, put in steps:
        if put is None:
            resting.drop(key)
            expected.pop(key, None)
        else:
            resting.put(key, *put)
            expected[key] = put
        assert len(resting) == len(expected)
    for campaign in ("c", "d"):
        for number in range(1, 5):
            key, put = (campaign, number), expected.get((campaign, number))
            assert (key in resting) == (put is not None)
            assert resting.rows(key) == (None if put is None else put[0])
    assert resting.spools() == {spool for _, spools in expected.values() for spool in spools}
    for spool in ("s1", "s2", "s3"):
        assert resting.awaiting(spool) == sorted(key for key, (_, spools) in expected.items() if spool in spools)


def doubtful(number: int, size: int = 120) -> BatchJournal:
    """A batch of which half were accepted; of three nobody knows until a spool can be read."""
    permit = chunk(number, ((0, size),), size, batch_number=number, campaign_id="news-of-today")
    journal, _, _ = core.take_permit(None, permit, NOON)
    journal, begun = core.begin(journal, size // 2, NOON, f"spool-{number % 2}")
    unknown = [Ended(i, "in_doubt", NOON, recovered=True, unread=f"spool-{number % 2}") for i in begun[-3:]]
    journal, _ = core.ended(journal, [*(Ended(i, "accepted", NOON) for i in begun[:-3]), *unknown])
    return core.finish(journal, NOON, "done")[0]


def test_many_alike_take_a_tenth_of_their_rows() -> None:
    resting, whole = Resting(), 0
    for number in range(1, 201):
        values = rows.whole(doubtful(number))
        resting.put(("news-of-today", number), values, late.awaited(doubtful(number)))
        whole += sum(map(len, values))
    assert sum(len(packed) for packed in resting._packed.values()) < whole / 10
    found = resting.rows(("news-of-today", 7)) or []
    assert rows.load(found[0], found[1:]) == doubtful(7)
    assert resting.awaiting("spool-1") == [("news-of-today", n) for n in range(1, 201, 2)]
