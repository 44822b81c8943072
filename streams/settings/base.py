"""What all sections of the settings share."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ConfigDict


class SettingsError(ValueError):
    """The settings cannot be used; the message names each place and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def unknown(name: str, known: tuple[str, ...], what: str) -> str:
    """That `name` is not `what`, and the nearest one that is."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + (", ".join(sorted(known)) or "none yet")
    return f"{name!r} is not {what}; {hint}"
