"""Settings out of `rampa.toml` and the environment, with every problem named."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from streams.settings.base import SettingsError, unknown
from streams.settings.model import Settings

ENV_PREFIX = "RAMPA_"
NO_SETTINGS = frozenset({"RAMPA_CONFIG", "RAMPA_KAFKA_HOME", "RAMPA_LOG"})
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
    _merge_environment(data, environ)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as e:
        raise SettingsError(f"{file}:\n" + "\n".join(f"  {line}" for line in problems(e))) from None
    return _anchored(settings, file.parent)


def problems(error: ValidationError) -> list[str]:
    """One line a problem: the key's path, what is wrong, and the nearest key when one is unknown."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            parent, name = item["loc"][:-1], str(item["loc"][-1])
            lines.append(
                unknown(
                    name,
                    _keys_at(parent),
                    f"a setting of [{'.'.join(map(str, parent))}]" if parent else "a setting",
                )
            )
        else:
            lines.append(f"{place}: {item['msg']}" if place else item["msg"])
    return lines


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


def _merge_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in NO_SETTINGS:
            continue
        *parents, last = name.removeprefix(ENV_PREFIX).lower().split("__")
        table = data
        kind = _kind_at((*parents, last))
        for parent in parents:
            existing = next((k for k in table if k.lower() == parent), parent)
            table = table.setdefault(existing, {})
            if not isinstance(table, dict):
                raise SettingsError(f"{name}: {parent} is a value, not a table")
        table[last] = text if _is_text(kind) else _environment_value(text)


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
