"""Who in doubt is meant by an address that a person typed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from console.errors import ConsoleError
from schemas.domain_names import mailbox


def in_doubt_at(found: Iterable[Mapping[str, Any]], address: str, campaign_id: str) -> str:
    """The address, as the campaign has it, of the one recipient in doubt whom `address` names.

    `found`: the campaign's recipients as `console.fates.fates` gives them. Capitals do not count.
    Raises ConsoleError: nobody has it, or he is not in doubt.
    """
    wanted = mailbox(address)
    meant = [f for f in found if mailbox(str(f["email"])) == wanted]
    doubtful = [f for f in meant if f["state"] == "in_doubt"]
    if doubtful:
        return str(doubtful[0]["email"])
    if not meant:
        raise ConsoleError(
            f"{campaign_id}: nobody has the address {address}; `rampa campaign recipients {campaign_id}` lists them"
        )
    planned = [f for f in meant if f["batch_number"]] or meant
    raise ConsoleError(
        f"{campaign_id}: {planned[0]['email']} is {str(planned[0]['state']).replace('_', ' ')}, not in doubt; "
        "there is nothing to resolve"
    )
