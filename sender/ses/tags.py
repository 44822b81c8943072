"""A message's name as SES message tags, which come back with every event about it. Pure.

Names and values of tags may have ASCII letters, digits, `_` and `-`, at most 256 (MessageTag, API reference of
SES v2). A campaign id may have dots too: `.` is written `_d`, and `_` is written `__`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sender.message.envelope import MessageName

CAMPAIGN, BATCH, INDEX, ROUND = "rampa_campaign", "rampa_batch", "rampa_index", "rampa_round"


def tags_of(name: MessageName) -> list[dict[str, str]]:
    """`EmailTags` of a message."""
    campaign = name.campaign_id.replace("_", "__").replace(".", "_d")
    pairs = ((CAMPAIGN, campaign), (BATCH, name.batch_number), (INDEX, name.index), (ROUND, name.round))
    return [{"Name": key, "Value": str(value)} for key, value in pairs]


def name_of(tags: Mapping[str, Sequence[str]]) -> MessageName | None:
    """The name that the tags of an SES event say (`mail.tags`: a list of values each); None: not one of ours."""
    values = [tags.get(key) or [""] for key in (CAMPAIGN, BATCH, INDEX, ROUND)]
    campaign, *numbers = (value[0] for value in values)
    if not campaign or not all(re.fullmatch(r"[0-9]{1,18}", n, re.ASCII) for n in numbers):
        return None
    plain = re.sub(r"_([_d])", lambda m: "." if m[1] == "d" else "_", campaign)
    return MessageName(plain, *map(int, numbers))
