"""A message as one recipient would read it, for a person to look at."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.campaign import ResolvedTemplate
from sender.message.template import compile_template


def preview(template: ResolvedTemplate, row: Mapping[str, object]) -> str:
    """Subject, text part and HTML part of `template` for `row`, one below the other.

    Raises `TemplateError` (which part, which line) or `RowError` (what the row lacks).
    """
    read = compile_template(template).render(row)
    shown = [f"Subject: {read.subject}"]
    shown += [f"--- {name}\n{body}" for name, body in (("text", read.text), ("html", read.html)) if body]
    return "\n\n".join(one.rstrip("\n") for one in shown) + "\n"
