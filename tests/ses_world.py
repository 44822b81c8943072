"""An HTTP server that answers as the SES API does, or fails in the middle, as a test wants."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from schemas.message_name import MessageName, message_id
from sender.message.envelope import Envelope
from streams.settings import RelaySettings

ACCOUNT = {
    "EnforcementStatus": "HEALTHY", "ProductionAccessEnabled": True, "SendingEnabled": True,
    "SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 1234.0},
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What is answered; or `close`: `early` before the body is read, `late` after it, `half` in the reply."""

    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    close: str = ""
    wait: threading.Event | None = None


def error(name: str, status: int, text: str) -> Answer:
    """An error as the service model describes it (rest-json: its name in a header, its text in the body)."""
    return Answer(status, {"message": text}, name)


class SesServer:
    """`answer` decides on what comes; `sent` and `requests` say what came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.account: Answer = Answer(200, ACCOUNT)
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: Answer(200, {"MessageId": self._id()})
        self._ids = 0
        self.early = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def _id(self) -> str:
        self._ids += 1
        return f"0100019{self._ids:08d}-000000"

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The bodies of all calls to SendEmail."""
        return [body for path, _, body in self.requests if path == "/v2/email/outbound-emails"]

    def asked(self) -> int:
        """How often the account was asked for."""
        return sum(path == "/v2/email/account" for path, *_ in self.requests)

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(world: SesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            world.requests.append((self.path, dict(self.headers), {}))
            self._reply(world.account)

        def do_POST(self) -> None:
            if world.early:
                self._reset()
                return
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            world.requests.append((self.path, dict(self.headers), body))
            self._reply(world.answer(body))

        def _reply(self, answer: Answer) -> None:
            if answer.wait is not None:
                answer.wait.wait(20)
            if answer.close == "late":
                self._reset()
                return
            data = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            if answer.error:
                self.send_header("x-amzn-ErrorType", answer.error)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if answer.close == "half":
                self.wfile.write(data[:5])
                self._reset()
                return
            self.wfile.write(data)

        def _reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


def raw(body: dict[str, Any]) -> bytes:
    """The message of a call."""
    return base64.b64decode(body["Content"]["Raw"]["Data"])


def envelope(
    index: int = 5, to: str = "ana@example.com", content: bytes = b"Subject: hi\r\n\r\nDear Ana\r\n"
) -> Envelope:
    """A message of campaign c.1."""
    name = MessageName("c.1", 2, index, 3)
    return Envelope("hi@bore.example", to, content, message_id(name, date(2026, 2, 28), "bore.example", b"a key"))


def settings(url: str, **more: Any) -> RelaySettings:
    """An ses relay at this address."""
    values = {"type": "ses", "endpoint_url": url, "region": "us-east-1", "connections": 4, "timeout": "5s"}
    return RelaySettings.model_validate(values | more)
