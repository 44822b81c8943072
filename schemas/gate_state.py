"""`gate.state`: the gate's tables, one row a relay, domain, campaign or batch.

The content of a row is the gate's own business (`sender/gate/`); here is only what all rows share.
"""

from __future__ import annotations

from typing import Any, Literal

from schemas.base import Model


class GateRow(Model):
    """One row. Key: `table:name`, such as `domain:bore.example`."""

    table: Literal["relay", "domain", "campaign", "batch"]
    name: str
    row: dict[str, Any]
