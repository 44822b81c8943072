"""What pydantic finds wrong with what a person wrote, in words that say what to write. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import ErrorDetails

_WORDS = {
    "tuple_type": 'write a list, such as ["..."]',
    "list_type": 'write a list, such as ["..."]',
    "timezone_aware": "write it with an offset or Z, such as 2026-02-02T09:00:00-05:00",
}


def said(item: ErrorDetails) -> str:
    """What is wrong, without where."""
    if item["type"] == "too_short" and "ctx" in item and item["ctx"].get("actual_length") == 0:
        return f"it is empty: write at least {item['ctx']['min_length']}"
    return _WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")


def causes(found: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """`found` without what follows from another one: a list counts as too short when an item of it is wrong."""
    return [
        item for item in found
        if item["type"] != "too_short" or not any(_inside(other["loc"], item["loc"]) for other in found)
    ]  # fmt: skip


def _inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer
