"""A relay that is reached by SMTP: address, TLS, greeting, AUTH.

Every way in which a session cannot begin is `RelayDown`. No message, log line or exception carries a
password: what a server says is searched for it before it is passed on.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import socket
import ssl
from dataclasses import dataclass

import aiosmtplib
import idna

from sender.smtp.dialogue import SmtpConnection, Timeouts
from sender.smtp.errors import RelayDown
from sender.smtp.feed import Feed
from sender.smtp.learned import Learned, Report, learn, mode_for
from sender.smtp.outcomes import split_enhanced
from sender.smtp.pipeline import MessagePipe
from sender.smtp.replies import MAX_TEXT
from sender.smtp.source import bind, source_address
from sender.smtp.watch import Patience
from sender.smtp.wire import Offer
from streams.settings import RelaySettings

log = logging.getLogger(__name__)

_FAMILY = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """How a session is to be encrypted."""

    implicit: bool = False
    """TLS from the first byte (RFC 8314, 3.3)."""
    starttls: bool = False
    """Use STARTTLS (RFC 3207) when it is offered."""
    required: bool = False
    """... and do not go on when it is not."""


def tls_plan(tls: str, port: int) -> TlsPlan:
    """What `tls` (auto, implicit, starttls, none) means on `port`: auto is implicit on 465, STARTTLS on 587."""
    if tls == "implicit" or (tls == "auto" and port == 465):
        return TlsPlan(implicit=True)
    if tls == "none":
        return TlsPlan()
    return TlsPlan(starttls=True, required=tls == "starttls" or port == 587)


class SmtpRelay:
    """Opens sessions with one relay. Implements `sender.relays.Relay`."""

    def __init__(
        self, settings: RelaySettings, timeouts: Timeouts | None = None, patience: Patience | None = None
    ) -> None:
        self.learned = Learned()
        """How far ahead of its replies this relay may be talked to; each pipe adds to it."""
        self._patience = patience or Patience.of(settings.timeout.total_seconds())
        self._settings = settings
        self._host = _ascii_host(settings.host or "localhost")
        self._timeouts = timeouts or Timeouts.of(settings.timeout.total_seconds())
        self._plan = tls_plan(settings.tls, settings.port)
        self._tls: ssl.SSLContext | None = None
        self._helo = settings.helo
        password = settings.password.get_secret_value() if settings.password else ""
        self._password = password
        self._secrets = _forms(settings.username or "", password)

    async def open(self) -> SmtpConnection:
        """A new session, greeted, encrypted and authenticated as the settings ask. Raises `RelayDown`."""
        try:
            return await self._open()
        except RelayDown as e:
            raise RelayDown(e.reason, e.code, self._clean(e.text), throttled=e.throttled) from None

    async def open_pipe(self, feed: Feed, *, alone: bool = True) -> MessagePipe:
        """A new session as `open` makes it, for many messages without waiting: `kick` starts it.

        It speaks the quickest way that the relay offers and has not shown to be beyond it (`learned`).
        Raises `RelayDown`. `Feed.lost` may come before the caller sees the pipe, if it does not wait here
        directly. `alone` as for `MessagePipe`.
        """
        try:
            client = await self._session()
        except RelayDown as e:
            raise RelayDown(e.reason, e.code, self._clean(e.text), throttled=e.throttled) from None
        offer = Offer.of(client.esmtp_extensions)
        pipe = MessagePipe(
            feed,
            offer,
            mode_for(offer, self.learned),
            patience=self._patience,
            most=self._settings.messages_per_connection,
            window=self._settings.in_flight,
            report=self._learn,
            alone=alone,
        )
        transport = client.transport
        if transport is None or transport.is_closing():
            client.close()
            raise RelayDown("connect", text=f"{self._host} closed the connection after it had been set up")
        transport.set_protocol(pipe)  # aiosmtplib has read every reply that it asked for; it hears no more
        pipe.connection_made(transport)
        return pipe

    def _learn(self, report: Report) -> None:
        known, self.learned = self.learned, learn(self.learned, report)
        if self.learned.ceiling is not known.ceiling:
            log.warning("%s: no more %s; %s", self._host, known.ceiling.name, self.learned.why)

    async def _open(self) -> SmtpConnection:
        return SmtpConnection(await self._session(), self._timeouts, self._settings.messages_per_connection)

    async def _session(self) -> aiosmtplib.SMTP:
        if self._helo is None:
            self._helo = await asyncio.to_thread(_own_name)
        if self._tls is None and (self._plan.implicit or self._plan.starttls):
            self._tls = await asyncio.to_thread(_context, self._settings)
        client = self._client(self._helo)
        sock = await self._connect()
        try:
            await self._begin(client, sock)
        except BaseException:
            client.close()  # and with it the socket, which is asyncio's since `connect`
            raise
        return client

    def _client(self, helo: str) -> aiosmtplib.SMTP:
        try:
            return aiosmtplib.SMTP(
                hostname=self._host,
                local_hostname=helo,
                timeout=self._timeouts.command,
                use_tls=self._plan.implicit,
                start_tls=False,
                tls_context=self._tls,
            )
        except ValueError as e:
            raise RelayDown("settings", text=f"helo {helo!r}: {e}") from None

    async def _connect(self) -> socket.socket:
        """A connected socket to the first address that answers."""
        s = self._settings
        family, source = _FAMILY[s.ip_family], None
        if s.source_ip is not None:
            source = source_address(s.source_ip, s.ip_family)
            family = socket.AF_INET if source.version == 4 else socket.AF_INET6
        where = f"{self._host} port {s.port}"
        try:
            addresses = await asyncio.get_running_loop().getaddrinfo(
                self._host, s.port, family=family, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as e:
            over = "" if family == socket.AF_UNSPEC else f" over IPv{4 if family == socket.AF_INET else 6}"
            raise RelayDown("address", text=f"{self._host} has no address{over}: {e}") from None
        problem = "no address"
        for kind, _, protocol, _, address in addresses:
            sock = socket.socket(kind, socket.SOCK_STREAM, protocol)
            if source is not None:
                bind(sock, source)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(self._timeouts.connect):
                    await asyncio.get_running_loop().sock_connect(sock, address)
            except TimeoutError:
                sock.close()
                problem = f"{address[0]} did not answer within {self._timeouts.connect:g} s"
            except OSError as e:
                sock.close()
                problem = f"{address[0]}: {e.strerror or e}"
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise RelayDown("connect", text=f"cannot connect to {where}: {problem}")

    # -- the session ------------------------------------------------------------------------------------

    async def _begin(self, client: aiosmtplib.SMTP, sock: socket.socket) -> None:
        step = "tls" if self._plan.implicit else "greeting"
        try:
            await client.connect(sock=sock, timeout=self._timeouts.greeting)
            step = "greeting"
            await _hello(client)
            if self._plan.starttls:
                step = "tls"
                await self._start_tls(client)
            if self._settings.username is not None:
                step = "auth"
                await self._log_in(client)
        except aiosmtplib.SMTPResponseException as e:
            raise self._refused(step, e.code, e.message) from None
        except (aiosmtplib.SMTPException, OSError) as e:  # ssl.SSLError is one
            if isinstance(e, RelayDown):
                raise
            raise RelayDown("connect" if _is_lost(step, e) else step, text=self._explain(e)) from None
        except ValueError:
            # Not what it says: it may quote a part of the password.
            raise RelayDown(step, text="the user name or password has characters that AUTH cannot carry") from None

    async def _start_tls(self, client: aiosmtplib.SMTP) -> None:
        if not client.supports_extension("starttls"):
            if self._plan.required:
                raise RelayDown(
                    "tls",
                    text=f"{self._host} port {self._settings.port} does not offer STARTTLS, and mail must not go in "
                    'the clear; check the port (465 with tls = "implicit"?), or set tls = "none" if that is meant',
                )
            return
        await client.starttls(server_hostname=self._host)
        await _hello(client)

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        encrypted = client.get_transport_info("sslcontext") is not None
        if not encrypted and self._settings.tls != "none" and not _is_loopback(client):
            raise RelayDown(
                "auth",
                text=f"{self._host} port {self._settings.port} offers no TLS, and the password must not go in the "
                'clear; use port 587 or 465, or set tls = "none" if that is meant',
            )
        user, password = self._settings.username or "", self._password
        ways = {
            "plain": client.auth_plain,
            "login": client.auth_login,
            "cram-md5": client.auth_crammd5,
            "xoauth2": client.auth_xoauth2,  # the password is the access token
        }
        wanted = [self._settings.auth] if self._settings.auth != "auto" else ["plain", "login", "cram-md5"]
        offered = [way for way in (wanted if encrypted else reversed(wanted)) if way in client.server_auth_methods]
        if not offered:
            raise RelayDown("auth", text=f"{self._host} offers none of AUTH {', '.join(wanted).upper()}")
        for last, way in enumerate(offered, 1 - len(offered)):
            try:
                await ways[way](user, password)
            except aiosmtplib.SMTPAuthenticationError as e:
                # Another way only where this one is not known (RFC 4954, 4): each wrong password counts.
                if last == 0 or e.code not in (502, 504, 534):
                    raise
            else:
                return

    def _refused(self, step: str, code: int, text: str) -> RelayDown:
        enhanced, words = split_enhanced(code, text)
        throttled = code == 421 or (step != "auth" and 400 <= code < 500 and enhanced.startswith("4.7."))
        return RelayDown("busy" if throttled else step, code, f"{enhanced} {words}".strip(), throttled=throttled)

    def _explain(self, e: Exception) -> str:
        cause = _cause(e)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of {self._host} is not good: {cause.verify_message}; "
                "check `host`, or name the authority in `ca_file`"
            )
        if isinstance(e, aiosmtplib.SMTPTimeoutError):
            return f"{self._host} port {self._settings.port} did not answer in time"
        hint = ' (is it a port for STARTTLS? try tls = "starttls")' if isinstance(cause, ssl.SSLError) else ""
        said = cause.message if isinstance(cause, aiosmtplib.SMTPException) else str(cause)
        return f"{self._host} port {self._settings.port}: {said or type(cause).__name__}{hint}"

    def _clean(self, text: str) -> str:
        """Without the password, and as UTF-8 can be written: aiosmtplib keeps other octets as half a surrogate."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text.encode(errors="replace").decode()[:MAX_TEXT]


def _cause(e: Exception) -> BaseException:
    return e.__cause__ if isinstance(e, aiosmtplib.SMTPConnectError) and e.__cause__ is not None else e


def _is_lost(step: str, e: Exception) -> bool:
    """Whether nobody refused anything: silence during TLS or AUTH, or a connection that is lost during AUTH, is no
    word about certificates or credentials. One that is closed during the handshake may be: of versions, say."""
    if isinstance(_cause(e), aiosmtplib.SMTPTimeoutError | TimeoutError):
        return step in {"tls", "auth"}
    return step == "auth" and isinstance(e, aiosmtplib.SMTPServerDisconnected | ConnectionError)


async def _hello(client: aiosmtplib.SMTP) -> None:
    """EHLO, or HELO for a server that does not know it (RFC 5321, 3.2)."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as e:
        if e.code not in (500, 502, 504) or not client.is_connected:
            raise
        await client.helo()


def _context(settings: RelaySettings) -> ssl.SSLContext:
    """Certificates and host names are checked; TLS 1.2 at least (RFC 8996)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as e:
            raise RelayDown("settings", text=f"ca_file {settings.ca_file}: {e}") from None
    return context


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return host  # has no address, which `open` will say


def _own_name() -> str:
    """This host's name; an address literal where the name is none that a server takes (RFC 5321, 4.1.4)."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() and not name.endswith(".arpa") else "[127.0.0.1]"


def _is_loopback(client: aiosmtplib.SMTP) -> bool:
    peer = client.get_transport_info("peername")
    try:
        return bool(peer) and ipaddress.ip_address(peer[0]).is_loopback
    except ValueError:
        return False


def _forms(username: str, password: str) -> tuple[str, ...]:
    """The password in every form that goes over the wire, longest first."""
    if not password:
        return ()
    bearer = f"user={username}\1auth=Bearer {password}\1\1"
    forms = (password, f"\0{username}\0{password}", bearer)
    encoded = {base64.b64encode(form.encode("utf-8", "replace")).decode() for form in forms}
    return tuple(sorted({password, *encoded}, key=len, reverse=True))
