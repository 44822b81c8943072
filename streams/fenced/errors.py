"""Why fenced processing stops.

FencedProcessingError (a StreamsError)
|-- Fenced              another owner has what was ours: leave the process, start again at once
|-- TransactionFailed   a transaction did not come through: leave the process, start again
|-- OperatorNeeded      topics, offsets and state do not fit; starting again does not help
`-- EffectsError        the role asked for what no transaction may carry: a defect of the role
"""

from __future__ import annotations

from streams.errors import StreamsError


class FencedProcessingError(StreamsError):
    """Root of all; `exit_code` is what a worker's main ends with."""

    exit_code = 1


class Fenced(FencedProcessingError):
    """The group or the coordinator has given this process's work to another. Nothing was committed."""

    exit_code = 3


class TransactionFailed(FencedProcessingError):
    """The transaction was refused, or its outcome is unknown. What was committed is read at the next start."""

    exit_code = 3


class OperatorNeeded(FencedProcessingError):
    """Offsets, topics and state contradict one another; somebody has to decide. The message says what."""

    exit_code = 4


class EffectsError(FencedProcessingError):
    """The effects name a partition that is not ours, or move its offset backwards or ahead of its inputs."""
