"""`rampa demo`, `init`, `up`, `worker`, `plan`, `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import AsJson, Config, err, fail, friendly, out, print_json, say


def register(app: typer.Typer) -> None:
    """Add these commands to the top level."""
    app.command(epilog="Example: rampa demo")(demo)
    app.command(epilog="Example: rampa init && rampa up")(init)
    app.command(epilog="Example: rampa up --config rampa.toml")(up)
    app.command(epilog="Example: rampa worker sender --slot 2")(worker)
    app.command(epilog="Example: rampa plan campaign.json --json")(plan)
    app.command(epilog="Example: rampa doctor")(doctor)


@friendly
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running at the end, until Ctrl-C.")] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Where it keeps its files; default: a temporary directory.", show_default=False),
    ] = None,
    speed: Annotated[float | None, typer.Option("--speed", help="How fast its clock runs.", show_default=False)] = None,
) -> None:
    """4200 people mailed over 23 warm-up days in about a minute: all real but the clock."""
    from console.demo.show import run_demo

    if not run_demo(out, keep=keep, data=data, speed=speed):
        raise typer.Exit(1)


@friendly
def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("rampa.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace it when it is there.")] = False,
) -> None:
    """Write a commented `rampa.toml`, and a small campaign to try beside it."""
    from console.initial import write_initial

    for written in write_initial(file, force=force):
        out.print(f"wrote {written}", markup=False)
    out.print("Next: put your relay and domain into it, then `rampa up`, and in another terminal `rampa doctor` and")
    out.print("      rampa campaign submit campaign.json --watch")


@friendly
def up(config: Config = None) -> None:
    """Broker (embedded or local) and all roles on this machine, until Ctrl-C."""
    import signal
    import threading

    from console.access import sending_settings_of
    from console.asked import Asked
    from console.stack import Stack

    settings = sending_settings_of(config)
    stop, stack = threading.Event(), Stack(settings, config, say)
    asked = Asked(stop.set, stack.hurry)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.once_more())
    with stack:
        assert stack.kafka is not None  # noqa: S101 - a started stack has one
        out.print(
            f"rampa is up: Kafka at {stack.kafka.bootstrap}, logs in {stack.logs}. Ctrl-C stops it.", markup=False
        )
        shown = 0
        while not stop.wait(0.5):
            stack.mend_broker()
            for line in stack.troubles[shown:]:
                err.print(line, style="yellow", markup=False, soft_wrap=True)
                shown += 1
        say("stopping: what is on the wire is finished first")
    out.print("stopped")
    if settings.kafka.bootstrap == "embedded":
        say(
            "The embedded broker kept nothing: campaigns that were not finished are gone, and submitting the same file "
            'again mails again whoever was mailed. For what must survive set kafka.bootstrap = "local".'
        )


@friendly
def worker(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="planner, gate or sender.")],
    slot: Annotated[
        str, typer.Option("--slot", help="Its place among the processes of this role and data directory.")
    ] = "1",
    config: Config = None,
) -> None:
    """One process of one role, until SIGTERM. Start as many as you want, on as many machines."""
    from console.worker import run_worker

    raise typer.Exit(run_worker(role, slot, config))


@friendly
def plan(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A campaign request: JSON or TOML; - reads JSON on standard input.")
    ],
    recipients: Annotated[
        Path | None, typer.Option("--recipients", "-r", help="Its recipients.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """The batches that a request would give; nothing is sent. A broker is asked for a stored template only."""
    from console.access import settings_of
    from console.planning import further, plan_lines, stored_templates
    from console.requests import read_request
    from planner.dry_run import dry_run
    from planner.errors import PlannerError, ProblemsFound
    from streams.clock import REAL

    settings = settings_of(config)
    request = read_request(file, recipients, further(settings, look=True))
    try:
        result = dry_run(request, settings, REAL.now(), templates=stored_templates(config))
    except ProblemsFound as e:
        fail("\n".join(["This request cannot be planned:", *(f"  {p.field}: {p.problem}" for p in e.problems)]))
    except PlannerError as e:
        fail(str(e))
    if as_json:
        typer.echo(result.json())
        return
    for line in plan_lines(result):
        out.print(line, markup=False, soft_wrap=True)


@friendly
def doctor(as_json: AsJson = False, config: Config = None) -> None:
    """Is everything as it should be? Kafka, topics, relays, clock, versions: each with what to do."""
    from console.doctor import examine

    found = []
    for check in examine(config):
        found.append(check)
        if not as_json:
            colour = {"ok": "green", "warning": "yellow", "failed": "red"}[check.state]
            out.print(f"[{colour}]{check.state:8}[/] ", end="")
            out.print(
                f"{check.name}: {check.detail}" + (f"\n         -> {check.todo}" if check.todo else ""),
                markup=False,
                soft_wrap=True,
            )
    if as_json:
        print_json([c.plain() for c in found])
    if any(c.state == "failed" for c in found):
        raise typer.Exit(1)
