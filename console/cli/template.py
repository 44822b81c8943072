"""`rampa template`: stored templates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import AsJson, Config, fail, friendly, out, print_json, say

app = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="The template's id.")]


@app.command(epilog='Example: rampa template put checked-in --subject "Gracias, {{ first_name }}" --html body.html')
@friendly
def put(
    template_id: Id,
    subject: Annotated[str, typer.Option("--subject", help="Jinja2, one line.")],
    html: Annotated[Path | None, typer.Option("--html", help="A file with the HTML body.", show_default=False)] = None,
    text: Annotated[Path | None, typer.Option("--text", help="A file with the text body.", show_default=False)] = None,
    config: Config = None,
) -> None:
    """Store a template, or a new version of it. Campaigns that are planned keep theirs."""
    from pydantic import ValidationError

    from console.access import Access
    from console.cli.common import validation_lines
    from planner.templates import problems
    from schemas.records import Template
    from schemas.request import TemplateSpec
    from schemas.topics import TEMPLATES

    bodies = {name: _body(file) for name, file in (("html", html), ("text", text)) if file is not None}
    try:
        TemplateSpec(subject=subject, **bodies)
        template = Template(id=template_id, subject=subject, updated_at=datetime.now(UTC), **bodies)
    except ValidationError as e:
        fail("\n".join(validation_lines(Template, e)))
    found = problems(template.resolved())
    if found:
        fail("\n".join(f"{p.field}: {p.problem}" for p in found))
    Access.open(config, say=say).put(TEMPLATES, template_id, template)
    out.print(f"{template_id}: stored", markup=False)


@app.command("list", epilog="Example: rampa template list")
@friendly
def list_(as_json: AsJson = False, config: Config = None) -> None:
    """All stored templates."""
    from console.access import Access
    from schemas.records import Template
    from schemas.topics import TEMPLATES

    found = Access.open(config, say=say).newest(TEMPLATES, Template)
    if as_json:
        print_json([t.model_dump(mode="json") for _, t in sorted(found.items())])
        return
    for name, t in sorted(found.items()):
        out.print(f"{name}\t{t.updated_at:%Y-%m-%d %H:%M} UTC\t{t.subject}", markup=False)
    if not found:
        out.print("No templates yet. Store one: rampa template put ID --subject ... --html FILE")


@app.command(epilog="Example: rampa template show checked-in")
@friendly
def show(template_id: Id, as_json: AsJson = False, config: Config = None) -> None:
    """One stored template."""
    template = _stored(config, template_id)
    if as_json:
        print_json(template.model_dump(mode="json"))
        return
    out.print(f"Subject: {template.subject}", markup=False)
    for name, body in (("html", template.html), ("text", template.text)):
        if body is not None:
            out.print(f"\n--- {name}\n{body}", markup=False, soft_wrap=True)


@app.command(epilog="Example: rampa template preview checked-in first_name=Ana email=ana@correo.example")
@friendly
def preview(
    template_id: Id,
    variables: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", show_default=False)] = None,
    config: Config = None,
) -> None:
    """The message as one recipient would get it."""
    from sender.message.preview import preview as render

    values: dict[str, object] = {"email": "ana@correo.example"}
    for pair in variables or []:
        name, equals, value = pair.partition("=")
        if not equals:
            fail(f"{pair!r} is not NAME=VALUE", 2)
        values[name] = value
    try:
        message = render(_stored(config, template_id).resolved(), values)
    except ValueError as e:
        fail(str(e))
    typer.echo(message)


def _body(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        fail(f"{file}: {e}")


def _stored(config: Path | None, template_id: str):  # type: ignore[no-untyped-def]
    from console.access import Access
    from schemas.records import Template
    from schemas.topics import TEMPLATES

    found = Access.open(config, say=say).newest(TEMPLATES, Template)
    if template_id not in found:
        hint = "`rampa template list` names them" if found else "none is stored yet; `rampa template put` stores one"
        fail(f"There is no template {template_id!r}; {hint}")
    return found[template_id]
