"""What can go wrong between us and Kafka.

    StreamsError
    +-- BrokerUnavailable        no answer within the time we wait
    |   `-- BrokerRefused        it answers, but not us: credentials, certificate
    +-- BrokerStartFailed        a broker of our own does not start
    |   +-- BrokerAlreadyRunning another process uses its data directory
    |   `-- BrokerNotInstalled   Java, Maven, jars or the broker's binary are missing
    +-- LockTaken                another process holds a file's lock
    +-- DeliveryFailed           records were not acknowledged
    +-- RecordGone               the record that a pointer names is not there any more
    +-- TableLost                a table is not followed any more: what it says may be old
    `-- TopicsWrong              topics are not as this installation needs them
        `-- PartitionCountChanged

Each message says what happened, to what, and what to do.
"""

from __future__ import annotations


class StreamsError(Exception):
    """Base of all errors of this package."""


class BrokerUnavailable(StreamsError, ConnectionError):
    """No broker answered within the time that we were told to wait."""


class BrokerRefused(BrokerUnavailable):
    """A broker answers but refuses us (credentials, certificate); waiting longer would not help."""


class BrokerStartFailed(StreamsError, RuntimeError):
    """A broker that we start ourselves did not come up."""


class BrokerAlreadyRunning(BrokerStartFailed):
    """Another process holds the broker's data directory."""


class BrokerNotInstalled(BrokerStartFailed):
    """What the broker needs is not on this machine."""


class LockTaken(StreamsError, BlockingIOError):
    """Another process holds a file's lock; `note` is what it tells of itself, which may be nothing yet."""

    def __init__(self, message: str, note: str) -> None:
        super().__init__(message)
        self.note = note


class DeliveryFailed(StreamsError, OSError):
    """Kafka did not acknowledge some records; `failed` says how many."""

    def __init__(self, message: str, failed: int) -> None:
        super().__init__(message)
        self.failed = failed


class RecordGone(StreamsError, LookupError):
    """The record at a known place was compacted away, has expired, or its topic was made anew."""


class TableLost(StreamsError, RuntimeError):
    """A table that is followed in a thread is followed no more; end the process, which is started again."""


class TopicsWrong(StreamsError, RuntimeError):
    """Topics are missing or are not as this installation needs them."""


class PartitionCountChanged(TopicsWrong):
    """Topics have other partition counts than were recorded at the first start: keys would have moved."""
