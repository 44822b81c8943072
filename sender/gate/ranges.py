"""Sets of indices as sorted ranges `[(start, end), ...]`, the end not included. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Ranges = list[tuple[int, int]]


def total(ranges: Iterable[Sequence[int]]) -> int:
    """How many indices there are."""
    if type(ranges) is list and len(ranges) == 1:
        return int(ranges[0][1] - ranges[0][0])
    return sum(r[1] - r[0] for r in ranges)


def union(*sets: Iterable[Sequence[int]]) -> Ranges:
    """The indices in any of them, as few ranges as possible, in order."""
    found: Ranges = []
    for start, end in sorted((r[0], r[1]) for ranges in sets for r in ranges):
        if end <= start:
            continue
        if found and start <= found[-1][1]:
            if end > found[-1][1]:
                found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def minus(ranges: Iterable[Sequence[int]], taken: Iterable[Sequence[int]]) -> Ranges:
    """The indices of `ranges` that are not in `taken`. One walk along both, however many there are."""
    left: Ranges = []
    gone, at = union(taken), 0
    for start, end in union(ranges):
        while at < len(gone) and gone[at][1] <= start:
            at += 1
        free, here = start, at
        while here < len(gone) and gone[here][0] < end:
            if free < gone[here][0]:
                left.append((free, gone[here][0]))
            free = gone[here][1]
            here += 1
        if free < end:
            left.append((free, end))
    return left


def within(ranges: Iterable[Sequence[int]], size: int) -> Ranges:
    """The indices of `ranges` that a batch of `size` has."""
    return union((max(0, r[0]), min(size, r[1])) for r in ranges)


def common(ranges: Iterable[Sequence[int]], others: Iterable[Sequence[int]]) -> Ranges:
    """The indices that are in both."""
    mine = union(ranges)
    return minus(mine, minus(mine, others))


def take(ranges: Ranges, n: int) -> tuple[Ranges, Ranges]:
    """The first `n` indices of sorted ranges, and the rest."""
    taken: Ranges = []
    for i, (start, end) in enumerate(ranges):
        if n <= 0:
            return taken, ranges[i:]
        cut = min(end, start + n)
        taken.append((start, cut))
        n -= cut - start
        if cut < end:
            return taken, [(cut, end), *ranges[i + 1 :]]
    return taken, []
