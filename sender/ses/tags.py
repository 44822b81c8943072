"""A message's name as SES message tags, which come back with every event about it. Pure.

Names and values of tags may have ASCII letters, digits, `_` and `-`, at most 256 (MessageTag, API reference of
SES v2). A campaign id may have dots too: `.` is written `_d`, and `_` is written `__`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date

from schemas.message_name import MessageName

CAMPAIGN, BATCH, INDEX, ROUND = "rampa_campaign", "rampa_batch", "rampa_index", "rampa_round"
DAY = "rampa_day"


def tags_of(name: MessageName, day: date) -> list[dict[str, str]]:
    """`EmailTags` of a message that is sent on `day`, of the sending domain's."""
    campaign = name.campaign_id.replace("_", "__").replace(".", "_d")
    pairs = ((CAMPAIGN, campaign), (BATCH, name.batch_number), (INDEX, name.index), (ROUND, name.round), (DAY, day))
    return [{"Name": key, "Value": str(value)} for key, value in pairs]


def name_of(tags: Mapping[str, Sequence[str]]) -> tuple[MessageName, date | None] | None:
    """The name and day that the tags of an SES event say (`mail.tags`: a list of values each); None: not one of ours.

    A message that was sent before there was a tag for its day has none.
    """
    values = [tags.get(key) or [""] for key in (CAMPAIGN, BATCH, INDEX, ROUND)]
    campaign, *numbers = (value[0] for value in values)
    if not campaign or not all(re.fullmatch(r"[0-9]{1,18}", n, re.ASCII) for n in numbers):
        return None
    plain = re.sub(r"_([_d])", lambda m: "." if m[1] == "d" else "_", campaign)
    return MessageName(plain, *map(int, numbers)), _day((tags.get(DAY) or [""])[0])


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII) else None
    except ValueError:
        return None  # there is no such day
