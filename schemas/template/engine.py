"""One part of a template (subject, HTML, text): parsed and checked, compiled, and rendered within its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, Template, TemplateSyntaxError, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError, UndefinedError
from markupsafe import Markup

from schemas.template.budget import Budget
from schemas.template.context import HtmlScanner, Scanner, TextScanner
from schemas.template.errors import Part, RowError, TemplateError, Unsafe
from schemas.template.links import TOKEN
from schemas.template.placement import Forbidden, place_filters
from schemas.template.plaintext import text_template, tidy
from schemas.template.sandbox import Lacking, Sandbox

MAX_SOURCE_BYTES = 256 * 1024
"""Of one part. Mail clients clip a message long before, and checking it takes up to 4 microseconds a byte."""
MAX_TOKENS = 5_000
"""Of Jinja in one part: compiling takes 0.1 ms each. `{{ name }}` has five, spaces included."""

_LEXER = Environment().lexer  # noqa: S701  (it only reads)


@dataclass(frozen=True, slots=True)
class Program:
    """One part, compiled. Not for two threads at once."""

    part: Part
    template: Template
    budget: Budget
    finish: Callable[[str], str] = str

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
            raise Unsafe(f"{self.part}: not for templates: {e}") from None
        except RecursionError:
            raise Unsafe(f"{self.part}: the template calls itself without end") from None
        except (JinjaError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError, MemoryError) as e:
            raise RowError(f"{self.part}: {type(e).__name__}: {str(e)[:300]}") from None
        return self.finish("".join(out))


@dataclass(frozen=True, slots=True)
class Parsed:
    """One part with the filters of its places in it, not yet compiled."""

    part: Part
    environment: Sandbox
    tree: nodes.Template
    finish: Callable[[str], str] = str

    def compiled(self) -> Program:
        """The part, ready to render; its tree is used up by that. Raises `TemplateError`."""
        try:
            template = self.environment.from_string(self.tree)
        except TemplateSyntaxError as e:  # an unknown filter or test is one as well
            raise TemplateError(self.part, e.lineno, str(e.message)) from None
        except (RecursionError, MemoryError):
            raise TemplateError(self.part, None, "it is nested too deeply") from None
        except (JinjaError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError) as e:
            raise TemplateError(self.part, None, str(e)[:300]) from None
        return Program(self.part, template, self.environment.budget, self.finish)


def parse_html(source: str, *, measured: bool = False) -> Parsed:
    """The HTML part: values are escaped for where they stand. Raises `TemplateError`.

    `measured`: it was made of one that is right, and may be larger and ask for `TOKEN`.
    """
    return _parsed(_environment(html=True), "html", source, HtmlScanner(), measured=measured)


def parse_text(part: Part, source: str) -> Parsed:
    """The subject, or a text part: values are plain, but in a URL's query. Raises `TemplateError`."""
    return _parsed(_environment(html=False), part, source, TextScanner())


def parse_derived(html: str) -> Parsed:
    """The text part that an HTML template makes. Raises `TemplateError` when it makes none."""
    environment = _environment(html=False)
    for name in ("e", "escape", "forceescape"):
        environment.filters[name] = _plain
    measure("html", html)
    try:
        source = text_template(html, environment)
        return _parsed(environment, "text", source, TextScanner(), finish=tidy)
    except (TemplateSyntaxError, TemplateError, ValueError):
        text = "no text part can be made of this HTML (do {% %} and tags cross, is a tag open?); write one in `text`"
        raise TemplateError("text", None, text) from None


def measure(part: Part, source: str) -> None:
    """Raises `TemplateError` when a source is too long to be compiled soon, or is no template."""
    if len(source.encode("utf-8", "replace")) > MAX_SOURCE_BYTES:
        text = f"it is larger than {MAX_SOURCE_BYTES // 1024} KB; mail clients clip it long before"
        raise TemplateError(part, None, text)
    try:
        tokens = (kind for _, kind, _ in _LEXER.tokeniter(source, None) if kind != "data")
        too_long = next(islice(tokens, MAX_TOKENS, None), None) is not None
    except TemplateSyntaxError as e:
        raise TemplateError(part, e.lineno, str(e.message)) from None
    if too_long:
        text = f"it has more than {MAX_TOKENS:,} words of Jinja; move what it works out into columns"
        raise TemplateError(part, None, text)


def _parsed(
    environment: Sandbox,
    part: Part,
    source: str,
    scanner: Scanner,
    finish: Callable[[str], str] = str,
    *,
    measured: bool = False,
) -> Parsed:
    if not measured:
        measure(part, source)
    try:
        tree = environment.parse(source)
        if not measured:
            _refuse_token(part, tree)
        return Parsed(part, environment, place_filters(tree, scanner), finish)
    except Forbidden as e:
        raise TemplateError(part, e.line, e.problem) from None
    except TemplateSyntaxError as e:
        raise TemplateError(part, e.lineno, str(e.message)) from None
    except (RecursionError, MemoryError):
        raise TemplateError(part, None, "it is nested too deeply") from None


def _refuse_token(part: Part, tree: nodes.Template) -> None:
    for one in tree.find_all(nodes.Name):
        if one.name == TOKEN:
            raise TemplateError(part, one.lineno, f"{TOKEN} is a name that tracking needs; give the variable another")


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


def _plain(value: Any) -> Any:
    """`|e` of an HTML template, in the text that is derived from it."""
    return value if isinstance(value, Lacking) else str(value)
