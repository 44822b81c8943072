"""The built-in strategies, one file each; a new one is its file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from planner.strategies.base import Kind
from planner.strategies.batch import BATCH
from planner.strategies.conservative import CONSERVATIVE
from planner.strategies.ramp_up import RAMP_UP

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in (RAMP_UP, BATCH, CONSERVATIVE)})
AUTO = "auto"

__all__ = ["AUTO", "KINDS", "Kind"]
