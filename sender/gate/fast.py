"""Models from values that are right already, without validation.

`model_construct` looks up every default and alias, which costs 10 to 17 us a record; the gate makes several records
a decision. Here every field must be given. A test compares what is made with the validated model.
"""

from __future__ import annotations

from typing import Any, TypeVar

from schemas.base import Model

M = TypeVar("M", bound=Model)


def made(model: type[M], /, **values: Any) -> M:
    """A `model` of exactly these values; all of its fields must be among them."""
    new = model.__new__(model)
    object.__setattr__(new, "__dict__", values)
    object.__setattr__(new, "__pydantic_fields_set__", set(values))
    object.__setattr__(new, "__pydantic_extra__", None)
    object.__setattr__(new, "__pydantic_private__", None)
    return new
