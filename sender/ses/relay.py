"""A relay that is reached by the SES API v2: raw messages, one a call, several calls at once in threads.

Why not SendBulkEmail: it takes templates in SES's own language only, no raw message, so that our headers,
links and signatures could not go by it; the account's rate and quota count recipients, not calls, so it is not
faster; and a connection that is lost leaves up to fifty recipients in doubt instead of one.

A call costs some 1.5 ms of processor time, so one process does about 400 messages a second. Where an account
allows more, use several senders, or the SMTP interface of SES (`type = "smtp"`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

from sender.message.envelope import Envelope
from sender.ses.account import AccountLimits
from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Outcome
from streams.settings import RelaySettings

if TYPE_CHECKING:
    from sender.ses.api import SesApi

log = logging.getLogger(__name__)

FRESH_SECONDS = 60.0
"""How long an account's limits are believed. `GetAccount` itself may be called once a second."""


def _api(settings: RelaySettings) -> SesApi:
    from sender.ses.api import SesApi  # takes a third of a second, hence in a thread

    return SesApi(settings)


class SesRelay:
    """Implements `sender.relays.Relay`. For one event loop."""

    def __init__(self, settings: RelaySettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._api: SesApi | None = None
        self._threads = ThreadPoolExecutor(settings.connections, "ses")
        self._making, self._asking = asyncio.Lock(), asyncio.Lock()
        self._limits: AccountLimits | None = None
        self._asked = float("-inf")

    @property
    def limits(self) -> AccountLimits | None:
        """What the account last said; None when it was not asked, or may not be."""
        return self._limits

    async def account(self) -> AccountLimits:
        """Asks the account for its quota and rate. Raises `RelayDown`."""
        api = await self._client()
        self._limits = await asyncio.get_running_loop().run_in_executor(self._threads, api.account)
        self._asked = self._clock()
        return self._limits

    async def open(self) -> SesConnection:
        """A place for one call at a time. Raises `RelayDown` when the account cannot be reached or cannot send."""
        api = await self._client()
        async with self._asking:
            if self._clock() - self._asked >= FRESH_SECONDS:
                await self._look()
        if self._limits is not None and self._limits.refusal:
            self._asked = float("-inf")
            raise RelayDown("busy", text=f"SES: {self._limits.refusal}")
        return SesConnection(self, api, self._threads)

    async def close(self) -> None:
        """Ends idle connections and threads."""
        if self._api is not None:
            self._api.close()
        self._threads.shutdown(wait=False)

    def doubt(self) -> None:
        """The account refused us: ask it again before the next connection."""
        self._asked = float("-inf")

    async def _client(self) -> SesApi:
        async with self._making:
            if self._api is None:
                self._api = await asyncio.get_running_loop().run_in_executor(self._threads, _api, self._settings)
        return self._api

    async def _look(self) -> None:
        """A user who may send need not be allowed to read the account, and asking too often says nothing."""
        try:
            limits = await self.account()
        except RelayDown as e:
            if not (e.throttled or (e.code in {400, 403} and "AccessDenied" in e.text)):
                raise
            self._asked = self._clock()
            log.warning("the limits of the account are not known: %s", e.text)
            return
        if not limits.production:
            log.warning("this SES account is in the sandbox: only verified addresses can be mailed")
        log.info("SES allows %s messages a second and %s a day", limits.per_second, limits.per_day)


class SesConnection:
    """Implements `sender.relays.Connection`: one call at a time."""

    def __init__(self, relay: SesRelay, api: SesApi, threads: ThreadPoolExecutor) -> None:
        self._relay = relay
        self._api = api
        self._threads = threads
        self._open = True

    @property
    def usable(self) -> bool:
        """Until it is closed, or the account refuses us."""
        return self._open

    async def send(self, envelope: Envelope) -> Outcome:
        """Sends one message. Raises only when it is cancelled; the call goes on then, and nobody learns its end."""
        if not self._open:
            return Outcome("lost_before", 0, "", "the connection was closed", "", "network", "message")
        outcome = None
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(self._threads, self._api.send, envelope)
        finally:
            if outcome is None:
                self._open = False
        if outcome.kind == "relay_down":
            self._open = False
            if outcome.reason != "domain":
                self._relay.doubt()
        return outcome

    async def close(self) -> None:
        """What is open below is shared by all connections, and stays."""
        self._open = False
