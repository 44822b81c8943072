"""Fenced processing: state, outputs and offsets in one transaction that a lost owner cannot commit.

Used by gate, sender and fold. `model.Role` is what they implement, `processor.FencedProcessor` runs it.
"""

from streams.fenced.errors import EffectsError, Fenced, FencedProcessingError, OperatorNeeded, TransactionFailed
from streams.fenced.model import Effects, FencedSettings, Input, Output, Outputs, Role
from streams.fenced.processor import FencedProcessor

__all__ = [
    "Effects",
    "EffectsError",
    "Fenced",
    "FencedProcessingError",
    "FencedProcessor",
    "FencedSettings",
    "Input",
    "OperatorNeeded",
    "Output",
    "Outputs",
    "Role",
    "TransactionFailed",
]
