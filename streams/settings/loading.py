"""Settings out of `rampa.toml` and the environment, with every problem named."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from schemas.mistakes import causes, said
from streams.settings.base import SettingsError, unknown
from streams.settings.model import Settings

ENV_PREFIX = "RAMPA_"
NO_SETTINGS = frozenset({"RAMPA_CONFIG", "RAMPA_FINISHING", "RAMPA_KAFKA_HOME", "RAMPA_LOG"})
"""Variables of ours that are read elsewhere: the settings' file, where Kafka's jars lie, how much is logged."""
DEFAULT_FILE = "rampa.toml"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `path` (default: `rampa.toml` when there is one), then of the environment.

    Relative paths in the file are relative to it. Raises `SettingsError` naming every problem.
    """
    environ = os.environ if environ is None else environ
    if path is None and "RAMPA_CONFIG" in environ:
        path = Path(environ["RAMPA_CONFIG"])
    file = path or Path(DEFAULT_FILE)
    data: dict[str, Any] = {}
    if path is not None or file.exists():
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"{file}: no such file; `rampa init` writes one") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise SettingsError(f"{file}: {e}") from None
    given = _merge_environment(data, environ)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as e:
        raise SettingsError(_said(e, file, given)) from None
    return _anchored(settings, file.parent)


def problems(error: ValidationError) -> list[str]:
    """One line a problem: the key's path, what is wrong, and the nearest key when one is unknown."""
    return [_line(item["type"], item["loc"], said(item)) for item in causes(error.errors(**_PLAIN))]


_PLAIN: dict[str, Any] = {"include_url": False, "include_input": False}


def _line(kind: str, loc: tuple[int | str, ...], text: str) -> str:
    place = ".".join(str(part) for part in loc)
    if kind != "extra_forbidden":
        return f"{place}: {text}" if place else text
    parent = loc[:-1]
    return unknown(
        str(loc[-1]), _keys_at(parent), f"a setting of [{'.'.join(map(str, parent))}]" if parent else "a setting"
    )


@dataclass(slots=True)
class _Given:
    """What the environment added: the variable of each path, and the tables that the file does not have."""

    names: dict[tuple[str, ...], str] = field(default_factory=dict)
    tables: set[tuple[str, ...]] = field(default_factory=set)

    def blamed(self, loc: tuple[int | str, ...], text: str) -> list[str]:
        """The variables that a problem at `loc` comes from; none when it is the file's."""
        place = tuple(str(part).lower() for part in loc)
        prefixes = [place[:n] for n in range(len(place), 0, -1)]
        for prefix in prefixes:
            if prefix in self.names:
                return [self.names[prefix]]
        named = [n for path, n in self.names.items() if path[: len(place)] == place and _names(text, path[-2:])]
        if named or not place:
            return named
        made = next((p for p in prefixes if p in self.tables), None)
        return [n for path, n in self.names.items() if made is not None and path[: len(made)] == made]


def _names(text: str, path: tuple[str, ...]) -> bool:
    """Whether a sentence about a table names the setting at `path`, and the table: before what it proposes."""
    wrong = text.lower().partition(";")[0]
    return all(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", wrong) for part in path)


def _said(error: ValidationError, file: Path, given: _Given) -> str:
    """Every problem, each under where it was written: the file, or variables of the environment."""
    found: dict[str, list[str]] = {}
    for item in causes(error.errors(**_PLAIN)):
        text = said(item)
        names = given.blamed(item["loc"], text)
        where = f"{', '.join(names)} in the environment:" if names else f"{file}:"
        found.setdefault(where, []).append(_line(item["type"], item["loc"], text))
    return "\n".join(line for where, lines in found.items() for line in (where, *(f"  {one}" for one in lines)))


def _keys_at(parent: tuple[int | str, ...]) -> tuple[str, ...]:
    model: Any = Settings
    for part in parent:
        fields: dict[str, FieldInfo] = getattr(model, "model_fields", {})
        kind = fields[str(part)].annotation if str(part) in fields else None
        if kind is None:
            continue  # a name of the user's own, in a table of relays, domains or strategies
        args = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = args[-1] if args else kind
    return tuple(getattr(model, "model_fields", {}))


def _merge_environment(data: dict[str, Any], environ: Mapping[str, str]) -> _Given:
    given = _Given()
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in NO_SETTINGS:
            continue
        *parents, last = name.removeprefix(ENV_PREFIX).lower().split("__")
        table = data
        kind = _kind_at((*parents, last))
        for depth, parent in enumerate(parents, 1):
            existing = next((k for k in table if k.lower() == parent), parent)
            if existing not in table:
                given.tables.add(tuple(parents[:depth]))
            table = table.setdefault(existing, {})
            if not isinstance(table, dict):
                raise SettingsError(f"{name}: {parent} is a value, not a table")
        table[last] = text if _is_text(kind) else _environment_value(text)
        given.names[*parents, last] = name
    return given


def _kind_at(path: tuple[str, ...]) -> Any:
    """The type of the setting at a path; None when there is none."""
    kind: Any = Settings
    for part in path:
        if get_origin(kind) is dict:  # the part is a name of the user's own
            kind = get_args(kind)[1]
            continue
        kind = next((a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)), kind)
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        if part not in kind.model_fields:
            return str if kind.model_config.get("extra") == "allow" else None
        kind = kind.model_fields[part].annotation
    return kind


def _is_text(kind: Any) -> bool:
    """Whether a value of that type is text, so that what looks like JSON in it must stay as it is."""
    if get_origin(kind) in {Union, UnionType}:
        return any(_is_text(arg) for arg in get_args(kind))
    return kind in {str, SecretStr, Path}


def _environment_value(text: str) -> Any:
    """A list, a table or a truth value is written as JSON."""
    if text[:1] in {"[", "{"} or text in {"true", "false"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _anchored(settings: Settings, base: Path) -> Settings:
    relays = {
        name: r.model_copy(update={k: base / p for k in ("path", "ca_file") if (p := getattr(r, k)) is not None})
        for name, r in settings.relays.items()
    }
    domains = {
        name: d.model_copy(update={"dkim": d.dkim.model_copy(update={"key_file": base / d.dkim.key_file})})
        if d.dkim is not None and d.dkim.key_file is not None
        else d
        for name, d in settings.domains.items()
    }
    planner = settings.planner.model_copy(update={"roots": tuple(base / root for root in settings.planner.roots)})
    data = base / settings.data
    return settings.model_copy(update={"data": data, "relays": relays, "domains": domains, "planner": planner})
