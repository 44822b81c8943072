"""`rampa dlq`: look at dead letters, and put them back when the cause is gone."""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.common import AsJson, Config, fail, friendly, out, print_json, say

app = typer.Typer(no_args_is_help=True)
Topic = Annotated[
    str | None, typer.Argument(metavar="[TOPIC]", help="The topic they failed on; default: all.", show_default=False)
]


@app.command("list", epilog="Example: rampa dlq list campaign.requests")
@friendly
def list_(topic: Topic = None, as_json: AsJson = False, config: Config = None) -> None:
    """Dead letters, newest last: where each came from and why."""
    from console.access import Access
    from console.deadletters import letters, newest_last
    from console.explain import clean

    found = newest_last(letters(Access.open(config, say=say), topic))
    if as_json:
        print_json([letter.summary() for letter in found])
        return
    for letter in found:
        out.print(clean(f"{letter.place}\t{letter.at}\t{letter.key}\t{letter.error}"), markup=False, soft_wrap=True)
    if not found:
        out.print("No dead letters.")


@app.command(epilog="Example: rampa dlq show campaign.requests/3/17")
@friendly
def show(
    place: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION/OFFSET", help="As `list` shows it.")],
    config: Config = None,
) -> None:
    """One dead letter: its error, its headers, its bytes."""
    from console.access import Access
    from console.deadletters import check_place, one

    check_place(place)
    letter = one(Access.open(config, say=say), place)
    for name, value in letter.headers.items():
        out.print(f"{name}: {value}", markup=False, soft_wrap=True)
    out.print()
    typer.echo(letter.text())


@app.command(epilog="Example: rampa dlq replay campaign.requests/3/17")
@friendly
def replay(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC/PARTITION/OFFSET]...", show_default=False)
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--all-of", help="Every dead letter of this topic.", show_default=False)
    ] = None,
    config: Config = None,
) -> None:
    """Write dead letters to the topic that they failed on once more: same key, same bytes."""
    from console.access import Access
    from console.deadletters import check_place, letters, one, put_back

    if not places and topic is None:
        fail("Name the letters (as `rampa dlq list` shows them), or a topic with --all-of.", 2)
    for place in places or []:
        check_place(place)
    access = Access.open(config, say=say)
    chosen = [one(access, place) for place in places or []] or list(letters(access, topic))
    for letter in chosen:
        put_back(access, letter)
        out.print(f"{letter.place}: written to {letter.topic} again", markup=False)
