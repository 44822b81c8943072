"""The links of an HTML template, and the template in which they and a pixel lead through the tracker. Pure.

| what | tracked |
|---|---|
| `href` of `a`, `area` and Outlook's `v:*`, a whole `http(s)` URL | yes |
| with values in its path or query: `{{ account }}`, `{{ loop.index }}`, `{{ item.id \\| default("-") }}` | yes |
| with other filters, what a template worked out itself (`set`, macros), values in the host, the URL as one value | no |
| `mailto:`, `tel:`, `#here`, relative ones | no |
| a tag with `data-no-track` or `ses:no-track` (as SES calls it) | no |
| URLs in the text part | no |

A link that is not tracked stays as it is. Comments, scripts and styles hold no links, but Outlook's conditional
comments do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape, unescape
from html.entities import html5
from typing import Literal, NamedTuple
from urllib.parse import quote

from jinja2 import TemplateSyntaxError, nodes

from schemas.domain_names import ascii_domain
from schemas.link import BETWEEN, NUMBER, Link
from schemas.template.context import place_in_url
from schemas.template.tags import JINJA, PIECE, Held, hold, place_of_pixel, tags_of

TOKEN = "_rampa_token"  # noqa: S105  (a variable's name)
"""The variable that stands for a message's token in a tracked template."""
MAX_LINKS = 200
"""Tracked links of a template; further ones stay as they are."""
MAX_URL = 4096
MAX_TOGETHER = 128 * 1024
"""Characters of all tracked links of a template: they stand in the campaign's record beside the template."""

_LINKING = re.compile(r"a|area|v:[a-z]+", re.IGNORECASE)
_CAPTURING = frozenset(["macro", "call", "filter", "set"])
"""Blocks whose text a template may change before it stands somewhere."""
_UNTRACKED = frozenset(["data-no-track", "ses:no-track"])
_HOST = re.compile(r"(https?)://([^\s/?#@\[\]\\:]+)(:[0-9]{1,5})?(?=[/?#]|\Z)", re.IGNORECASE | re.ASCII)
_ITEMS = ("previtem", "nextitem")
"""Of a loop: what it goes over, which may be anything."""
_CHARREF = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{1,7}|[A-Za-z][A-Za-z0-9]*);?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_URL_SAFE = "/?#[]@!$&'()*+,;=:%-._~"


class _Spot(NamedTuple):
    """The value of a link's `href` in the held text."""

    link: Link
    start: int
    end: int
    values: str
    """What stands for the link's values, in the held text."""


def links_of(html: str) -> tuple[Link, ...]:
    """The links of a template that can be tracked, in their order; none of one that is no template."""
    held = hold(html)
    return () if held is None else tuple(spot.link for spot in _spots(held))


def tracked(html: str, links: tuple[Link, ...], url: str, *, opens: bool) -> str:
    """The template in which its links lead through the tracker at `url`, and in which a pixel tells of opens.

    `links` are those of the campaign: when the template has others it keeps its own, as numbers would mean other links
    than when the campaign was planned. The pixel stands before `</body>`, else at the end; a template that may be
    empty has none. The result asks for the variable `TOKEN`.
    """
    held = hold(html)
    if held is None:
        return html
    there = escape(url.rstrip("/"))
    changes: list[tuple[int, int, str]] = []
    spots = list(_spots(held))
    if links and tuple(spot.link for spot in spots) == links:
        for number, spot in enumerate(spots, 1):
            values = f"?{spot.values}" if spot.values else ""
            changes.append((spot.start, spot.end, f"{there}/t/c/{{{{ {TOKEN} }}}}{NUMBER}{number}{values}"))
    if opens and (at := place_of_pixel(held)) is not None:
        style = "display:block;border:0;width:1px;height:1px"
        pixel = f'<img src="{there}/t/o/{{{{ {TOKEN} }}}}.gif" width="1" height="1" alt="" style="{style}">'
        changes.append((at, at, pixel))
    out, last = [], 0
    for start, end, text in sorted(changes):
        out += [held.text[last:start], text]
        last = end
    return held.source("".join([*out, held.text[last:]]))


def _spots(held: Held) -> Iterator[_Spot]:
    plain: Callable[[str], str | None] | None = None
    count = size = 0
    again = any("self" in piece for piece in held.pieces)  # {{ self.name() | replace(...) }}
    capturing = _CAPTURING | {"block"} if again else _CAPTURING
    for tag in tags_of(held):
        given = tag.attributes
        if "href" not in given or not _LINKING.fullmatch(tag.name):
            continue
        if not _UNTRACKED.isdisjoint(PIECE.sub("", name) for name in given):  # also when a condition says so
            continue
        if count == MAX_LINKS or not capturing.isdisjoint(tag.blocks):
            continue
        start, end = given["href"]
        plain = plain or _plain_values(held)
        link, values = _link(held, held.text[start:end], plain)
        if link is not None and size + len(link.written) <= MAX_TOGETHER:
            count, size = count + 1, size + len(link.written)
            yield _Spot(link, start, end, values)


# -- what a link says ---------------------------------------------------------------------------------------


def _link(held: Held, value: str, plain: Callable[[str], str | None]) -> tuple[Link | None, str]:
    """The link of an `href`, and its values in the held text; None: it stays as it is."""
    texts = PIECE.split(value)[::2]
    marks = PIECE.findall(value)
    said = [plain(held.piece(mark)) for mark in marks]
    parts = [_unescaped(text) for text in texts]
    values = [one for one in said if one is not None]
    if len(values) < len(said):
        return None, ""
    known = [one for one in parts if one is not None]
    if len(known) < len(parts):
        return None, ""
    known[0] = known[0].lstrip(" ")
    known[-1] = known[-1].rstrip(" ")
    head = _host(known[0])
    if head is None or (values and head[1] == len(known[0])):
        return None, ""
    encoded = [quote(one, safe=_URL_SAFE) for one in known]
    encoded[0] = head[0] + quote(known[0][head[1] :], safe=_URL_SAFE)
    if max(len(value), sum(map(len, encoded))) > MAX_URL:
        return None, ""
    places: list[Literal["path", "query"]] = []
    for n in range(len(values)):
        before = "".join(encoded[: n + 1])
        places.append("query" if "?" in before or "#" in before else "path")
        if place_in_url("x".join(texts[: n + 1]).lstrip(), whole=True).value != places[-1]:
            return None, ""  # a character reference hides from the engine where the value stands
    return Link(parts=tuple(encoded), values=tuple(values), places=tuple(places)), BETWEEN.join(marks)


def _unescaped(text: str) -> str | None:
    """An attribute's text as a browser reads it, without line ends and tabs; None: better not touched."""
    doubtful = False

    def one(m: re.Match[str]) -> str:
        nonlocal doubtful
        said = m[0]
        if said.endswith(";") and (said.startswith("&#") or said[1:] in html5):
            doubtful = doubtful or not unescape(said)  # a control character
            return unescape(said)
        # Without its semicolon a name stands for its character, unless a letter, a digit or = follows.
        doubtful = doubtful or said.startswith("&#") or (said[1:] in html5 and text[m.end() : m.end() + 1] != "=")
        return said

    read = re.sub(r"[\t\n\r]", "", _CHARREF.sub(one, text))
    return None if doubtful or _CONTROL.search(read) or PIECE.search(read) else read


def _host(url: str) -> tuple[str, int] | None:
    """Scheme and host, and how long they were as written."""
    m = _HOST.match(url)
    if m is None:
        return None
    host = m[2].lower()
    if not re.fullmatch(r"[a-z0-9.-]+", host):
        try:
            host = ascii_domain(m[2])
        except ValueError:
            return None
    return f"{m[1].lower()}://{host}{m[3] or ''}", m.end()


# -- which values of a link a tracked URL can carry -----------------------------------------------------------


def _plain_values(held: Held) -> Callable[[str], str | None]:
    """A function that says the expression of a piece when it is a value of the row as it stands there; else None."""
    try:
        tree = JINJA.parse(held.source(held.text))
        known = _bound_names(tree)
    except (TemplateSyntaxError, RecursionError):
        return lambda _: None

    def plain(piece: str) -> str | None:
        if not piece.startswith("{{"):
            return None
        body = JINJA.parse(piece).body
        if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
            return None
        said = re.sub(r"\A\{\{[-+]?\s*|\s*[-+]?\}\}\s*\Z", "", piece)
        return said if _is_plain(body[0].nodes[0], known) else None

    return plain


def _bound_names(tree: nodes.Template) -> frozenset[str]:
    """The names that may stand for something else than a value of the row."""
    bound = {one.name for one in tree.find_all(nodes.Name) if one.ctx != "load"}
    bound |= {one.name for one in tree.find_all(nodes.NSRef)}
    loops = list(tree.find_all(nodes.For))
    named = [name for one in loops for name in _targets(one)]
    others = [one.name for one in tree.find_all(nodes.Name) if one.ctx != "load"]
    # Loops over the row's own lists give the row's own values; names that something else binds too are left alone.
    good = {name for name in named if others.count(name) == named.count(name)}
    while True:
        known = frozenset(bound - good)
        bad = {name for one in loops for name in _targets(one) if not _is_plain(one.iter, known)}
        if not good & bad:
            return known
        good -= bad


def _targets(loop: nodes.For) -> list[str]:
    return [one.name for one in [loop.target, *loop.target.find_all(nodes.Name)] if isinstance(one, nodes.Name)]


def _is_plain(node: nodes.Node | None, bound: frozenset[str]) -> bool:
    """Whether it is a value of the row (or a loop's own), which has no mark-up, with a default perhaps."""
    if isinstance(node, nodes.Name):
        return node.name not in bound and node.name not in JINJA.globals and node.name != "self"
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        of_loop = isinstance(node.node, nodes.Name) and node.node.name == "loop"
        return key not in ((None, *_ITEMS) if of_loop else (None,)) and _is_plain(node.node, bound)
    if isinstance(node, nodes.Filter) and node.name in {"default", "d"}:
        constant = all(isinstance(one, nodes.Const) for one in [*node.args, *(pair.value for pair in node.kwargs)])
        return constant and node.dyn_args is None and node.dyn_kwargs is None and _is_plain(node.node, bound)
    return False
