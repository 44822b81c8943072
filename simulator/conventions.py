"""Addresses that say themselves what shall happen to them, at any domain.

The local part is a word, parts after `+`, and whatever makes the address unique:

    bounce@            bounce+550-5.1.1+anna@   refused at RCPT (default 550 5.1.1)
    defer@             defer+450-4.2.2+anna@    deferred at RCPT for ever (default 451 4.7.1)
    greylist@          greylist+3+anna@         deferred at RCPT so many times (default 1), then taken
    reject@            reject+554-5.7.1+anna@   refused after the final dot (default 554 5.7.1)
    slow@              slow+500+anna@           the final dot's reply takes so many milliseconds (default 1000)
    drop@              drop+rcpt+anna@          the connection is cut before the reply to rcpt, data or message
                       drop+kept+anna@          ... to the final dot, and the message is kept
                       drop+after+anna@         ... after the reply to the final dot

A convention with an argument that it does not understand takes its default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from simulator.replies import reply
from simulator.rules import Stage

PREFIXES: Final = ("bounce", "defer", "greylist", "reject", "slow", "drop")

_CODE: Final = re.compile(r"([45]\d\d)(?:-(([45])\.\d{1,3}\.\d{1,3}))?")
_DEFAULTS: Final = {
    "bounce": (550, "5.1.1", "No such user here"),
    "defer": (451, "4.7.1", "Try again later"),
    "greylist": (451, "4.7.1", "Greylisted, try again later"),
    "reject": (554, "5.7.1", "Message refused"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What an address asks for at one stage."""

    word: str
    at: Stage
    refusal: bytes = b""
    times: int | None = None  # refuse only so often
    delay: float = 0.0  # seconds
    drop: Literal["before", "after", ""] = ""
    keep: bool = False


def wish_of(address: str) -> Wish | None:
    """What the address asks for, or None. Case does not matter."""
    if not address.lower().startswith(PREFIXES):
        return None
    word, *parts = address.lower().rpartition("@")[0].split("+")
    argument = parts[0] if parts else ""
    if word in ("bounce", "defer", "reject"):
        return Wish(word, "message" if word == "reject" else "rcpt", _refusal(word, argument))
    if word == "greylist":
        times = int(argument) if argument.isdecimal() and int(argument) > 0 else 1
        return Wish(word, "rcpt", _refusal(word, ""), times=times)
    if word == "slow":
        return Wish(word, "message", delay=(int(argument) if argument.isdecimal() else 1000) / 1000)
    return _drop(argument) if word == "drop" else None


def _drop(argument: str) -> Wish:
    if argument == "rcpt":
        return Wish("drop", "rcpt", drop="before")
    if argument == "data":
        return Wish("drop", "data", drop="before")
    return Wish("drop", "message", drop="after" if argument == "after" else "before", keep=argument == "kept")


def _refusal(word: str, argument: str) -> bytes:
    code, enhanced, text = _DEFAULTS[word]
    match = _CODE.fullmatch(argument)
    if match:
        code = int(match[1])
        enhanced = match[2] if match[3] == match[1][0] else f"{match[1][0]}.0.0"
    return reply(code, enhanced, text)
