"""Where templates run: Jinja2's immutable sandbox, with a budget that nothing outruns.

What stops what:
- Python's attributes: the sandbox (names that begin with `_` are refused when the template is compiled);
- `range(10**9)`: the sandbox's `MAX_RANGE`;
- nested or recursive loops and macros: each turn of a loop, each call, operator and filter takes a step of the
  budget, and each step looks at the clock (`placement.py` puts the counting filter round what a loop runs over);
- growth by doubling, padding, multiplying or formats such as `%999999999d`: operators, string methods and
  filters that can make a long text out of a short one are asked first;
- long output: counted as it is rendered.
Between two looks at the clock stands one operation on at most `MAX_TEXT` characters. This guards against
mistakes and mischief with texts and loops; a person who may send campaigns is otherwise trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_urlencode
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_context
from markupsafe import Markup

from schemas.template.budget import Budget

MAX_TEXT = 1_000_000
"""Characters of any one text on the way."""

_CHEAP = frozenset(["default", "d", "e", "escape", "forceescape", "safe", "urlencode", "length", "count", "string"])
"""Filters that take no step: nearly every value has one, and the fast way calls them."""
_GROWING = ("batch", "center", "format", "indent", "join", "ljust", "replace", "slice", "truncate", "wordwrap")
_WIDTH = re.compile(r"\d{5,}|\*")


class Lacking(StrictUndefined):
    """A variable that a row lacks: every use of it is an error that names it, but `default` and `is defined`."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        if self._undefined_obj is missing:
            return f"lacks the variable {self._undefined_name}"
        return f"{type(self._undefined_obj).__name__} has no {self._undefined_name!r}"


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one part of one template."""

    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def __init__(self, budget: Budget, *, html: bool) -> None:
        super().__init__(undefined=Lacking, autoescape=html, keep_trailing_newline=True, auto_reload=False)
        self.budget = budget
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        for name in _GROWING:
            if name in FILTERS:
                self.filters[name] = _asking(name, FILTERS[name])
        for name, filter_ in self.filters.items():
            if name not in _CHEAP:
                self.filters[name] = self._counting(filter_)
        self.filters["map"] = self._map
        self.filters["default"] = self.filters["d"] = _default
        self.filters["urlencode"] = _urlencode

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Each call takes a step; a string's method is asked what it could make."""
        self.budget.step()
        of = getattr(obj, "__self__", None)
        if isinstance(of, str):
            if obj.__name__ == "join":
                args = tuple(map(_joinable, args))
            _ask(of, args, kwargs)
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The sandbox's `str.format`, asked first."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def asked(*args: Any, **kwargs: Any) -> str:
            _ask_format(value.__self__, (*args, *kwargs.values()))
            return wrapped(*args, **kwargs)

        return asked

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuses what would make something huge out of something small."""
        self.budget.step()
        if operator == "%" and isinstance(left, str):
            _ask_format(left, right if isinstance(right, tuple) else (right,))
        elif operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, str | bytes | list | tuple) and isinstance(other, int):
                    _limit((len(one) if isinstance(one, str | bytes) else _weight(one)) * other)
            if isinstance(left, int) and isinstance(right, int):
                _limit(left.bit_length() + right.bit_length())
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _limit(left.bit_length() * max(0, right))
        elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            _limit(len(left) + len(right))
        return super().call_binop(context, operator, left, right)

    def counted(self, iterable: Iterable[Any], static: int) -> Iterator[Any]:
        """`iterable`, a step and `static` characters of output a turn."""
        for item in iterable:
            self.budget.step()
            self.budget.write(static)
            yield item

    @pass_context
    def _map(self, context: Context, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Jinja's `map`, a step and its text's length an item."""
        for item in FILTERS["map"](context, *args, **kwargs):
            self.budget.step()
            if isinstance(item, str):
                self.budget.write(len(item))
            yield item

    def bounded(self, text: Any) -> Any:
        """`text`, the result of `~`, unless it has grown too long."""
        self.budget.step()
        if isinstance(text, str):
            _limit(len(text))
        return text

    def _counting(self, filter_: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(filter_)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.budget.step()
            return filter_(*args, **kwargs)

        return counted


def _limit(size: int) -> None:
    if size > MAX_TEXT:
        raise SecurityError(f"the template makes something of {size:,} characters; at most {MAX_TEXT:,}")


def _weight(items: Iterable[Any]) -> int:
    return sum(len(item) + 1 if isinstance(item, str) else 1 for item in items)


def _joinable(items: Any) -> Any:
    """`items` as a list, unless they are too much together. Raises `SecurityError`."""
    if isinstance(items, Iterable) and not isinstance(items, str):
        items = list(items)
        _limit(_weight(items))
    return items


def _ask(text: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Raises `SecurityError` when a method or filter of `text` with these arguments could make too much."""
    size = len(text) if isinstance(text, str | list | tuple) else 1
    for arg in (*args, *kwargs.values()):
        if isinstance(arg, int):
            _limit(arg * 100)  # a width or a count
        elif isinstance(arg, str | list | tuple):
            _limit(size * len(arg))


def _ask_format(text: str, args: Iterable[Any]) -> None:
    """The same for a format: its widths, and the numbers that can become widths."""
    if _WIDTH.search(text):
        raise SecurityError("the template has a format with a width of five digits or more")
    _ask(text, args, {})


def _asking(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    passes_first = hasattr(filter_, "jinja_pass_arg")  # the environment or the context comes before the value

    @wraps(filter_)
    def asked(*args: Any, **kwargs: Any) -> Any:
        value, rest = (args[1], args[2:]) if passes_first else (args[0], args[1:])
        if name == "join":
            value = _joinable(value)
            args = (args[0], value, *rest) if passes_first else (value, *rest)
        elif isinstance(value, Iterator):
            value = list(value)
            args = (args[0], value, *rest) if passes_first else (value, *rest)
        if name == "format":
            _ask_format(str(value), rest)
        _ask(value, rest, kwargs)
        return filter_(*args, **kwargs)

    return asked


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    """Jinja's `default`, which here also stands in for null."""
    if value is None or isinstance(value, Lacking) or (boolean and not value):
        return default_value
    return value


def _urlencode(value: Any) -> Markup:
    """Jinja's `urlencode`, marked so that it is not encoded again."""
    return Markup(do_urlencode(value))  # noqa: S704  (percent-encoded)
