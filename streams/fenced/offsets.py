"""Which offsets a transaction carries, and where a partition starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.fenced.errors import EffectsError, OperatorNeeded
from streams.fenced.model import Effects

HAS_STATE = "state"
"""What stands beside a partition's committed offset once a state row was written for it; so state that has
vanished is noticed."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A partition's committed offset, and whether state was ever committed with it."""

    offset: int
    has_state: bool


class Ledger:
    """The offsets of the partitions that are ours: given to the role, and committed.

    Invariant: committed <= given, for each partition; neither ever goes back while it is ours.
    """

    def __init__(self) -> None:
        self._given: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._has_state: set[int] = set()

    def assign(self, partition: int, offset: int, *, has_state: bool = False) -> None:
        self._given[partition] = self._committed[partition] = offset
        if has_state:
            self._has_state.add(partition)

    def drop(self, partition: int) -> None:
        self._given.pop(partition, None)
        self._committed.pop(partition, None)
        self._has_state.discard(partition)

    def partitions(self) -> list[int]:
        return sorted(self._given)

    def owns(self, partition: int) -> bool:
        return partition in self._given

    def expects(self, partition: int, offset: int) -> bool:
        """Whether the input at `offset` is ours and was not given before."""
        return offset >= self._given.get(partition, offset + 1)

    def give(self, partition: int, offset: int) -> None:
        self._given[partition] = offset + 1

    def note_state(self, partitions: Iterable[int]) -> None:
        """State rows are being written for these; see `HAS_STATE`."""
        self._has_state.update(partitions)

    def metadata(self, partition: int) -> str:
        """What is committed beside the partition's offset."""
        return HAS_STATE if partition in self._has_state else ""

    def positions(self) -> dict[int, int]:
        """The committed offset of all that is ours: valid at any time, moves nothing."""
        return dict(self._committed)

    def of(self, effects: Effects) -> dict[int, int]:
        """The offsets that the transaction of `effects` commits: one of every partition that it touches.

        That is what fences it, and what makes the next owner of a touched partition wait while the
        transaction is open; so a partition that only a timer touched gets its committed offset once more.
        Raises `EffectsError` for a partition that is not ours or an offset outside of what was given.
        """
        touched = effects.touched()
        self._require_owned(touched | (effects.consumed or {}).keys())
        if effects.consumed is None:
            return {p: n for p, n in self._given.items() if p in touched or n > self._committed[p]}
        for partition, offset in effects.consumed.items():
            low, high = self._committed[partition], self._given[partition]
            if not low <= offset <= high:
                raise EffectsError(
                    f"offset {offset} of partition {partition} is not in {low}..{high}, committed to given; "
                    "the role must name offsets of inputs that it was given and has not committed"
                )
        return {p: self._committed[p] for p in touched} | effects.consumed

    def commit(self, offsets: dict[int, int]) -> None:
        for partition, offset in offsets.items():
            if partition in self._committed:
                self._committed[partition] = offset

    def _require_owned(self, partitions: Iterable[int]) -> None:
        foreign = sorted(set(partitions) - self._given.keys())
        if foreign:
            raise EffectsError(f"partitions {foreign} are not ours; a role must forget a partition in `lost`")


def starting_offset(
    place: str, committed: Committed | None, low: int, high: int, rows: int, group: str, *, changelog: bool
) -> int:
    """Where the input partition `place` is read from; never a silent reset.

    `committed` is None before the group's first commit, `low`..`high` what the topic holds, `rows` what the
    partition's state has, `changelog` whether its changelog holds anything. Raises `OperatorNeeded`.
    """
    if committed is None:
        if rows:
            raise OperatorNeeded(
                f"{place}: {rows} rows of state but no committed offset of group {group} (expired or deleted?); "
                "starting over would do everything again. Set the group's offset to where processing stopped, "
                "or delete the state topic to really begin anew"
            )
        return low
    offset = committed.offset
    if committed.has_state and not changelog:
        raise OperatorNeeded(
            f"{place}: group {group} stands at {offset} and had state, but its part of the state topic is empty "
            "(deleted, or made anew?); going on would forget what was done. Restore the state topic, or delete "
            "the group's offsets too to really begin anew"
        )
    if offset < low:
        raise OperatorNeeded(
            f"{place}: offsets {offset} to {low - 1} were deleted before group {group} processed them "
            "(retention too short?). Restore them, or accept the loss by setting the group's offset to "
            f"{low}"
        )
    if offset > high:
        raise OperatorNeeded(
            f"{place}: group {group} stands at {offset}, but the topic ends at {high}: it was truncated or "
            "made anew. Restore the topic, or delete state topic and group to begin anew"
        )
    return offset


def offset_gone(topic: str, group: str, error: str) -> OperatorNeeded:
    """The group's offset is not in the topic any more, as a broker says while it is read."""
    return OperatorNeeded(
        f"{topic}: the offset of group {group} is no longer in the topic ({error}); records were deleted before they "
        "were processed, or the topic was made anew. Restore it, or set the group's offset and accept the loss"
    )
