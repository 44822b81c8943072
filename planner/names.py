"""What to say of a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """`name` is not `what`: the nearest that is known, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{name[:200]!r} is not {what}; {hint}known: {', '.join(names[:50]) or 'none yet'}"
