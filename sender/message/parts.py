"""One part of a template (subject, HTML, text): compiled, and rendered within its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Template, TemplateSyntaxError, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError, UndefinedError
from markupsafe import Markup

from sender.message.bodies import Encoding, shorter
from sender.message.conditions import Declined, Get
from sender.message.context import HtmlScanner, Scanner, TextScanner
from sender.message.errors import MessageError, Part, RowError, TemplateError
from sender.message.placement import Forbidden, place_filters
from sender.message.plaintext import text_template, tidy
from sender.message.sandbox import MAX_OUTPUT, Budget, Lacking, Sandbox
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

    part: Part
    template: Template
    budget: Budget
    finish: Callable[[str], str] = str
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
        pieces = tidied(flat, tidy) if self.finish is tidy else merged(flat)
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
        """The part for one row. Raises `RowError`."""
        self.budget.begin()
        out = []
        try:
            for piece in self.template.generate(row):
                self.budget.write(len(piece))
                out.append(piece)
        except RowError:
            raise
        except UndefinedError as e:
            raise RowError(str(e.message)) from None
        except SecurityError as e:
            raise RowError(f"{self.part}: not for templates: {e}") from None
        except RecursionError:
            raise RowError(f"{self.part}: the template calls itself without end") from None
        except (JinjaError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError, MemoryError) as e:
            raise RowError(f"{self.part}: {type(e).__name__}: {str(e)[:300]}") from None
        return self.finish("".join(out))


def compile_html(source: str) -> CompiledPart:
    """The HTML part: values are escaped for where they stand. Raises `TemplateError`."""
    return _compiled("html", source, HtmlScanner(), html=True)


def compile_text(part: Part, source: str) -> CompiledPart:
    """The subject, or a text part: values are plain, but in a URL's query. Raises `TemplateError`."""
    return _compiled(part, source, TextScanner(), html=False)


def derive_text(html: str) -> CompiledPart:
    """The text part that an HTML template makes. Raises `TemplateError` when it makes none."""
    environment = _environment(html=False)
    for name in ("e", "escape", "forceescape"):
        environment.filters[name] = _plain
    try:
        source = text_template(html, environment)
        return _in(environment, "text", source, TextScanner(), finish=tidy)
    except (TemplateSyntaxError, TemplateError, ValueError):
        raise TemplateError(
            "text", None, "no text part can be made of this HTML (do {% %} and tags cross?); write one in `text`"
        ) from None


def _environment(*, html: bool) -> Sandbox:
    environment = Sandbox(Budget(), html=html)
    budget = environment.budget

    def checked(value: Any, name: str, captured: bool) -> Any:
        if value is None:
            raise RowError(f"lacks the variable {name}" if name else "lacks a variable (a value is null)")
        if captured:
            budget.write(len(str(value)))
        return value

    def percent(safe: str) -> Callable[[Any, str, bool], Any]:
        def encode(value: Any, name: str, captured: bool) -> Any:
            value = checked(value, name, captured)
            if isinstance(value, Markup):  # |safe, |urlencode: encoded already
                return value
            return Markup(quote(str(value).encode("utf-8", "replace"), safe=safe))  # noqa: S704  (percent-encoded)

        return encode

    environment.filters |= {
        "_value": checked,
        "_path": percent("/"),
        "_query": percent(""),
        "_counted": environment.counted,
        "_bounded": environment.bounded,
    }
    return environment


def _compiled(part: Part, source: str, scanner: Scanner, *, html: bool) -> CompiledPart:
    return _in(_environment(html=html), part, source, scanner)


def _in(
    environment: Sandbox, part: Part, source: str, scanner: Scanner, finish: Callable[[str], str] = str
) -> CompiledPart:
    try:
        tree: nodes.Template = place_filters(environment.parse(source), scanner)
        pieces = simple_pieces(tree.body, environment, html=bool(environment.autoescape))
        template = environment.from_string(tree)
    except Forbidden as e:
        raise TemplateError(part, e.line, e.problem) from None
    except TemplateSyntaxError as e:
        raise TemplateError(part, e.lineno, str(e.message)) from None
    except (RecursionError, MemoryError):
        raise TemplateError(part, None, "it is nested too deeply") from None
    except (JinjaError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError) as e:
        raise TemplateError(part, None, str(e)[:300]) from None
    return CompiledPart(part, template, environment.budget, finish, pieces)


def _plain(value: Any) -> Any:
    """`|e` of an HTML template, in the text that is derived from it."""
    return value if isinstance(value, Lacking) else str(value)


__all__ = ["CompiledPart", "compile_html", "compile_text", "derive_text"]
