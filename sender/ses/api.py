"""The two calls of the SES API that a relay makes, blocking, for several threads.

botocore tries nothing again (`total_max_attempts=1`): whether a message may be sent a second time is not for
it to decide. A request's body is handed over through a reader that knows when all of it has gone to the
socket: before that, Amazon cannot have the message; from then on, without an answer, nobody knows.
"""

from __future__ import annotations

import io
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ParamValidationError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from schemas.message_name import read_message_id
from sender.message.envelope import Envelope
from sender.ses.account import AccountLimits, limits_of
from sender.ses.outcomes import outcome_of_error
from sender.ses.tags import tags_of
from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Outcome
from sender.smtp.replies import MAX_TEXT
from streams.settings import RelaySettings

_UNREACHED = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_WIRE = (HTTPClientError, ConnectionClosedError, ReadTimeoutError, SSLError)
_AUTH_WORDS = ("Credential", "Token", "SSO", "Profile", "Login")


class _Body(io.BytesIO):
    """A request's body that knows whether all of it was taken."""

    gone = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:  # what was read before has been written: the reader comes back only then
            self.gone = True
        return data


class SesApi:
    """A client of one account in one region. Its methods block, and may be called from several threads.

    Credentials come by the usual chain of AWS: environment (session tokens too), shared files and `profile`,
    web identity, container or instance role. Raises `RelayDown` when it cannot be made.
    """

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._local = threading.local()
        seconds = settings.timeout.total_seconds()
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=min(seconds, 30.0),
            read_timeout=max(seconds, 60.0),  # giving up early is how mail gets in doubt
            max_pool_connections=settings.connections,
            tcp_keepalive=True,
            user_agent_extra="rampa",
        )
        try:
            session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
            self._client: Any = session.client("sesv2", config=config, endpoint_url=settings.endpoint_url)
        except (BotoCoreError, ValueError) as e:
            raise RelayDown("settings", text=f"SES: {e}") from None
        self._client.meta.events.register("before-send.sesv2.SendEmail", self._before_send)

    def account(self) -> AccountLimits:
        """What the account allows. Raises `RelayDown`; its code is that of HTTP."""
        try:
            return limits_of(self._client.get_account())
        except ClientError as e:
            name, status, text = _error(e)
            throttled = outcome_of_error(name, status, text).kind == "throttled"
            raise RelayDown("auth", status, f"SES GetAccount: {name}: {text}", throttled=throttled) from None
        except (BotoCoreError, ResponseParserError) as e:
            raise RelayDown(_why(e), text=f"SES: {e}") from None

    def send(self, envelope: Envelope) -> Outcome:
        """Sends one message, and says what came of it."""
        if not envelope.rcpt_to.isascii():
            text = "SES does not take an address outside ASCII (Destination, API reference of SES v2)"
            return Outcome("failed", 0, "5.6.7", text, "", "policy", "message")
        self._local.body = None
        try:
            answer = self._client.send_email(**self._request(envelope))
        except ClientError as e:
            return outcome_of_error(*_error(e), envelope.rcpt_to)
        except ParamValidationError as e:
            return Outcome("failed", 501, "5.1.3", f"SES: {e}", "", "unknown", "message")
        except (BotoCoreError, ResponseParserError, OSError) as e:
            return self._lost(e)
        provider_id = _text(answer.get("MessageId"))
        if not provider_id:
            return Outcome("lost_after", 0, "", "SES answered without a MessageId", "", "unknown", "message")
        return Outcome("accepted", 250, "2.0.0", f"Ok {provider_id}", provider_id, "", "message")

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()

    def _request(self, envelope: Envelope) -> dict[str, Any]:
        named = read_message_id(envelope.message_id)  # our own: it needs no proof
        request: dict[str, Any] = {
            "Destination": {"ToAddresses": [envelope.rcpt_to]},
            "Content": {"Raw": {"Data": envelope.content}},
        }
        if envelope.mail_from:
            request["FromEmailAddress"] = envelope.mail_from
        if self._settings.configuration_set:
            request["ConfigurationSetName"] = self._settings.configuration_set
        if named is not None:
            request["EmailTags"] = tags_of(named.name, named.day)
        return request

    def _before_send(self, request: Any, **_: Any) -> None:
        """Runs in the thread of `send`, when the request has been signed."""
        request.body = self._local.body = _Body(request.body)

    def _lost(self, e: Exception) -> Outcome:
        body: _Body | None = self._local.body
        text = f"SES: {_text(e)}"
        if body is not None and body.gone:
            return Outcome("lost_after", 0, "", text, "", "network", "message")
        if body is not None and isinstance(e, _WIRE) and not isinstance(e, _UNREACHED) and body.tell():
            return Outcome("lost_before", 0, "", text, "", "network", "message")
        return Outcome("relay_down", 0, "", text, "", "relay", "message")


def _error(e: ClientError) -> tuple[str, int, str]:
    """(name, HTTP status, text)."""
    said: Any = e.response
    error = said.get("Error", {})
    status = said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return _text(error.get("Code")) or "Unknown", int(status), _text(error.get("Message"))


def _text(found: Any) -> str:
    """As UTF-8 can be written: JSON may have half a surrogate (RFC 8259, section 8.2). And no longer than a record may
    carry: it may be the page of a proxy."""
    return str(found or "")[:MAX_TEXT].encode(errors="replace").decode()


def _why(e: Exception) -> str:
    if isinstance(e, SSLError):
        return "tls"
    return "auth" if any(word in type(e).__name__ for word in _AUTH_WORDS) else "connect"
