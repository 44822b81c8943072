"""Numbers of things, as people write them."""

from __future__ import annotations


def counted(n: int, one: str, many: str | None = None) -> str:
    """`1 batch`, `2 batches`: `n` and the word for so many; `many` is `one` with an s when it is left out."""
    return f"{n} {one if n == 1 else many or one + 's'}"
