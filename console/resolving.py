"""Who in doubt is meant by an address that a person typed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from console.errors import ConsoleError
from schemas.domain_names import mailbox


def in_doubt_at(found: Iterable[Mapping[str, Any]], address: str, campaign_id: str) -> str:
    """The address, as the campaign has it, of the one recipient in doubt whom `address` names.

    `found`: the campaign's recipients as `console.fates.fates` gives them. Capital and small letters count only
    when they tell several apart. Raises ConsoleError: nobody has it, he is not in doubt, or several could be meant.
    """
    wanted = mailbox(address)
    loose = [f for f in found if mailbox(str(f["email"])).casefold() == wanted.casefold()]
    exact = [f for f in loose if mailbox(str(f["email"])) == wanted]
    doubtful = [f for f in exact or loose if f["state"] == "in_doubt"]
    if len(doubtful) == 1:
        return str(doubtful[0]["email"])
    if doubtful:
        several = ", ".join(f"{f['email']} (batch {f['batch_number']} index {f['index']})" for f in doubtful)
        raise ConsoleError(f"{campaign_id}: several in doubt could be meant by {address}: {several}. Type one exactly.")
    if not loose:
        raise ConsoleError(
            f"{campaign_id}: nobody has the address {address}; `rampa campaign recipients {campaign_id}` lists them"
        )
    planned = [f for f in exact or loose if f["batch_number"]] or loose
    raise ConsoleError(
        f"{campaign_id}: {planned[0]['email']} is {str(planned[0]['state']).replace('_', ' ')}, not in doubt; "
        "there is nothing to resolve"
    )
