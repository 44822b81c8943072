"""`python -m simulator`: the simulator as a process of its own.

SIGTERM or SIGINT ends it; its figures go to stdout as one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from simulator.errors import SimulatorError
from simulator.rules import LimitConnections, Rule, load_rules
from simulator.server import MailboxSimulator
from simulator.settings import Settings, load_settings
from simulator.stores import MaildirStore, RecordStore, Store

_PR_SET_PDEATHSIG: Final = 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m simulator", description="A mailbox provider on this machine.")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    p.add_argument("--port", type=int, default=0, help="0 (default): a free one, see --port-file")
    p.add_argument("--port-file", type=Path, help="the port is written here once the server listens")
    p.add_argument("--record", type=Path, help="append one JSON line for each message taken")
    p.add_argument("--maildir", type=Path, help="keep each message in this Maildir")
    p.add_argument("--rules", type=Path, help="JSON or TOML file with rules")
    p.add_argument("--settings", type=Path, help="JSON or TOML file with settings; options here win over it")
    p.add_argument("--max-connections", type=int, metavar="N", help="421 to whoever comes while N are open")
    p.add_argument("--hostname", help="the name in greeting and EHLO")
    p.add_argument("--chunking", action="store_true", default=None, help="offer CHUNKING (BDAT)")
    p.add_argument("--tls-cert", dest="tls_certificate", type=Path, help="PEM; offers STARTTLS")
    p.add_argument("--tls-key", type=Path)
    p.add_argument("--implicit-tls", action="store_true", default=None, help="TLS from the first byte")
    p.add_argument("--user", action="append", metavar="NAME:PASSWORD", help="offer AUTH; may be repeated")
    p.add_argument("--require-auth", action="store_true", default=None)
    p.add_argument(
        "--die-with-parent",
        type=int,
        nargs="?",
        const=0,
        metavar="PID",
        help="end when the parent (whose process id makes the check exact) has ended; Linux",
    )
    return p


_FROM_OPTIONS: Final = ("hostname", "chunking", "tls_certificate", "tls_key", "implicit_tls", "require_auth")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings file with the options on top; raises RulesError, pydantic.ValidationError."""
    base = load_settings(options.settings) if options.settings else Settings()
    given: dict[str, Any] = {
        name: getattr(options, name) for name in _FROM_OPTIONS if getattr(options, name) is not None
    }
    if options.user:
        given["users"] = {**base.users, **dict(user.partition(":")[::2] for user in options.user)}
    return Settings.model_validate({**base.model_dump(), **given})


def rules_of(options: argparse.Namespace) -> tuple[Rule, ...]:
    """The rules file behind --max-connections; raises RulesError."""
    limit = (LimitConnections(most=options.max_connections),) if options.max_connections else ()
    return limit + (load_rules(options.rules) if options.rules else ())


def stores_of(options: argparse.Namespace, settings: Settings) -> list[Store]:
    """Where messages go; nothing means that they are only counted."""
    stores: list[Store] = []
    if options.record:
        stores.append(RecordStore(options.record, settings.record_headers))
    if options.maildir:
        stores.append(MaildirStore(options.maildir))
    return stores


async def serve(options: argparse.Namespace) -> dict[str, Any]:
    """Serves until a signal; gives the figures, with the processor time spent on serving."""
    settings = settings_of(options)
    rules, stores = rules_of(options), stores_of(options, settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = MailboxSimulator(rules, settings=settings, stores=stores, host=options.host, port=options.port)
    async with server:
        start = time.process_time()
        if options.port_file:
            write_whole(options.port_file, f"{server.port}\n")
        await stop.wait()
    return {**server.stats.snapshot(), "cpu_seconds": round(time.process_time() - start, 3)}


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader sees all of it or none."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def die_with_parent(parent: int) -> None:
    """Asks the kernel for SIGTERM when the parent's thread that started us ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if parent and os.getppid() != parent:
        sys.exit("The parent has ended already.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 after a signal, 1 when it could not start."""
    options = parser().parse_args(arguments)
    if options.die_with_parent is not None:
        die_with_parent(options.die_with_parent)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            stats = runner.run(serve(options))
    except (SimulatorError, ValueError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    try:
        sys.stdout.buffer.write(orjson.dumps(stats, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the parent is gone: nobody wants the figures
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def loop_factory() -> Any:
    """uvloop's loops where it is installed, twice as fast here; asyncio's elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
