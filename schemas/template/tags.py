"""The tags of an HTML template, Jinja and all, as a browser sees them (HTML Living Standard, 13.2.5). Pure.

Each piece of Jinja is held as one character, so that HTML and Jinja do not get into each other's way. The time grows
with the length alone: what is never closed (a quote, a comment, a script) ends the search, since the rest is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from jinja2 import Environment, TemplateSyntaxError

from schemas.template.context import SPACE

JINJA = Environment(keep_trailing_newline=True)  # noqa: S701  (it only reads)
_FIRST = 0xF0000
"""Characters of plane 15, private use: n stands for the n-th piece of Jinja."""
_LAST = 0xFFFFD
PIECE = re.compile(f"([{chr(_FIRST)}-{chr(_LAST)}])")
_ENDS = frozenset(["variable_end", "block_end", "comment_end", "raw_end"])
_BLOCKS = frozenset(["if", "for", "macro", "call", "filter", "with", "block", "autoescape"])
_SEEN = re.compile(
    rf"(?P<comment><!--(?!\[if\b))|(?P<end></[a-z][^{SPACE}/>]*)|<(?P<tag>[a-z][^{SPACE}/>]*)"
    r"|(?P<piece>[\U000F0000-\U000FFFFD])|(?P<if><!--\[if\b)|-->",
    re.IGNORECASE | re.ASCII,
)
_RAW = frozenset(["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"])
_NAME = re.compile(f"[{SPACE}/]*([^{SPACE}>/][^{SPACE}=>/]*)[{SPACE}]*")
_VALUE = re.compile(f"=[{SPACE}]*(?:\"([^\"]*)\"|'([^']*)'|([^{SPACE}>\"'][^{SPACE}>]*)|(?=>))")
_TAG_END = re.compile(f"[{SPACE}/]*>")


OUTLOOK = "<!--[if"


class Held(NamedTuple):
    """A template with each piece of Jinja as one character."""

    text: str
    pieces: list[str]

    def piece(self, mark: str) -> str:
        """The Jinja that a character stands for."""
        return self.pieces[ord(mark) - _FIRST]

    def source(self, text: str) -> str:
        """A text with the pieces back in their places.

        Space that a piece strips is gone by now; after a brace it is put back, or the two would be `{{`, `{%` or `{#`.
        """

        def one(m: re.Match[str]) -> str:
            return (" " if text.endswith("{", 0, m.start()) else "") + self.piece(m[0])

        return PIECE.sub(one, text)


def hold(source: str) -> Held | None:
    """A template, held; None: it is no template, or it has characters or more pieces than there are characters for."""
    if PIECE.search(source):
        return None
    out: list[str] = []
    pieces: list[str] = []
    inside: list[str] = []
    try:
        for _, kind, value in JINJA.lexer.tokeniter(source, None):
            if kind == "data" and not inside:
                out.append(value)
                continue
            inside.append(value)
            if kind in _ENDS:
                pieces.append("".join(inside))
                out.append(chr(_FIRST + len(pieces) - 1))
                inside = []
    except TemplateSyntaxError:
        return None
    return Held("".join(out), pieces) if len(pieces) <= _LAST - _FIRST and not inside else None


class Tag(NamedTuple):
    """A tag, where a browser sees one, or Outlook."""

    name: str
    """In lower case; `/body` of an end tag; empty for what is never closed: the rest of the text is in it."""
    start: int
    attributes: dict[str, tuple[int, int]]
    """Where the values of its attributes are, by names in lower case, the first of each."""
    blocks: tuple[str, ...]
    """The blocks of Jinja round it, and `OUTLOOK` last when it stands in a conditional comment."""


def tags_of(held: Held) -> Iterator[Tag]:
    """The tags, in their order."""
    text, at = held.text, 0
    blocks: list[str] = []
    outlook: tuple[str, ...] = ()
    while (found := _SEEN.search(text, at)) is not None:
        start, at = found.start(), found.end()
        if found["piece"]:
            _follow(held.piece(found[0]), blocks)
            continue
        if found["if"] or found[0] == "-->":
            outlook = (OUTLOOK,) if found["if"] else ()
            continue
        name = (found["tag"] or found[0][1:]).lower()
        attributes: dict[str, tuple[int, int]] = {}
        if found["tag"]:
            end = _read_attributes(text, at, attributes)
        else:
            end = text.find("-->", at - 2) + 3 if found["comment"] else at
        if found["tag"] and name in _RAW and end is not None:
            closing = re.compile(f"</{name}(?=[{SPACE}/>])", re.IGNORECASE | re.ASCII).search(text, end)
            end = closing.end() if closing is not None else None
        if end is None or end < at:  # a quote, comment or script
            yield Tag("", start, {}, (*blocks, *outlook))
            return
        if found["comment"]:
            outlook = ()
        else:
            yield Tag(name, start, attributes, (*blocks, *outlook))
        for m in PIECE.finditer(text, at, end):
            _follow(held.piece(m[0]), blocks)
        at = end


def _read_attributes(text: str, at: int, found: dict[str, tuple[int, int]]) -> int | None:
    """Where a tag ends whose attributes begin here; None: it never does."""
    while (end := _TAG_END.match(text, at)) is None:
        name = _NAME.match(text, at)
        if name is None:
            return None
        at, span = name.end(), (name.end(), name.end())
        if text[at : at + 1] == "=":
            value = _VALUE.match(text, at)
            if value is None:
                return None
            at, span = value.end(), value.span(value.lastindex or 0)
        found.setdefault(name[1].lower(), span)
    return end.end()


def _follow(piece: str, blocks: list[str]) -> None:
    """Which blocks are open after a piece of Jinja."""
    said = re.match(r"\{%[-+]?\s*(\w+)", piece)
    if said is None:
        return
    if said[1].startswith("end"):
        del blocks[-1:]
    elif said[1] in _BLOCKS or (said[1] == "set" and "=" not in piece):
        blocks.append(said[1])


def place_of_pixel(held: Held) -> int | None:
    """Before the last `</body>` that stands outside all blocks, else the end; None: there may be no HTML at all, or
    the end is in something that is never closed."""
    tags = list(tags_of(held))
    outermost = [tag for tag in tags if not tag.blocks]
    end = len(held.text) if outermost and tags[-1].name else None
    return next((tag.start for tag in reversed(outermost) if tag.name == "/body"), end)
