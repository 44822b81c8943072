"""One SMTP session: MAIL, RCPT, DATA, body, one at a time, so that the phase of a loss is known.

aiosmtplib brings the session up and pairs replies with commands; the transaction is spelled out here,
because its own `sendmail` does not say whether a connection was lost before or after the body.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import aiosmtplib

from sender.message.envelope import Envelope
from sender.smtp.outcomes import Kind, Outcome, Stage, outcome_of

_QUIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of real time (RFC 5321, 4.5.3.2)."""

    connect: float = 30.0
    greeting: float = 60.0
    command: float = 60.0
    """Each of EHLO, AUTH, MAIL, RCPT, DATA, RSET: nothing is in doubt when it is missed."""
    message: float = 600.0
    """The reply to the final dot. The RFC asks for 10 minutes: giving up early is how mail is sent twice."""

    @classmethod
    def of(cls, timeout: float) -> Timeouts:
        """Those of a relay's `timeout`: the final dot gets ten times as long as a command."""
        return cls(connect=min(timeout, 30.0), greeting=timeout, command=timeout, message=10 * timeout)


class _Refused(Exception):
    """The transaction ended with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


class SmtpConnection:
    """A session with a relay. Implements `sender.relays.Connection`; one `send` at a time."""

    def __init__(self, client: aiosmtplib.SMTP, timeouts: Timeouts, max_messages: int) -> None:
        self._client = client
        self._timeouts = timeouts
        self._left = max_messages
        self._broken = False

    @property
    def usable(self) -> bool:
        """False after 421, a lost connection, or as many messages as one connection may carry."""
        return not self._broken and self._left > 0 and self._client.is_connected

    async def send(self, envelope: Envelope) -> Outcome:
        """Sends one message and says what came of it. Raises only when it is cancelled.

        `lost_before` promises that the final dot was never written; `lost_after` only that it may have
        been. A cancelled send leaves the connection unusable.
        """
        self._left -= 1
        try:
            return await self._transaction(envelope)
        except BaseException:
            self._break()
            raise

    async def close(self) -> None:
        """QUIT when the session is in order, then closes."""
        if not self._broken and self._client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError):
                await self._client.execute_command(b"QUIT", timeout=_QUIT_SECONDS)
        self._break()

    # -- the transaction -------------------------------------------------------------------------------

    async def _transaction(self, envelope: Envelope) -> Outcome:
        if self._broken or not self._client.is_connected:
            return self._lost("lost_before", "mail", "the connection was lost while it was idle")
        if envelope.smtputf8 and not self._client.supports_extension("smtputf8"):
            text = "the relay does not offer SMTPUTF8, which an address outside ASCII needs (RFC 6531)"
            return Outcome("failed", 0, "5.6.7", text, "", "policy", "mail")
        try:
            await self._envelope(envelope)
        except _Refused as refused:
            return refused.outcome
        return await self._body(envelope)

    async def _envelope(self, envelope: Envelope) -> None:
        """MAIL, RCPT, DATA up to 354. Raises `_Refused`."""
        encoding = "utf-8" if envelope.smtputf8 else "ascii"
        parameters = self._mail_parameters(envelope)
        await self._command("mail", 2, f"MAIL FROM:<{envelope.mail_from}>{parameters}".encode(encoding))
        await self._command("rcpt", 2, f"RCPT TO:<{envelope.rcpt_to}>".encode(encoding))
        await self._command("data", 3, b"DATA")

    def _mail_parameters(self, envelope: Envelope) -> str:
        parameters = ""
        if self._client.supports_extension("size"):  # RFC 1870: a server refuses before it has read all of it
            parameters += f" SIZE={len(envelope.content)}"
        if envelope.smtputf8:
            parameters += " SMTPUTF8"
            if self._client.supports_extension("8bitmime"):
                parameters += " BODY=8BITMIME"
        return parameters

    async def _command(self, stage: Stage, expected: int, line: bytes) -> None:
        """One command; a reply of another class than `expected` (2 or 3) ends the transaction."""
        try:
            code, text = await self._client.execute_command(line, timeout=self._timeouts.command)
        except ValueError as e:  # a control character: aiosmtplib writes none of the line
            raise _Refused(Outcome("failed", 0, "", f"not an address: {e}", "", "bad_mailbox", stage)) from None
        except aiosmtplib.SMTPResponseException as e:
            raise _Refused(self._lost("lost_before", stage, f"the reply cannot be read: {e.message}")) from None
        except (aiosmtplib.SMTPException, OSError) as e:
            raise _Refused(self._lost("lost_before", stage, _words(e))) from None
        if code // 100 == expected:
            return
        outcome = outcome_of(stage, code, text)
        if code == 421 or not 400 <= code <= 599:
            self._break()
        else:
            await self._reset()
        raise _Refused(outcome)

    async def _body(self, envelope: Envelope) -> Outcome:
        """The body and the final dot. From the first write on, a lost connection leaves the message in doubt."""
        await asyncio.sleep(0)  # lets the loop see a connection that was closed right after its 354
        protocol = self._client.protocol
        if protocol is None or not protocol.is_connected:
            return self._lost("lost_before", "data", "the connection was lost after 354, before the body")
        try:
            protocol.write(stuffed(envelope.content))
            code, text = await protocol.read_response(timeout=self._timeouts.message)
        except aiosmtplib.SMTPResponseException as e:
            return self._lost("lost_after", "message", f"the reply cannot be read: {e.message}")
        except (aiosmtplib.SMTPException, OSError) as e:
            return self._lost("lost_after", "message", _words(e))
        if not (200 <= code <= 299 or 400 <= code <= 599):
            return self._lost("lost_after", "message", f"{code} is no reply to the final dot: {text}")
        if code == 421:
            self._break()
        return outcome_of("message", code, text, envelope.rcpt_to)

    async def _reset(self) -> None:
        """Ends the refused transaction, so that the next one begins clean (RFC 5321, 4.1.1.5)."""
        try:
            code, _ = await self._client.execute_command(b"RSET", timeout=self._timeouts.command)
        except (aiosmtplib.SMTPException, OSError):
            code = 0
        if code // 100 != 2:
            self._break()

    def _lost(self, kind: Kind, stage: Stage, text: str) -> Outcome:
        self._break()
        return Outcome(kind, 0, "", text, "", "network", stage)

    def _break(self) -> None:
        self._broken = True
        self._client.close()


def stuffed(content: bytes) -> bytes:
    """`content` with its dots doubled (RFC 5321, 4.5.2), and the final dot."""
    if content.startswith(b"."):
        content = b"." + content
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    return content + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")


def _words(e: Exception) -> str:
    if isinstance(e, aiosmtplib.SMTPTimeoutError):
        return "no reply in time"
    return f"the connection was lost: {e.__cause__ or getattr(e, 'message', None) or e}"
