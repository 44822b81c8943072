"""Which variables a template needs of every row."""

from __future__ import annotations

from jinja2 import meta, nodes

from schemas.campaign import ResolvedTemplate
from sender.message.sandbox import Budget, Sandbox
from sender.message.template import compile_template


def required_variables(template: ResolvedTemplate) -> frozenset[str]:
    """The variables without which a row may not make a message.

    Those that are used somewhere without `default`, and are nowhere asked for by `is defined`; one that is
    used in a branch counts, although not every row takes it. Raises `TemplateError`.
    """
    compile_template(template)
    needed: set[str] = set()
    asked: set[str] = set()
    for source in filter(None, (template.subject, template.html, template.text)):
        environment = Sandbox(Budget(), html=False)
        tree = environment.parse(source)
        needed |= meta.find_undeclared_variables(tree) & _used(tree)
        asked |= {test.node.name for test in _definedness(tree) if isinstance(test.node, nodes.Name)}
        needed -= set(environment.globals)
    return frozenset(needed - asked)


def _definedness(tree: nodes.Template) -> list[nodes.Test]:
    return [test for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]


def _used(node: nodes.Node) -> set[str]:
    """Names that are read other than as what `default` stands in for."""
    if isinstance(node, nodes.Name):
        return {node.name} if node.ctx == "load" else set()
    children = list(node.iter_child_nodes())
    if isinstance(node, nodes.Filter) and node.name in ("default", "d") and isinstance(node.node, nodes.Name):
        children.remove(node.node)
    return set().union(*(_used(child) for child in children))
