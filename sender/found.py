"""What is found of each batch among the rows of a partition, and which row cannot be read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sender.journal import rows
from sender.traffic import BatchKey

Row = tuple[bytes, bytes]
"""Key and value."""


@dataclass(slots=True)
class Found:
    """The rows of one batch."""

    permit: Row | None = None
    windows: list[Row] = field(default_factory=list)
    aside: Row | None = None

    def keys(self) -> list[bytes]:
        """Of its rows, but for the one that says that it is put aside."""
        return [raw for raw, _ in (*([self.permit] if self.permit else ()), *self.windows)]

    def values(self) -> list[bytes]:
        """Of its windows."""
        return [value for _, value in self.windows]


def by_batch(keys: Iterable[bytes]) -> tuple[dict[BatchKey, list[bytes]], list[bytes]]:
    """The keys of each batch, and those of none. Keys alone: a partition has many rows, and their values are large."""
    batches: dict[BatchKey, list[bytes]] = {}
    nobodys: list[bytes] = []
    campaigns: dict[str, str] = {}
    for raw in keys:
        try:
            campaign, number = _named(raw)
        except ValueError:
            nobodys.append(raw)
            continue
        key = campaigns.setdefault(campaign, campaign), number  # one string for all of them
        if (found := batches.get(key)) is None:
            batches[key] = [raw]
        else:
            found.append(raw)
    return batches, nobodys


def of_batch(keys: Iterable[bytes], state: Mapping[bytes, bytes]) -> Found:
    """The rows of one batch, from its keys."""
    found = Found()
    for raw in keys:
        row = raw, state[raw]
        if raw.endswith(b"!"):
            found.permit = row
        elif raw.endswith(b"~"):
            found.aside = row
        else:
            found.windows.append(row)
    return found


def culprit(permit: Row, windows: Iterable[Row]) -> tuple[Row, str]:
    """Which of the rows of a batch cannot be read, and why."""
    try:
        rows.load(permit[1], ())
    except Exception as e:  # noqa: BLE001 - it was logged
        return permit, _short(e)
    for window in windows:
        try:
            rows.load(permit[1], [window[1]])
        except Exception as e:  # noqa: BLE001 - it was logged
            return window, _short(e)
    return permit, "its rows do not fit together"


def _named(raw: bytes) -> BatchKey:
    """The batch of a row. Raises ValueError."""
    name = raw.decode()
    batch = name[:-1] if name[-1:] in {"!", "~"} else name.rpartition("#")[0]
    campaign, _, number = batch.rpartition("/")
    if not campaign:
        raise ValueError(f"{name!r} is the key of no row of a batch")
    return campaign, int(number)


def _short(e: Exception) -> str:
    return " ".join(str(e).split())[:300]
