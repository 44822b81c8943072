"""The asyncio side of a sender: one event loop in a thread of its own, in which runs send.

It decides nothing about who may be mailed; that is the owner's (`sender.owner`), in the other thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import uvloop

from schemas.campaign import Campaign
from schemas.chunk import Chunk
from schemas.template.errors import SettingsProblem
from sender.addresses import addresses
from sender.gathering import Gathering
from sender.held import message_ids
from sender.journal.report import Stopped
from sender.journal.spool import Slip, Spool
from sender.journal.spool_dead import Evidence, boot_id, read_dead
from sender.journal.values import Clue
from sender.line import LineRelay
from sender.piped import PipedRun
from sender.recipients import Recipients
from sender.relays import Connection, Relay, RelayDown, make_relay
from sender.run import Run
from sender.single import SingleRun
from sender.smtp.pool import ConnectionPool
from sender.smtp.relay import SmtpRelay
from sender.surroundings import CannotSend, CannotYet, Surroundings
from sender.traffic import Grant, Known, Message, Readable
from sender.worker import Compiled
from streams.clients import Kafka
from streams.clock import Clock
from streams.settings import RelaySettings

log = logging.getLogger(__name__)

CAMPAIGN_SECONDS = 10.0
"""How long a permit may be ahead of its campaign, which comes by another topic."""
COMPILED_KEPT = 64
DEAD_KEPT = 4
SWEEP = 10.0


class Sending:
    """The runs of one process. Implements `sender.traffic.Runs`."""

    def __init__(
        self,
        kafka: Kafka,
        recipients_topic: str,
        relays: Mapping[str, RelaySettings],
        clock: Clock,
        *,
        campaign: Callable[[str], Campaign | None],
        suppressed: Callable[[str], bool],
        compile_campaign: Callable[[Campaign], Compiled],
        post: Callable[[Message | Readable], None],
        alive: Callable[[], bool],
        spool: Spool | None = None,
        key: bytes = b"",
    ) -> None:
        """`post` and `alive` are called in the event loop's thread and must not block. `key` is the one with which
        `compile_campaign` signs names."""
        self._settings = relays
        self._key = key
        self._campaign = campaign
        self._compile = compile_campaign
        self._post = post
        self._recipients = Recipients(kafka, recipients_topic)
        self._spool = spool
        self._around = Surroundings(
            post, clock, alive, suppressed, self._compiled, self._recipients.row, self._recipients.parts, {}, {}, spool
        )
        self._gathering = Gathering(spool, clock)
        self._pools: dict[str, ConnectionPool[Any]] = {}
        self._piped: set[str] = set()
        self._slips: dict[int, Slip] = {}
        self._dead: OrderedDict[str, Evidence] = OrderedDict()
        self._permitted: dict[str, int] = {}
        self._runs: dict[int, Run[Any]] = {}
        self._halted: set[int] = set()
        self._messages: OrderedDict[tuple[str, str], Compiled] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="sending", daemon=True)

    # --- for the other thread

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Close what is open and end the thread; runs that still go are cut off."""
        if not self._thread.is_alive():
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(seconds)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(seconds)
        self._recipients.close()

    def abandon(self) -> None:
        """Another process has our work: no wire is touched from now on."""
        for run in list(self._runs.values()):
            run.halt()

    def on_wire(self) -> int:
        """How many messages were begun that have no outcome yet."""
        return sum(run.on_wire for run in list(self._runs.values()))

    def start(self, run: int, chunk: Chunk, grant: Grant) -> None:
        self._loop.call_soon_threadsafe(self._start, run, chunk, grant)

    def grant(self, run: int, grant: Grant) -> None:
        self._loop.call_soon_threadsafe(self._with, run, lambda r: r.grant(grant))

    def stop(self, run: int, stopped: Stopped) -> None:
        self._loop.call_soon_threadsafe(self._with, run, lambda r: r.stop(stopped))

    def halt(self, run: int) -> None:
        self._halted.add(run)  # also one whose start is still on its way to the loop
        found = self._runs.get(run)
        if found is not None:
            found.halt()  # at once: the loop may be about to write
        self._loop.call_soon_threadsafe(self._with, run, Run.wake)

    def look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:
        self._loop.call_soon_threadsafe(self._spawn, self._look_up(look, chunk, indices, clues))

    def try_spools(self, names: Sequence[str]) -> None:
        self._loop.call_soon_threadsafe(self._spawn, self._try_spools(names))

    def settled(self, run: int, indices: Sequence[int]) -> None:
        slip = self._slips.get(run)
        if slip is not None and self._spool is not None:
            self._spool.settled(slip, indices)
            self._forget_slip(run)

    # --- in the event loop

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._spawn, self._sweep())
        self._recipients.warm()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("sending failed", exc_info=failure)

    def _with(self, run: int, do: Callable[[Run[Any]], None]) -> None:
        found = self._runs.get(run)
        if found is not None:
            do(found)

    def _start(self, id_: int, chunk: Chunk, grant: Grant) -> None:
        pool = self._pool(chunk.relay)
        kind = PipedRun if chunk.relay in self._piped else SingleRun
        run = self._runs[id_] = kind(id_, chunk, pool, self._around, grant, halted=id_ in self._halted)
        if run.slip is not None:
            self._slips[id_] = run.slip
        self._spawn(self._run(run))

    async def _run(self, run: Run[Any]) -> None:
        """Its connections count from before it begins until they are closed; only then is it over."""
        relay, connections = run.chunk.relay, run.chunk.connections
        await self._permit(relay, connections)
        try:
            await run.go()
        finally:
            await self._permit(relay, -connections)
            del self._runs[run.id]
            self._halted.discard(run.id)
            self._forget_slip(run.id)
            if not run.halted:
                self._post(run.drained())

    def _forget_slip(self, run: int) -> None:
        """When nothing on it waits for a commit any more."""
        slip = self._slips.get(run)
        if slip is not None and run not in self._runs and not slip.last:
            self._slips.pop(run, None)

    async def _permit(self, relay: str, change: int) -> None:
        self._permitted[relay] = self._permitted.get(relay, 0) + change
        await self._pools[relay].resize(self._permitted[relay])

    def _pool(self, name: str) -> ConnectionPool[Any]:
        if name not in self._pools:
            relay: Relay | LineRelay = self._relay(name)
            if isinstance(relay, SmtpRelay):
                self._piped.add(name)
                relay = LineRelay(relay, self._gathering)
            self._pools[name] = ConnectionPool(relay, 0)
        return self._pools[name]

    def _relay(self, name: str) -> Relay:
        if name not in self._settings:
            text = f"relay {name!r} is not in the settings of this process"
            return _NoRelay(RelayDown("settings", text=text))
        try:
            return make_relay(self._settings[name])
        except RelayDown as e:
            return _NoRelay(e)

    async def _compiled(self, chunk: Chunk) -> Compiled:
        campaign = await self._campaign_of(chunk)
        key = campaign.campaign_id, campaign.content_hash
        if key not in self._messages:
            try:
                self._messages[key] = await self._loop.run_in_executor(None, self._compile, campaign)
            except SettingsProblem as e:
                raise CannotYet(f"{e}; mend it in the settings, start the sender again, and see `rampa doctor`") from e
            except ValueError as e:
                raise CannotSend(f"the message of {campaign.campaign_id} cannot be made: {e}") from e
        self._messages.move_to_end(key)
        while len(self._messages) > COMPILED_KEPT:
            self._messages.popitem(last=False)
        return self._messages[key]

    async def _campaign_of(self, chunk: Chunk) -> Campaign:
        deadline = self._loop.time() + CAMPAIGN_SECONDS
        while (campaign := self._campaign(chunk.campaign_id)) is None:
            if self._loop.time() > deadline:
                raise CannotYet(f"campaign {chunk.campaign_id} is not on the topic campaigns")
            await asyncio.sleep(0.05)
        if campaign.content_hash != chunk.content_hash:
            raise CannotSend(
                f"campaign {chunk.campaign_id} has content {campaign.content_hash}, the permit is for "
                f"{chunk.content_hash}; nothing is sent"
            )
        return campaign

    async def _look_up(self, look: int, chunk: Chunk, indices: Sequence[int], clues: Mapping[int, Clue]) -> None:
        """Always answers: the batch waits for it."""
        emails = await addresses(self._recipients.row, chunk, indices)
        fates = {}
        for index, (spool, round_) in clues.items():
            evidence = await self._evidence(spool)
            if evidence is not None:
                fates[index] = evidence.of(chunk.campaign_id, chunk.batch_number, index, round_)
        ids: dict[int, str] = {}
        with suppress(LookupError, ValueError, OSError):  # a time zone that is not known here
            ids = message_ids(chunk, indices, clues, self._key)
        self._post(Known((chunk.campaign_id, chunk.batch_number), look, emails, fates, ids))

    async def _try_spools(self, names: Sequence[str]) -> None:
        for name in names:
            if await self._evidence(name) is not None:
                self._post(Readable(name))

    async def _evidence(self, name: str) -> Evidence | None:
        """What a spool proves; None: nothing, or not yet."""
        found = self._dead.get(name)
        if found is None and self._spool is not None:
            try:
                found = await self._loop.run_in_executor(None, read_dead, self._spool.directory, name, boot_id())
            except OSError as e:
                log.warning("spool %s cannot be read: %s", name, e)
            except Exception:
                log.exception("spool %s cannot be read", name)
            if found is not None:
                self._dead[name] = found
                while len(self._dead) > DEAD_KEPT:
                    self._dead.popitem(last=False)
        return found

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            for pool in list(self._pools.values()):
                await pool.sweep()

    async def _shut(self) -> None:
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()


class _NoRelay:
    """A relay that these settings do not make."""

    def __init__(self, reason: RelayDown) -> None:
        self._reason = reason

    async def open(self) -> Connection:
        raise self._reason
