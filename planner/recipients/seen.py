"""Which addresses have been seen, at some 20 bytes each."""

from __future__ import annotations

from hashlib import blake2b

DIGEST = 16
"""Bytes of a digest: among a billion addresses two collide with a chance of 1 in 10^21."""
BUCKETS = 1 << 16
_REST = DIGEST - 2


class Seen:
    """A set of texts that only grows, kept by digest.

    A plain set of digests takes over a hundred bytes each. Here the first two bytes name a bucket, and
    a bucket is the other fourteen of each of its members in a row.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[bytes] = [b""] * BUCKETS

    def add(self, text: str) -> bool:
        """Whether `text` is new; from now on it is not."""
        digest = blake2b(text.encode(), digest_size=DIGEST).digest()
        number = digest[0] << 8 | digest[1]
        rest = digest[2:]
        bucket = self._buckets[number]
        at = bucket.find(rest)
        while at > 0 and at % _REST:  # found across two members
            at = bucket.find(rest, at + 1)
        if at >= 0:
            return False
        self._buckets[number] = bucket + rest
        return True
