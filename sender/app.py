"""The sender: permits come in, mail goes out, what became of it is recorded, and the gate is told."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping

from schemas import topics
from schemas.campaign import Campaign
from sender.accounts import AccountReader
from sender.farewell import Farewell
from sender.journal.spool import Spool
from sender.journal.spool_dead import boot_id, sweep
from sender.message.compile import compile_message
from sender.owner import Owner, Topics
from sender.shell import Sending
from sender.signing import name_keys, return_path_of, signer_of
from sender.traffic import Message, Readable
from streams.context import Context
from streams.fenced import Fenced, FencedProcessor, FencedSettings
from streams.settings import RelaySettings
from streams.table import GlobalTable

log = logging.getLogger(__name__)

ROLE = "sender"
COMMIT = 0.05
"""Seconds between two transactions under load: more often costs the broker more than it spares anyone."""
GATHER = 0.1
"""The same for outcomes and for indices that are wanted ahead of time: nobody waits for them."""
LONGEST_REPLY = 11.0
"""Minutes (a relay's `timeout` stands for one) that a planned stop or hand-over waits for what is on the wire: the ten
in which a server may answer the final dot (RFC 5321, 4.5.3.2.6), and one more."""
SWITCH = 0.001
"""Seconds after which the thread that commits lets the one that sends go on: that one asks at each write."""
COLLECT = 50_000, 10, 10
"""Messages make no cycles: the default (700) looks through the tables of recipients again and again for nothing."""


def run(ctx: Context, stop: threading.Event) -> None:
    """Sends until `stop` is set, then finishes what is on the wire and hands over.

    Raises the errors of `streams.fenced.errors`; then another process may own the work, and no wire is
    touched any more. Raises TableLost when campaigns or suppressions cannot be followed any more.
    """
    campaigns = GlobalTable(ctx.kafka, ctx.topic(topics.CAMPAIGNS), Campaign.decode).start()
    suppressions = GlobalTable(ctx.kafka, ctx.topic(topics.SUPPRESSIONS), _any).start()
    with campaigns, suppressions:
        while not (suppressions.ready(1.0) and campaigns.ready(1.0)):
            if stop.is_set():
                return
            log.info("reading campaigns and suppressions")
        _serve(ctx, stop, campaigns, suppressions)


def _serve(
    ctx: Context, stop: threading.Event, campaigns: GlobalTable[Campaign], suppressions: GlobalTable[bool]
) -> None:
    sys.setswitchinterval(SWITCH)
    gc.set_threshold(*COLLECT)
    directory = ctx.settings.data / "spool"  # of all senders of this machine: whoever takes over reads it
    swept = sweep(directory, boot_id(), time.time())
    log.info("%d old spools went away", swept)
    spool = Spool.create(directory)
    settled = False
    try:
        settled = _send(ctx, stop, campaigns, suppressions, spool)
    finally:
        spool.close(clean=settled)


def _send(
    ctx: Context,
    stop: threading.Event,
    campaigns: GlobalTable[Campaign],
    suppressions: GlobalTable[bool],
    spool: Spool,
) -> bool:
    """Whether everything that this process intended has its outcome."""
    owner: Owner
    processor: FencedProcessor

    def tags(campaign_id: str) -> Mapping[str, str]:
        campaign = campaigns.get(campaign_id)
        return {} if campaign is None else campaign.tags

    sending = _sending(
        ctx, campaigns, suppressions, spool,
        post=lambda message: owner.post(message),  # noqa: PLW0108 - there is no owner yet
        alive=lambda: processor.surely_owner(),  # noqa: PLW0108 - nor a processor
    )  # fmt: skip
    names = Topics(ctx.topic(topics.CHUNKS), ctx.topic(topics.GATE_INPUTS), ctx.topic(topics.MAIL_EVENTS))
    farewell = Farewell(stop, sending.on_wire)
    owner = Owner(
        sending, ctx.clock, names, tags=tags, wake=lambda soon: processor.wake(soon=soon), spool=spool.name,
        each_step=farewell.look,
    )  # fmt: skip
    processor = FencedProcessor(
        ctx.kafka,
        owner,
        group=ctx.group(ROLE),
        input_topic=names.chunks,
        state_topic=ctx.topic(topics.SEND_JOURNAL),
        transactional_id=ctx.transactional_id(ROLE),
        settings=_times(ctx.settings.relays, names),
    )

    def stopped() -> bool:
        campaigns.check()
        suppressions.check()
        return stop.is_set() or owner.cut_off

    sending.open()
    try:
        with AccountReader(ctx.kafka, names.gate_inputs, ctx.settings.relays):
            processor.run(stopped)
    except BaseException:
        sending.abandon()
        raise
    sending.close()
    if owner.cut_off and not stop.is_set():
        raise Fenced(
            "partitions went to another process before their mail had its outcome; this one leaves, so that its spool "
            "can be read there"
        )
    return not (owner.cut_off or owner.unsettled)


def _times(relays: Mapping[str, RelaySettings], names: Topics) -> FencedSettings:
    minute = max((relay.timeout.total_seconds() for relay in relays.values()), default=60.0)
    drain = LONGEST_REPLY * minute
    return FencedSettings(
        commit_interval=COMMIT, gather=GATHER, drain=drain, max_poll_interval=max(120.0, drain + 60.0),
        told=(names.mail_events,),
    )  # fmt: skip


def _sending(
    ctx: Context,
    campaigns: GlobalTable[Campaign],
    suppressions: GlobalTable[bool],
    spool: Spool,
    *,
    post: Callable[[Message | Readable], None],
    alive: Callable[[], bool],
) -> Sending:
    """What sends: relays, recipients and compiled messages."""
    key = name_keys(ctx.settings, ctx.installation.id)[0]
    return Sending(
        ctx.kafka,
        ctx.topic(topics.BATCH_RECIPIENTS),
        ctx.settings.relays,
        ctx.clock,
        campaign=campaigns.get,
        suppressed=lambda address: suppressions.get(address) is not None,
        compile_campaign=lambda campaign: compile_message(
            campaign,
            key=key,
            tracker=None,  # a URL goes into mail once there is a tracker that answers it
            sign=signer_of(ctx.settings, campaign.sending_domain),
            return_path=return_path_of(ctx.settings, campaign.sending_domain),
        ),
        post=post,
        alive=alive,
        spool=spool,
        key=key,
    )


def _any(_: bytes) -> bool:
    """That there is a row is all that matters."""
    return True
