"""A template's parts, compiled and rendered for one row: what a recipient would read, before it is a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.campaign import ResolvedTemplate
from sender.message.headers import one_line
from sender.message.parts import CompiledPart, Said, compile_html, compile_text, derive_text


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """The parts of a template, ready to render. Not for two threads at once."""

    subject: CompiledPart
    html: CompiledPart | None
    text: CompiledPart | None

    def render(self, row: Mapping[str, object]) -> Rendered:
        """Subject, HTML and text for one row. Raises `RowError`."""
        given = {name: value for name, value in row.items() if value is not None}
        subject = one_line(self.subject.render(given), "the subject")
        html = self.html.render(given) if self.html else None
        text = self.text.render(given) if self.text else None
        return Rendered(subject, html, text)

    def split(self, row: Mapping[str, object]) -> Split:
        """The same in pieces. Raises `RowError`."""
        given = {name: value for name, value in row.items() if value is not None}
        subject = one_line("".join(self.subject.split(given).pieces), "the subject")
        html = self.html.split(given) if self.html else NOTHING
        return Split(subject, html, self.text.split(given) if self.text else NOTHING)


NOTHING = Said([], None)


@dataclass(frozen=True, slots=True)
class Split:
    """What one recipient would read, in the pieces that are encoded by themselves."""

    subject: str
    html: Said
    text: Said


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one recipient would read."""

    subject: str
    html: str | None
    text: str | None


def compile_template(template: ResolvedTemplate, *, tracked: str | None = None) -> CompiledTemplate:
    """Parses and checks every part. Raises `TemplateError` naming part and line.

    `tracked` is the HTML with its links and pixel for the tracker, sent in the place of the template's own, of which
    the text is made.
    """
    subject = compile_text("subject", template.subject)
    if tracked is not None:
        html: CompiledPart | None = compile_html(tracked, measured=True)
    else:
        html = compile_html(template.html) if template.html is not None else None
    if template.text is not None:
        text: CompiledPart | None = compile_text("text", template.text)
    else:
        text = derive_text(template.html) if template.html is not None else None
    return CompiledTemplate(subject, html, text)
