"""One part of a template (subject, HTML, text): compiled, and filled in without the engine where it is simple."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.template.budget import MAX_OUTPUT
from schemas.template.engine import Parsed, Program, parse_derived, parse_html, parse_text
from schemas.template.errors import MessageError, Part
from schemas.template.plaintext import tidy
from sender.message.bodies import Encoding, shorter
from sender.message.conditions import Declined, Get
from sender.message.simple import Flat, Key, Piece, chosen, merged, simple_pieces, tidied

ODD = (MessageError, Declined, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What doing without the engine may raise: then the engine looks at the row, and says what is wrong with it."""
MAX_VARIANTS = 256


class Said(NamedTuple):
    """A part for one row: the pieces that are encoded by themselves, and how (None: as is shorter)."""

    pieces: list[str]
    encoding: Encoding | None


class Variant(NamedTuple):
    """A simple part as some rows choose it."""

    pieces: tuple[Flat, ...]
    encoding: Encoding
    """The shorter one of what the template says."""


@dataclass(frozen=True, slots=True)
class CompiledPart:
    """One part. Not for two threads at once."""

    program: Program
    pieces: tuple[Piece, ...] | None = None
    """Of a simple part: what it needs no engine for."""
    variants: dict[Key, Variant | None] = field(default_factory=dict, compare=False, repr=False)

    def variant(self, get: Get) -> tuple[Key, Variant]:
        """What the row chooses of a simple part. Raises `Declined`, or what comparing its values raises."""
        if self.pieces is None:
            raise Declined
        key, flat = chosen(self.pieces, get)
        if key not in self.variants:
            if len(self.variants) >= MAX_VARIANTS:
                self.variants.clear()
            self.variants[key] = self._made(flat)
        found = self.variants[key]
        if found is None:
            raise Declined
        return key, found

    def _made(self, flat: list[Flat]) -> Variant | None:
        pieces = tidied(flat, tidy) if self.program.finish is tidy else merged(flat)
        return None if pieces is None else Variant(pieces, shorter([one for one in pieces if isinstance(one, str)]))

    def split(self, row: Mapping[str, object]) -> Said:
        """The part for one row, in pieces: each value by itself when the part is simple. Raises `RowError`."""
        try:
            _, variant = self.variant(row.get)
            out = [one if isinstance(one, str) else one.text(row.get(one.name)) for one in variant.pieces]
        except ODD:
            return Said([self.render(row)], None)  # which knows what to say of it
        return Said(out, variant.encoding) if sum(map(len, out)) <= MAX_OUTPUT else Said([self.render(row)], None)

    def render(self, row: Mapping[str, object]) -> str:
        """The part for one row, by the engine. Raises `RowError`."""
        return self.program.render(row)


def compile_html(source: str, *, measured: bool = False) -> CompiledPart:
    """The HTML part: values are escaped for where they stand. Raises `TemplateError`.

    `measured`: it was made of one that is right, and may be larger and ask for a message's token.
    """
    return _compiled(parse_html(source, measured=measured))


def compile_text(part: Part, source: str) -> CompiledPart:
    """The subject, or a text part: values are plain, but in a URL's query. Raises `TemplateError`."""
    return _compiled(parse_text(part, source))


def derive_text(html: str) -> CompiledPart:
    """The text part that an HTML template makes. Raises `TemplateError` when it makes none."""
    return _compiled(parse_derived(html))


def _compiled(parsed: Parsed) -> CompiledPart:
    try:
        environment = parsed.environment
        pieces = simple_pieces(parsed.tree.body, environment, html=bool(environment.autoescape))
    except RecursionError:
        pieces = None
    return CompiledPart(parsed.compiled(), pieces)
