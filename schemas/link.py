"""`Link`: a link of a campaign's HTML that leads through the tracker. Its number is its place in `Campaign.links`.

A tracked URL says the message, the link's number and what stands for the link's values; never the target, which only
the campaign knows. The values can fill the path and the query of that link and nothing else: they are percent-encoded
anew, so that no URL of the tracker leads to a host that the campaign does not name.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, unquote

from schemas.base import Model

NUMBER = "-"
"""Stands between a message's token and the number of a link: `/t/c/TOKEN-2`."""
BETWEEN = "!"
"""Stands between two values. Percent-encoding leaves none of it in a value (RFC 3986, 2.2)."""
SAFE = {"path": "/", "query": ""}
"""What a value keeps in each place besides the unreserved characters (`template/placement.py` encodes it so)."""


def read_click(text: str) -> tuple[str, int] | None:
    """The token and the number, 1 or more, of what stands after `/t/c/`; None: it has no number."""
    token, _, number = text.rpartition(NUMBER)
    return (token, int(number)) if token and re.fullmatch(r"[1-9][0-9]{0,3}", number, re.ASCII) else None


class Link(Model):
    """Where a link of the template leads."""

    parts: tuple[str, ...]
    """The URL before, between and after its values: ASCII, percent-encoded, the host in the first."""
    values: tuple[str, ...] = ()
    """What the template says between the parts, such as `account | default("-")`."""
    places: tuple[Literal["path", "query"], ...] = ()

    @property
    def written(self) -> str:
        """The link as the template has it, for those who ask which link it is."""
        said = (f"{{{{ {value} }}}}" for value in self.values)
        return self.parts[0] + "".join(a + b for a, b in zip(said, self.parts[1:], strict=True))

    def target(self, query: str) -> str | None:
        """Where the link leads whose tracked URL has this query; None: that is no query of this link."""
        given = query.split(BETWEEN) if self.values else []
        if len(given) != len(self.values) or (query and not self.values):
            return None
        out = self.parts[0]
        for value, place, after in zip(given, self.places, self.parts[1:], strict=True):
            out += quote(unquote(value), safe=SAFE[place], errors="replace") + after
        return out
