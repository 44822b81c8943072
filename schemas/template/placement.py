"""Puts the right encoding round every `{{ }}` of a template, and the budget round its loops.

Works on the parsed template (Jinja's AST), once a campaign: the static text round each expression is
read by a scanner (`context.py`), branch by branch, and a filter is put round the expression. Branches of
an `if` begin where the `if` stands; what follows goes on where the first branch ended. A macro's body
begins as plain text.
"""

from __future__ import annotations

from typing import cast

from jinja2 import nodes

from schemas.template.context import Place, Scanner

FILTER_OF = {Place.PLAIN: "_value", Place.PATH: "_path", Place.QUERY: "_query"}


class Forbidden(ValueError):
    """Something that a template of ours may not have: (line, what)."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


def place_filters(template: nodes.Template, scanner: Scanner) -> nodes.Template:
    """`template`, changed in place: filters round its values, counting round its loops.

    Raises `Forbidden` for Python's internals and for what would need another template.
    """
    for node in template.find_all(nodes.Node):
        _refuse(node)
    _walk(template.body, scanner, captured=False)
    _bound(template)
    return template


def _refuse(node: nodes.Node) -> None:
    if isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
        raise Forbidden(node.lineno, "a template stands alone: it cannot include, import or extend another")
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise Forbidden(node.lineno, f"{node.attr!r} is not for templates: names that begin with _ are Python's")
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
        if isinstance(key, str) and key.startswith("__"):
            raise Forbidden(node.lineno, f"{key!r} is not for templates: names that begin with __ are Python's")
    if isinstance(node, nodes.Filter) and node.name.startswith("_"):
        raise Forbidden(node.lineno, f"there is no filter {node.name!r}")


def _walk(body: list[nodes.Node], scanner: Scanner, *, captured: bool) -> Scanner:
    """Changes `body`; gives the scanner at its end."""
    for node in body:
        if isinstance(node, nodes.Output):
            node.nodes = [_placed(one, scanner, captured=captured) for one in node.nodes]
        elif isinstance(node, nodes.If):
            before = scanner.copy()
            scanner = _walk(node.body, scanner, captured=captured)
            for branch in node.elif_:
                _walk(branch.body, before.copy(), captured=captured)
            _walk(node.else_, before.copy(), captured=captured)
        elif isinstance(node, nodes.For):
            before = scanner.copy()
            size = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
            node.iter = _filtered(node.iter, "_counted", nodes.Const(size))
            scanner = _walk(node.body, scanner, captured=captured)
            _walk(node.else_, before, captured=captured)
        elif isinstance(node, nodes.Macro | nodes.CallBlock | nodes.FilterBlock | nodes.AssignBlock):
            _walk(node.body, scanner.copy(), captured=True)
        elif isinstance(node, nodes.With | nodes.Block | nodes.Scope | nodes.ScopedEvalContextModifier):
            scanner = _walk(node.body, scanner, captured=captured)
    return scanner


def _placed(node: nodes.Expr, scanner: Scanner, *, captured: bool) -> nodes.Expr:
    if isinstance(node, nodes.TemplateData):
        scanner.feed(node.data)
        return node
    place = scanner.value()
    if isinstance(node, nodes.Const) and place is Place.PLAIN:
        return node
    name = node.name if isinstance(node, nodes.Name) else ""
    if isinstance(node, nodes.Filter) and isinstance(node.node, nodes.Name):
        name = node.node.name
    return _filtered(node, FILTER_OF[place], nodes.Const(name), nodes.Const(captured))


def _filtered(node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(
        cast("nodes.Expr", node), name, list(args), [], None, None, lineno=node.lineno, environment=node.environment
    )


def _bound(node: nodes.Node) -> None:
    """Puts `_bounded` round what each `~` below `node` makes, so that doubling it in a loop ends."""
    for field, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, field, _bounded(value))
        elif isinstance(value, list):
            value[:] = [_bounded(one) if isinstance(one, nodes.Node) else one for one in value]


def _bounded(node: nodes.Node) -> nodes.Node:
    _bound(node)
    return _filtered(node, "_bounded") if isinstance(node, nodes.Concat) else node
