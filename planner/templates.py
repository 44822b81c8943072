"""Templates, before anything is sent: what is wrong with them, and which variables a row must have.

What could run away or reach into Python is refused here with its line, and so is all that the sender could not
compile, since both compile by `schemas.template`. At last the template is filled in once, with a stand-in for every
variable, within the budget that the sender has: what exceeds it so exceeds it for everybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from schemas.campaign import ResolvedTemplate
from schemas.progress import Problem
from schemas.template.engine import Parsed, measure, parse_derived, parse_html, parse_text
from schemas.template.errors import OverBudget, Part, RowError, TemplateError, Unsafe

PARTS = ("subject", "html", "text")
STAND_IN = "1"
"""What every variable holds when a template is tried: a text, a number, and something to loop over."""
MAX_LITERAL = 10_000
"""The largest number that a template may repeat or count to."""
MAX_NESTED_LOOPS = 2

_ENVIRONMENT = SandboxedEnvironment(optimized=False)
for _name in ("lipsum", "cycler", "joiner"):  # the sender has none of these either
    del _ENVIRONMENT.globals[_name]
_WIDTH = re.compile(r"%[-+ #0.(\w)]{0,50}?\d{5,}|\{[^{}]{0,50}?\d{5,}[^{}]{0,20}\}")
"""A width in a format, such as %099999d or {:>99999}."""
_WHOLE_FILES = (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)


def problems(template: ResolvedTemplate, field: str = "template") -> list[Problem]:
    """All that is wrong with a template, named by part (`template.html`), each with its line."""
    return [Problem(field=f"{field}.{part}", problem=text) for part, text in _problems(template)]


def parse(source: str) -> nodes.Template:
    """The syntax tree of a template's source. Raises `jinja2.TemplateSyntaxError`."""
    return _ENVIRONMENT.parse(source)


def _problems(template: ResolvedTemplate) -> Iterator[tuple[Part, str]]:
    """(part, what is wrong with it)."""
    yield from _part_problems("subject", template.subject, lambda source: parse_text("subject", source))
    usable = True
    for text in _part_problems("html", template.html, parse_html):
        usable = False
        yield text
    if template.text is not None:
        yield from _part_problems("text", template.text, lambda source: parse_text("text", source))
    elif usable:
        yield from _part_problems("text", template.html, parse_derived)


def _part_problems(part: Part, source: str | None, parse_it: Callable[[str], Parsed]) -> Iterator[tuple[Part, str]]:
    if source is None:
        return
    try:
        measure(part, source)
        unsafe = list(_unsafe(parse(source), 0))
        yield from ((part, text) for text in unsafe)
        if not unsafe:  # compiling works out what is constant: 9 ** 99999999 would take for ever
            program = parse_it(source).compiled()
            program.render(dict.fromkeys(meta.find_undeclared_variables(parse(source)), STAND_IN))
    except TemplateSyntaxError as e:
        yield part, f"line {e.lineno}: {e.message}"
    except TemplateError as e:
        yield part, f"line {e.line}: {e.problem}" if e.line else e.problem
    except RecursionError:
        yield part, "it is nested too deeply"
    except (OverBudget, Unsafe) as e:
        yield part, f"cannot be filled in: {e}"
    except RowError:
        return  # a row may have what the stand-in has not


def _unsafe(node: nodes.Node, loops: int) -> Iterator[str]:
    for name, is_bad in _RULES:
        if is_bad(node):
            yield f"line {node.lineno}: {name}"
    if isinstance(node, nodes.For):
        loops += 1
        if loops > MAX_NESTED_LOOPS:
            yield f"line {node.lineno}: loops are nested more than {MAX_NESTED_LOOPS} deep"
            return
    for child in node.iter_child_nodes():
        yield from _unsafe(child, loops)


def _is_private(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return node.attr.startswith("_")
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) and node.arg.value.startswith("_")
    if isinstance(node, nodes.Filter) and node.name in {"attr", "map", "selectattr", "rejectattr"}:
        given = (*node.args, *(keyword.value for keyword in node.kwargs))
        return any(
            isinstance(a, nodes.Const) and any(name.startswith("_") for name in str(a.value).split(".")) for a in given
        )
    return False


def _is_recursive(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Macro):
        called = (call.node for call in node.find_all(nodes.Call))
        return any(isinstance(name, nodes.Name) and name.name == node.name for name in called)
    return isinstance(node, nodes.For) and node.recursive


def _is_long_range(node: nodes.Node) -> bool:
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "range"
        and any(_is_big(argument) for argument in node.args)
    )


def _is_repetition(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Pow):
        return True
    if not isinstance(node, nodes.Mul):
        return False
    sides = (node.left, node.right)
    literal = any(isinstance(s, nodes.List | nodes.Tuple | nodes.TemplateData) for s in sides) or any(
        isinstance(s, nodes.Const) and isinstance(s.value, str) for s in sides
    )
    return literal or any(_is_big(side) for side in sides)


def _is_wide(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        return any(_is_big(a) for a in (*node.args, *(keyword.value for keyword in node.kwargs)))
    return isinstance(node, nodes.Const) and isinstance(node.value, str) and _WIDTH.search(node.value) is not None


def _is_big(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and isinstance(node.value, int | float) and abs(node.value) > MAX_LITERAL


_RULES: tuple[tuple[str, Callable[[nodes.Node], bool]], ...] = (
    ("a name that begins with an underscore is Python's own and cannot be used in a template", _is_private),
    ("a template cannot include, import or extend another one", lambda node: isinstance(node, _WHOLE_FILES)),
    ("a macro that calls itself, or a recursive loop, could run without end; write it out", _is_recursive),
    (f"range() takes numbers up to {MAX_LITERAL} here, so that no loop runs without end", _is_long_range),
    (f"repeating a text, a power, or a factor above {MAX_LITERAL} could fill the memory", _is_repetition),
    (f"a width above {MAX_LITERAL} could fill the memory", _is_wide),
)  # fmt: skip
