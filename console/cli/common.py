"""What all commands share: the option `--config`, errors as text, JSON, figures."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

# A pipe or file has no width: let no table be cut there.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)


def _is_there(file: Path | None) -> Path | None:
    if file is not None and not file.exists():
        raise typer.BadParameter(f"{file}: no such file; `rampa init` writes one")
    return file


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", callback=_is_there, show_default=False,
        help="Settings; default: rampa.toml here, when there is one.",
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on standard output.")]


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong and end with exit code `code`: 2 for a command that is written wrongly."""
    err.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def say(message: str) -> None:
    """A line for people, on standard error, so that standard output stays for programs."""
    err.print(message, style="dim", markup=False, soft_wrap=True)


def friendly(command: Callable[P, R]) -> Callable[P, R]:
    """Errors that a person can mend are printed as their text, without a traceback; Ctrl-C is quiet."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from console.errors import ConsoleError, WrongUsage
        from streams.errors import StreamsError
        from streams.settings import SettingsError

        # librdkafka's own lines ("1 request(s) timed out") would stand between the answers.
        logging.getLogger("streams.kafka").setLevel(os.environ.get("RAMPA_LOG", "CRITICAL"))
        try:
            return command(*args, **kwargs)
        except (ConsoleError, StreamsError, SettingsError) as e:
            fail(str(e), 2 if isinstance(e, WrongUsage) else 1)
        except KeyboardInterrupt:
            err.print()
            raise typer.Exit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    return run


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def validation_lines(model: Any, error: Any) -> list[str]:
    """Each problem that `model` has with what was written, as `field: what is wrong`."""
    from planner.intake import problems

    return [f"{one.field or '(the whole)'}: {one.problem}" for one in problems(model, error)]
