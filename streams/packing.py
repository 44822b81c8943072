"""Many values that are alike, in little room. Pure.

A row of a batch, a campaign or a relay is like that of another but for numbers and times. So each is packed by what it
does not share with the first that came of its kind (a dictionary in the words of RFC 1950, section 2.2): to a tenth and
less, in a few microseconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, MutableMapping

_DICTIONARY = 32_768
"""Bytes of which deflate can make use (RFC 1951, section 2)."""
_KINDS = 16
"""Dictionaries at most: each is kept for as long as anything is that was packed."""
_NAMES_ONE = 0x20
"""Of the second byte: the number of a dictionary follows (FDICT)."""
_START = 16
"""Bytes by which the kind of a row is told: our JSON begins with it."""
_UNPACKED = 4_000_000
"""Bytes of rows that are kept as they are: most states are smaller, and most rows are soon replaced."""


class Packing:
    """Packs values, and unpacks those that it has packed. Keeps the first of each kind."""

    def __init__(self) -> None:
        self._of_kind: dict[Hashable, bytes] = {}
        self._numbered: dict[int, bytes] = {}

    def pack(self, value: bytes, kind: Hashable) -> bytes:
        packer = zlib.compressobj(level=1, zdict=self._alike(value, kind))
        return packer.compress(value) + packer.flush()

    def unpack(self, packed: bytes) -> bytes:
        """Raises zlib.error for what was packed by another."""
        alike = self._numbered.get(int.from_bytes(packed[2:6], "big"), b"") if packed[1] & _NAMES_ONE else b""
        unpacker = zlib.decompressobj(zdict=alike)
        return unpacker.decompress(packed) + unpacker.flush()

    def _alike(self, value: bytes, kind: Hashable) -> bytes:
        found = self._of_kind.get(kind)
        if found is None and len(self._of_kind) < _KINDS:
            found = value[-_DICTIONARY:]
            found = self._of_kind[kind] = self._numbered.setdefault(zlib.adler32(found), found)
        return found or b""


class PackedRows(MutableMapping[bytes, bytes]):
    """Rows by key, in the order of a dict. All but the last few megabytes that came are packed."""

    def __init__(self, unpacked: int = _UNPACKED) -> None:
        """`unpacked`: bytes of values that may be there as they are."""
        self._most = unpacked
        self._room = unpacked
        self._packing = Packing()
        self._recent: dict[bytes, bytes] = {}
        self._packed: dict[bytes, bytes] = {}

    def __getitem__(self, key: bytes) -> bytes:
        found = self._recent.get(key)
        return self._packing.unpack(self._packed[key]) if found is None else found

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._recent[key] = value
        self._room -= len(value)
        if self._room < 0:
            self._pack()

    def __delitem__(self, key: bytes) -> None:
        if self._recent.pop(key, None) is None:
            del self._packed[key]
        else:
            self._packed.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._recent or key in self._packed

    def __iter__(self) -> Iterator[bytes]:
        yield from self._packed
        yield from (key for key in self._recent if key not in self._packed)

    def __len__(self) -> int:
        return len(self._packed) + sum(key not in self._packed for key in self._recent)

    def _pack(self) -> None:
        for key, value in self._recent.items():
            self._packed[key] = self._packing.pack(value, value[:_START])
        self._recent = {}
        self._room = self._most
