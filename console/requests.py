"""A request in a file of a person, judged as the pipeline's intake judges records."""

from __future__ import annotations

import json
import math
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.errors import ConsoleError
from schemas.request import CampaignRequest

if TYPE_CHECKING:
    from planner.intake import Further

MOST = 1000
"""Problems that are listed."""


def read_request(file: Path, recipients: Path | None = None, further: Further = lambda _, __: []) -> CampaignRequest:
    """The request in a JSON or TOML file (`-`: JSON on standard input), its recipients replaced when given.

    Raises ConsoleError that names every problem by field; those that `further` finds when there are others.
    """
    from planner import intake

    written = _text(file)
    text = _from_toml(file, written) if file.suffix == ".toml" else written
    found = intake.read(CampaignRequest, _placed(text, file, recipients), MOST, further)
    if isinstance(found, intake.Refusal):
        raise _unusable(file, *(f"{one.field or '(the whole)'}: {one.problem}" for one in found.problems))
    if large := intake.too_large(found, len(found.encode())):
        raise _unusable(file, f"{large.field}: {large.problem}")
    return found


def _unusable(file: Path, *lines: str) -> ConsoleError:
    return ConsoleError("\n".join([f"{file}: the request cannot be used:", *(f"  {line}" for line in lines)]))


def _text(file: Path) -> str:
    try:
        return (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode()
    except FileNotFoundError:
        raise ConsoleError(f"{file}: no such file") from None
    except OSError as e:
        raise ConsoleError(f"{file}: {e.strerror}") from None
    except UnicodeDecodeError as e:
        at = f"byte 0x{e.object[e.start]:02X} at position {e.start + 1}"
        raise ConsoleError(f"{file}: not UTF-8 ({at}); save it as UTF-8") from None


def _from_toml(file: Path, text: str) -> str:
    """The same as JSON, as which it travels."""
    try:
        data = tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as e:
        why = "it is nested too deeply" if isinstance(e, RecursionError) else e
        raise ConsoleError(f"{file}: not TOML: {why}") from None
    try:
        return json.dumps(data, default=str, allow_nan=False)
    except (ValueError, RecursionError):
        why = (
            "it has a number that is inf or nan, or is nested too deeply; requests travel as JSON, which takes neither"
        )
        raise ConsoleError(f"{file}: {why}") from None


def _placed(text: str, file: Path, recipients: Path | None) -> bytes:
    """The request with its recipients in their place; what cannot be read, as it was written, for the intake to name.

    Whole numbers stay as they are however large, which is why it is `json` that reads them. It takes more than the
    intake does: NaN and numbers that no float can hold are refused here, lone surrogates by UTF-8.
    """
    try:
        data: Any = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
        if not isinstance(data, dict):
            return text.encode()
        _place_recipients(data, file, recipients)
        return json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text.encode()


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"{written} is no number of JSON")
    return number


def _whole(written: str) -> int:
    _finite(written)
    return int(written)


def _place_recipients(data: dict[str, Any], file: Path, recipients: Path | None) -> None:
    given = data.setdefault("recipients", {})
    if not isinstance(given, dict):
        return
    if recipients is not None:
        given.pop("inline", None)
        given["uri"] = recipients.resolve().as_uri()
    uri = given.get("uri")
    if isinstance(uri, str) and uri and "://" not in uri:  # a plain path, relative to the request's file
        given["uri"] = (file.resolve().parent / uri).as_uri()
