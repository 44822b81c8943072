"""Batches of which nothing is done: kept as their rows, packed, until somebody asks for one of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sender.traffic import BatchKey
from streams.packing import Packing

_BETWEEN = b"\0"
"""Stands in no JSON (RFC 8259, section 7)."""


class Resting:
    """Those of one partition, by their key: the permit row, then those of windows."""

    def __init__(self) -> None:
        self._packing = Packing()
        self._packed: dict[BatchKey, bytes] = {}
        self._awaiting: dict[str, set[BatchKey]] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, key: BatchKey) -> bool:
        return key in self._packed

    def put(self, key: BatchKey, rows: Sequence[bytes], spools: Collection[str] = ()) -> None:
        """Keep a batch, instead of what was kept of it. Spools: those that may still tell something of it."""
        self.drop(key)
        self._packed[key] = self._packing.pack(_BETWEEN.join(rows), len(rows) > 1)
        for spool in spools:
            self._awaiting.setdefault(spool, set()).add(key)

    def rows(self, key: BatchKey) -> list[bytes] | None:
        """Its rows in the order in which they came. None: it is not here."""
        packed = self._packed.get(key)
        return None if packed is None else self._packing.unpack(packed).split(_BETWEEN)

    def drop(self, key: BatchKey) -> None:
        """It is somewhere else from now on, or nowhere."""
        if self._packed.pop(key, None) is None:
            return
        for spool in [spool for spool, keys in self._awaiting.items() if key in keys]:
            self._awaiting[spool].discard(key)
            if not self._awaiting[spool]:
                del self._awaiting[spool]

    def spools(self) -> set[str]:
        """Those that may still tell something of batches that are here."""
        return set(self._awaiting)

    def awaiting(self, spool: str) -> list[BatchKey]:
        """The batches of which this spool may tell something."""
        return sorted(self._awaiting.get(spool, ()))
