"""Dead letters: what nobody could use goes to `<topic>.dlq`, unchanged, with the reason in its headers.

Pure: the caller produces the record in the transaction that moves past the input, and the partition goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from streams.fenced.model import Input, Output

MAX_ERROR_BYTES = 4096
OURS = ("error", "topic", "partition", "offset", "attempts", "at")


def dead_letter(
    topic: str, record: Input, error: str, attempts: int, *, at: datetime, extra: Mapping[str, str] | None = None
) -> Output:
    """`record` for the dead-letter topic of `topic`: its key and bytes as they are, its headers and ours.

    Ours: `error` (cut at 4096 bytes), `topic`, `partition`, `offset`, `attempts`, `at` (RFC 3339, UTC), then
    `extra`. Headers of these names on the record itself (it was replayed from a dead-letter topic) give way.
    """
    ours = {
        "error": _cut(error),
        "topic": record.topic.encode(),
        "partition": b"%d" % record.partition,
        "offset": b"%d" % record.offset,
        "attempts": b"%d" % attempts,
        "at": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode(),
        **{name: value.encode() for name, value in (extra or {}).items() if name not in OURS},
    }
    kept = tuple((name, value) for name, value in record.headers if name not in ours)
    return Output(f"{topic}.dlq", record.key, record.value, (*kept, *ours.items()))


def _cut(error: str) -> bytes:
    """At most 4096 bytes, whole characters."""
    return error.encode(errors="replace")[:MAX_ERROR_BYTES].decode(errors="ignore").encode()


class Attempts:
    """Counts how often each record has failed: the third time it is a dead letter.

    In memory: a restart counts anew, which only means that it is tried more often.
    """

    def __init__(self, limit: int = 3) -> None:
        self.limit = limit
        self._failed: dict[tuple[str, int, int], int] = {}

    def fail(self, record: Input) -> int:
        """One more failure of this record; how many it has now."""
        place = (record.topic, record.partition, record.offset)
        self._failed[place] = self._failed.get(place, 0) + 1
        return self._failed[place]

    def exhausted(self, record: Input) -> bool:
        """Whether it has failed as often as it may."""
        return self._failed.get((record.topic, record.partition, record.offset), 0) >= self.limit

    def forget(self, record: Input) -> None:
        """It is done with: it went through, or became a dead letter."""
        self._failed.pop((record.topic, record.partition, record.offset), None)

    def forget_partition(self, topic: str, partition: int) -> None:
        """The partition has gone to another owner."""
        self._failed = {k: n for k, n in self._failed.items() if k[:2] != (topic, partition)}
