"""Writing requests and commands, and waiting for the pipeline's answer."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from console.access import Access
from console.cli.common import validation_lines
from console.deadletters import headers_of
from console.errors import ConsoleError
from schemas.campaign import CampaignState
from schemas.command import CampaignCommand
from schemas.identity import derived_campaign_id
from schemas.progress import CampaignProgress
from schemas.request import CampaignRequest
from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_PROGRESS, CAMPAIGN_REQUESTS
from streams.clients import Place
from streams.table import read_topic

ANSWER_WITHIN = 20.0
"""Seconds that a command waits for the planner's answer before it says that none came yet."""
REFUSED_WITHIN = 4.0
"""Seconds that a request with a known id is watched for a refusal."""


@dataclass(frozen=True, slots=True)
class Answer:
    campaign_id: str
    state: str
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_request(file: Path, recipients: Path | None = None) -> CampaignRequest:
    """The request in a JSON or TOML file (`-`: JSON on standard input), its recipients replaced when given.

    Raises ConsoleError that names every problem by field.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        data: Any = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except FileNotFoundError:
        raise ConsoleError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConsoleError(f"{file}: {e}") from None
    except ValueError as e:
        raise ConsoleError(f"{file}: not {'TOML' if file.suffix == '.toml' else 'JSON'}: {e}") from None
    if isinstance(data, dict):
        _place_recipients(data, file, recipients)
    try:
        return CampaignRequest.model_validate_json(json.dumps(data, default=str))
    except ValidationError as e:
        raise ConsoleError(
            "\n".join([f"{file}: the request cannot be used:", *(f"  {x}" for x in validation_lines(e))])
        ) from None


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


def submit(access: Access, request: CampaignRequest, say: Callable[[str], None]) -> Answer:
    """Write the request and wait for what the planner makes of it."""
    from planner.resolve import canonical

    campaign_id = request.campaign_id or derived_campaign_id(canonical(request))
    with access.table(CAMPAIGN_PROGRESS, CampaignProgress, only=campaign_id) as table:
        table.ready(10)
        known = table.get(campaign_id)
        place = access.put(CAMPAIGN_REQUESTS, campaign_id, request)
        # A known id is answered by silence when the content is the same, by a dead letter when it is not.
        deadline = time.monotonic() + (ANSWER_WITHIN if known is None else REFUSED_WITHIN)
        refused = _refusal(
            access, place, lambda: _late(deadline) or (known is None and table.get(campaign_id) is not None)
        )
        found = table.get(campaign_id)
    if refused is not None:
        return Answer(campaign_id, "refused", refused)
    if found is None:
        say("No planner has answered yet: is one running (`rampa up`, `rampa worker planner`)? The request is kept.")
        return Answer(campaign_id, "submitted")
    if found.state == "rejected":
        return Answer(campaign_id, found.state, tuple(f"{p.field}: {p.problem}" for p in found.problems))
    state = found.state if known is None else f"already known, {found.state}; the same request again changes nothing"
    return Answer(campaign_id, state, (), found.warnings)


def _late(deadline: float) -> bool:
    return time.monotonic() > deadline


def _refusal(access: Access, place: Place, stop: Callable[[], bool]) -> tuple[str, ...] | None:
    """The reasons of the dead letter that was made of the record at `place`; None when there is none until `stop`."""
    letters = read_topic(access.kafka, access.name(CAMPAIGN_REQUESTS) + ".dlq", until_end=False, stop=stop)
    for record in letters:
        headers = headers_of(record)
        if (headers.get("partition"), headers.get("offset")) == (str(place.partition), str(place.offset)):
            return tuple(
                line.strip() for line in headers.get("error", "").replace("; ", "\n").splitlines() if line.strip()
            )
    return None


_REACHED: dict[str, frozenset[CampaignState]] = {
    "pause": frozenset({"paused"}),
    "resume": frozenset({"running", "scheduled", "completed"}),
    "cancel": frozenset({"cancelled"}),
}


def command(access: Access, order: CampaignCommand, before: CampaignProgress) -> CampaignProgress | None:
    """Write a command; the progress once it shows the effect, or None when that is not seen in time."""
    access.put(CAMPAIGN_COMMANDS, order.campaign_id, order)
    wanted = _REACHED.get(order.action)
    if wanted is None:
        return None
    with access.table(CAMPAIGN_PROGRESS, CampaignProgress, only=order.campaign_id) as table:
        table.wait_for(lambda t: (p := t.get(order.campaign_id)) is not None and p.state in wanted, ANSWER_WITHIN)
        after = table.get(order.campaign_id)
    if after is None or after.state not in wanted:
        return None
    return after if after.updated_at >= before.updated_at else None
