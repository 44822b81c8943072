"""Limits as people write them ("14/s", "500/day", "30d") and as the code reckons with them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|sec|second|m|min|minute|h|hour|d|day)", re.ASCII)
_SECONDS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)", re.ASCII)
_UNIT = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_rate(text: object) -> object:
    """Messages a second of `"14/s"`, `"300/min"`, `"500/h"`; a bare number is already a second's.

    Raises ValueError, with an example, for anything else.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        rate = float(text)
    elif isinstance(text, str) and (m := _RATE.fullmatch(text.strip())):
        rate = float(m[1]) / _SECONDS[m[2]]
    elif isinstance(text, str) and re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        rate = float(text)
    else:
        raise ValueError(f'a rate reads like "14/s", "300/min" or "1000/h", not {text!r}')
    if rate <= 0:
        raise ValueError("a rate is above zero; pause the campaign or the domain to send nothing")
    return rate


def parse_quota(text: object) -> object:
    """Messages a day of `"500/day"` or a bare whole number. Raises ValueError for anything else."""
    if isinstance(text, str):
        m = re.fullmatch(r"(\d+)\s*(?:/\s*(?:d|day))?", text.strip())
        if not m:
            raise ValueError(f'a daily quota reads like "500/day" or 500, not {text!r}')
        return int(m[1])
    return text


def parse_duration(text: object) -> object:
    """A length of time of `"30d"`, `"4h"`, `"15min"`, `"90s"`. Raises ValueError for anything else."""
    if isinstance(text, timedelta):
        return text
    if isinstance(text, str) and (m := _DURATION.fullmatch(text.strip())):
        return timedelta(seconds=float(m[1]) * _UNIT[m[2]])
    raise ValueError(f'a duration reads like "30d", "4h", "15min" or "90s", not {text!r}')


def show_rate(rate: float) -> str:
    """`14.0` as `"14/s"`, a slower one a minute or an hour."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if rate * seconds >= 1:
            return f"{rate * seconds:.6g}/{unit}"
    return f"{rate * 86400:.6g}/day"


def _plain_seconds(length: timedelta) -> Any:
    return f"{length.total_seconds():g}s"


Rate = Annotated[float, BeforeValidator(parse_rate)]
"""Messages a second of real time."""
Quota = Annotated[int, BeforeValidator(parse_quota)]
"""Messages a day."""
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(_plain_seconds, return_type=str, when_used="json"),
]
