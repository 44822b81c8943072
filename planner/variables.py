"""Which variables a template needs: a row that lacks one of them is an error of that row.

Not needed is what the template itself guards: `{{ x | default("y") }}`, `x is defined`, and whatever
stands where such a test has already said that `x` is there. `{% if x %}` guards nothing: it would take
a row that lacks `x` for one whose `x` is empty.
"""

from __future__ import annotations

from jinja2 import meta, nodes

from planner.templates import PARTS, parse
from schemas.campaign import ResolvedTemplate


def required(template: ResolvedTemplate) -> frozenset[str]:
    """The variables that every row must have, over all parts. Raises `jinja2.TemplateSyntaxError`."""
    sources = (getattr(template, part) for part in PARTS)
    return frozenset().union(*(required_in(source) for source in sources if source)) - {"email"}


def required_in(source: str) -> frozenset[str]:
    """The variables that one source needs. Raises `jinja2.TemplateSyntaxError`."""
    tree = _guarded(parse(source), frozenset())
    return frozenset(meta.find_undeclared_variables(tree))  # type: ignore[arg-type]  # a template stays one


def _guarded(node: nodes.Node, safe: frozenset[str]) -> nodes.Node:
    """`node` with each use of a variable that may be absent taken out; `safe` are names known to be there."""
    if isinstance(node, nodes.Name) and node.ctx == "load" and node.name in safe:
        return _nothing(node)
    if (
        isinstance(node, nodes.Filter | nodes.Test)
        and node.name in {"default", "d", "defined", "undefined"}
        and isinstance(node.node, nodes.Name)
    ):
        node.node = _nothing(node)
    elif isinstance(node, nodes.If):
        return _guarded_if(node, safe)
    elif isinstance(node, nodes.CondExpr):
        there, absent = _known(node.test)
        node.test = _expr(node.test, safe)
        node.expr1 = _expr(node.expr1, safe | there)
        node.expr2 = _expr(node.expr2, safe | absent) if node.expr2 is not None else None
        return node
    elif isinstance(node, nodes.And | nodes.Or):
        there, absent = _known(node.left)
        node.left = _expr(node.left, safe)
        node.right = _expr(node.right, safe | (there if isinstance(node, nodes.And) else absent))
        return node
    _guard_children(node, safe)
    return node


def _guard_children(node: nodes.Node, safe: frozenset[str]) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, _guarded(value, safe))
        elif isinstance(value, list):
            setattr(node, name, [_guarded(v, safe) if isinstance(v, nodes.Node) else v for v in value])


def _guarded_if(node: nodes.If, safe: frozenset[str]) -> nodes.If:
    there, absent = _known(node.test)
    node.test = _guarded(node.test, safe)
    node.body = [_guarded(child, safe | there) for child in node.body]
    after = safe | absent  # what the branches below see: the test was false
    node.elif_ = [_guarded_if(branch, after) for branch in node.elif_]
    node.else_ = [_guarded(child, after) for child in node.else_]
    return node


def _expr(node: nodes.Expr, safe: frozenset[str]) -> nodes.Expr:
    guarded = _guarded(node, safe)
    if not isinstance(guarded, nodes.Expr):
        raise AssertionError("an expression stays one")
    return guarded


def _known(test: nodes.Node) -> tuple[frozenset[str], frozenset[str]]:
    """The variables that are surely there when `test` is true, and when it is false."""
    nobody: frozenset[str] = frozenset()
    if isinstance(test, nodes.Test) and isinstance(test.node, nodes.Name):
        if test.name == "defined":
            return frozenset({test.node.name}), nobody
        if test.name == "undefined":
            return nobody, frozenset({test.node.name})
    if isinstance(test, nodes.Not):
        there, absent = _known(test.node)
        return absent, there
    if isinstance(test, nodes.And):
        return _known(test.left)[0] | _known(test.right)[0], nobody
    if isinstance(test, nodes.Or):
        return nobody, _known(test.left)[1] | _known(test.right)[1]
    return nobody, nobody


def _nothing(node: nodes.Node) -> nodes.Const:
    return nodes.Const("", lineno=node.lineno)
