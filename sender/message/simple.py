"""Templates that need no template engine: text, values that go through filters known here, and plain conditions.

A part is *simple* when it has nothing but text, `{{ name }}`, `{{ name | filter }}` with `default` and the
filters that escape, and `{% if %}` with what `conditions.py` knows. Such a part is a row of pieces, found once:
what the template says, a `Value` for each `{{ }}`, a `Choice` for each `{% if %}`. What a value becomes is what
the engine would make of it: its filters, and the one for its place (`placement.py`), are the engine's own,
called one after the other. A row chooses one of the part's *variants*, which are text and values alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, nodes
from markupsafe import escape

from schemas.template.placement import FILTER_OF
from sender.message.conditions import Condition, Declined, Get, condition, is_variable

_FILTERS = frozenset(["default", "d", "e", "escape", "forceescape", "safe", "urlencode"])
_DEFAULTS = frozenset(["default", "d"])
_PLACES = frozenset(FILTER_OF.values())
_MARK = "\ud800"
"""Stands for a value in a text that is tidied: no text has it, for it is no character."""

_WORD = r"[A-Za-z0-9!#$%()*+,/:;?@\[\\\]^_`{|}~-]"
tame = re.compile(rf"(?=.{{1,72}}\Z){_WORD}(?:[.]|{_WORD})*(?: (?:[.]|{_WORD})+)*").fullmatch
"""A text that every filter here leaves as it is but `urlencode`, and that is its own quoted-printable form."""
_LETTER = r"""[^\s\x00-\x1f\x7f-\x9f=&<>"'.\ud800-\udfff]"""
wide = re.compile(rf"(?=.{{1,24}}\Z){_LETTER}(?:[.]|{_LETTER})*(?: (?:[.]|{_LETTER})+)*").fullmatch
"""A text in any script that every filter here leaves as it is but `urlencode`, and that takes few octets."""
tame_in_url = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,71}").fullmatch
"""The same for any place in a URL."""
address_in_url = re.compile(r"(?=.{3,70}\Z)[A-Za-z0-9_~-][A-Za-z0-9._~-]*@[A-Za-z0-9._~-]+").fullmatch
"""An address of which percent-encoding changes the `@` alone: what most often stands in a URL."""


@dataclass(frozen=True, slots=True)
class Value:
    """One `{{ }}`."""

    name: str
    source: str
    """Equal for two that make the same of the same."""
    steps: tuple[Callable[[Any], Any], ...]
    may_lack: bool
    """`default` comes first."""
    in_url: bool
    """Something in it percent-encodes."""
    percent: bool = False
    """It is percent-encoded, and nothing else is done to it."""
    worded: bool = False
    """It stands in a text that is tidied: its spaces and line ends could matter to the text round it."""

    def text(self, given: object) -> str:
        """What stands there for `given` (None: the row lacks it). Raises `Declined`, or what a filter raises."""
        if given is None and not self.may_lack:
            raise Declined
        for step in self.steps:
            given = step(given)
        text = str(given)
        if self.worded and (not text or text[0].isspace() or text[-1].isspace() or re.search(r"[\r\n]|  ", text)):
            raise Declined
        return text


@dataclass(frozen=True, slots=True)
class Choice:
    """One `{% if %}`; an `elif` is a choice in `other`."""

    condition: Condition
    names: frozenset[str]
    """The variables that it asks for."""
    then: tuple[Piece, ...]
    other: tuple[Piece, ...]


Flat = str | Value
Piece = Flat | Choice
Key = tuple[bool, ...]
"""How a row answered the conditions that it met, in their order."""


def simple_pieces(body: Iterable[nodes.Node], environment: Environment, *, html: bool) -> tuple[Piece, ...] | None:
    """The pieces of a part whose values have the filters of their places; None when it is not simple."""
    pieces: list[Piece | None] = []
    for node in body:
        if isinstance(node, nodes.Output):
            pieces += [_piece(one, environment, html=html) for one in node.nodes]
        elif isinstance(node, nodes.If):
            pieces.append(_choice(node, environment, html=html))
        else:
            return None
    found = tuple(one for one in pieces if one is not None)
    return found if len(found) == len(pieces) else None


def chosen(pieces: Iterable[Piece], get: Get) -> tuple[Key, list[Flat]]:
    """The variant that a row chooses. Raises `Declined`, or what comparing its values raises."""
    key: list[bool] = []
    out: list[Flat] = []
    for one in pieces:
        if isinstance(one, Choice):
            answer = bool(one.condition(get))
            inner, flat = chosen(one.then if answer else one.other, get)
            key += [answer, *inner]
            out += flat
        else:
            out.append(one)
    return tuple(key), out


def names(pieces: Iterable[Piece]) -> Iterator[str]:
    """The variables of these pieces."""
    for one in pieces:
        if isinstance(one, Value):
            yield one.name
        elif isinstance(one, Choice):
            yield from sorted(one.names)
            yield from names((*one.then, *one.other))


def tidied(pieces: Iterable[Flat], tidy: Callable[[str], str]) -> tuple[Flat, ...] | None:
    """The pieces of a text that `tidy` leaves as it is while its values are words; None: there are none such."""
    values: list[Value] = []
    text = ""
    for one in pieces:
        if isinstance(one, Value):
            values.append(Value(one.name, one.source, one.steps, one.may_lack, one.in_url, one.percent, worded=True))
            text += _MARK
        elif _MARK in one:
            return None
        else:
            text += one
    said = tidy(text).split(_MARK)
    if len(said) != len(values) + 1:
        return None
    out: list[Flat] = [said[0]]
    for value, after in zip(values, said[1:], strict=True):
        out += [value, after]
    return merged(out)


def merged(pieces: Iterable[Flat]) -> tuple[Flat, ...]:
    """The same without empty texts, neighbouring texts as one."""
    out: list[Flat] = []
    for one in pieces:
        if isinstance(one, str) and out and isinstance(out[-1], str):
            out[-1] += one
        elif one != "":
            out.append(one)
    return tuple(out)


def _choice(node: nodes.If, environment: Environment, *, html: bool) -> Choice | None:
    asked = condition(node.test, environment)
    then = simple_pieces(node.body, environment, html=html)
    if node.elif_:
        first, *more = node.elif_
        rest = nodes.If(first.test, first.body, more, node.else_)
        other = simple_pieces([rest], environment, html=html)
    else:
        other = simple_pieces(node.else_, environment, html=html)
    if asked is None or then is None or other is None:
        return None
    found = {node.test} if isinstance(node.test, nodes.Name) else set(node.test.find_all(nodes.Name))
    return Choice(asked, frozenset(one.name for one in found), then, other)


def _piece(node: nodes.Expr, environment: Environment, *, html: bool) -> Flat | None:
    if isinstance(node, nodes.TemplateData):
        return node.data
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return str(escape(node.value)) if html else node.value
    if not (isinstance(node, nodes.Filter) and node.name in _PLACES):
        return None
    inner: nodes.Node | None = node
    filters: list[nodes.Filter] = []
    while isinstance(inner, nodes.Filter):
        filters.insert(0, inner)
        inner = inner.node
    steps = [_step(one, environment) for one in filters]
    if not isinstance(inner, nodes.Name) or not is_variable(inner.name, environment) or None in steps:
        return None
    return Value(
        inner.name,
        repr([(one.name, [getattr(arg, "value", None) for arg in one.args]) for one in filters]) + str(html),
        (*(step for step in steps if step), *((escape,) if html else ())),
        filters[0].name in _DEFAULTS,
        node.name != "_value" or any(one.name == "urlencode" for one in filters),
        node.name != "_value" and len(filters) == 1,
    )


def _step(node: nodes.Filter, environment: Environment) -> Callable[[Any], Any] | None:
    """A filter with its arguments; None when it is not one of those that are known here."""
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        return None
    args = [arg.value for arg in node.args if isinstance(arg, nodes.Const)]
    most = 2 if node.name in _PLACES else int(node.name in _DEFAULTS)
    if (node.name not in _FILTERS and node.name not in _PLACES) or len(args) != len(node.args) or len(args) > most:
        return None
    function = environment.filters[node.name]
    if hasattr(function, "jinja_pass_arg"):
        return None
    return lambda value: function(value, *args)
