"""How things are named: campaigns, batches, messages, events.

A message is named by (campaign, batch number, index in the batch); nothing ever moves it to another
batch. Everything that is written about it derives its key from that name, so doing a step again
writes the same thing again.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import StringConstraints

CAMPAIGN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", re.ASCII
)

CampaignId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""1 to 100 of letters, digits, dot, underscore and hyphen, the first a letter or digit."""


def batch_id(campaign_id: str, batch_number: int) -> str:
    """`campaign/7`: the key of everything about a batch. Numbers begin with 1."""
    return f"{campaign_id}/{batch_number}"


def split_batch_id(name: str) -> tuple[str, int]:
    """The (campaign id, batch number) of `campaign/7`. Raises ValueError when it is not one."""
    campaign_id, slash, number = name.rpartition("/")
    if not slash or not number.isdigit():
        raise ValueError(f"{name!r} is not a batch id (campaign/number)")
    return campaign_id, int(number)


def recipients_key(campaign_id: str, batch_number: int, write_id: str, part: int) -> str:
    """The key of one part of a batch's recipients: one of its own for each writing of it."""
    return f"{campaign_id}/{batch_number}#{write_id}#{part}"


def event_id(campaign_id: str, batch_number: int, index: int, event_type: str, round_: int, attempt: int) -> str:
    """The deterministic id of an event: the same fact reported again has the same id."""
    before, after = around_index(campaign_id, batch_number, event_type, round_, attempt)
    return f"{before}{index}{after}"


def around_index(campaign_id: str, batch_number: int, event_type: str, round_: int, attempt: int) -> tuple[str, str]:
    """What stands before and after the index in the ids of events that differ in that alone."""
    return f"{campaign_id}/{batch_number}/", f":{event_type}:{round_}.{attempt}"


def derived_campaign_id(canonical_request: bytes) -> str:
    """The id of a request that has none: `auto-` and 20 hex digits of its content's SHA-256."""
    return "auto-" + hashlib.sha256(canonical_request).hexdigest()[:20]
