"""What `{% if %}` asks, as functions of a row: names, constants, comparisons, `not`, `and`, `or`, `is defined`.

They answer what the template engine would answer; where it would complain (a name that the row lacks), they
decline, and the engine is asked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, nodes

Get = Callable[[str], object]
"""A row's value by name; None: it lacks it."""
Condition = Callable[[Get], Any]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gteq": operator.ge, "lt": operator.lt,
    "lteq": operator.le, "in": lambda a, b: a in b, "notin": lambda a, b: a not in b,
}  # fmt: skip


class Declined(Exception):
    """The engine has to look at this row: something is lacking, or out of the ordinary."""


def condition(node: nodes.Node | None, environment: Environment) -> Condition | None:
    """What `node` asks; None: that is for the engine."""
    if isinstance(node, nodes.Const):
        return _always(node.value)
    if isinstance(node, nodes.Name) and is_variable(node.name, environment):
        name = node.name
        return lambda get: _present(get(name))
    if isinstance(node, nodes.Not):
        inner = condition(node.node, environment)
        return None if inner is None else lambda get: not inner(get)
    if isinstance(node, nodes.And | nodes.Or):
        return _both(node, environment)
    if isinstance(node, nodes.Compare):
        return _compared(node, environment)
    return _of_what_may_lack(node, environment)


def is_variable(name: str, environment: Environment) -> bool:
    """Whether a template means a row's variable by `name`, and nothing of the engine's."""
    return name not in environment.globals and name != "self"


def _always(value: object) -> Condition:
    return lambda _: value


def _present(value: object) -> object:
    if value is None:
        raise Declined
    return value


def _both(node: nodes.And | nodes.Or, environment: Environment) -> Condition | None:
    left, right = condition(node.left, environment), condition(node.right, environment)
    if left is None or right is None:
        return None
    if isinstance(node, nodes.And):
        return lambda get: left(get) and right(get)
    return lambda get: left(get) or right(get)


def _compared(node: nodes.Compare, environment: Environment) -> Condition | None:
    if len(node.ops) != 1 or node.ops[0].op not in _OPERATORS:
        return None
    left, right = condition(node.expr, environment), _operand(node.ops[0].expr, environment)
    compare = _OPERATORS[node.ops[0].op]
    if left is None or right is None:
        return None
    return lambda get: compare(left(get), right(get))


def _operand(node: nodes.Expr, environment: Environment) -> Condition | None:
    if not isinstance(node, nodes.List | nodes.Tuple):
        return condition(node, environment)
    items = [item.value for item in node.items if isinstance(item, nodes.Const)]
    if len(items) != len(node.items):
        return None
    return _always(items if isinstance(node, nodes.List) else tuple(items))


def _of_what_may_lack(node: nodes.Node | None, environment: Environment) -> Condition | None:
    """`x is defined`, `x | default("y")`."""
    if not isinstance(node, nodes.Test | nodes.Filter) or not isinstance(node.node, nodes.Name):
        return None
    name = node.node.name
    if not is_variable(name, environment) or node.kwargs or node.dyn_args or node.dyn_kwargs:
        return None
    if isinstance(node, nodes.Test):
        if node.name not in {"defined", "undefined"}:
            return None
        wanted = node.name == "defined"
        return lambda get: (get(name) is not None) is wanted
    args = [arg.value for arg in node.args if isinstance(arg, nodes.Const)]
    if node.name not in {"default", "d"} or len(args) != len(node.args):
        return None
    default = environment.filters["default"]
    return lambda get: default(get(name), *args)
