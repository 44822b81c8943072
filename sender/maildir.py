"""A relay that puts mail into a Maildir, for looking at it. Nothing leaves this machine.

A message appears in `new/` at once and whole (written in `tmp/`, then renamed). Its file's name begins
with the Message-ID, so that the same message twice is seen by its name: `<id>`, `<id>#2`, ...
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import uuid
from pathlib import Path

from sender.message.envelope import Envelope
from sender.smtp.errors import RelayDown
from sender.smtp.outcomes import Outcome
from streams.settings import RelaySettings


class MaildirRelay:
    """Implements `sender.relays.Relay`."""

    def __init__(self, settings: RelaySettings, *, fsync: bool = False) -> None:
        self._path = settings.path or Path("var/mail")
        self._fsync = fsync

    async def open(self) -> MaildirConnection:
        """A writer for the directory, which is made when it is missing. Raises `RelayDown`."""
        try:
            for name in ("tmp", "new", "cur"):
                (self._path / name).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise RelayDown("settings", text=f"cannot use the Maildir {self._path}: {e.strerror}") from None
        return MaildirConnection(self._path, fsync=self._fsync)


class MaildirConnection:
    """Implements `sender.relays.Connection`."""

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._path = path
        self._fsync = fsync
        self._open = True

    @property
    def usable(self) -> bool:
        """Until it is closed."""
        return self._open

    async def send(self, envelope: Envelope) -> Outcome:
        """Delivers one message; a full or unwritable disk is `transient`."""
        try:
            name = await asyncio.to_thread(self._deliver, envelope)
        except OSError as e:
            text = f"cannot write to {self._path}: {e.strerror}"
            return Outcome("transient", 451, "4.3.0", text, "", "not_accepting", "message")
        return Outcome("accepted", 250, "2.0.0", f"Ok: queued as {name}", name, "", "message")

    def _deliver(self, envelope: Envelope) -> str:
        temporary = self._path / "tmp" / f"{uuid.uuid4().hex}.{os.getpid()}.{socket.gethostname()}"
        head = f"Return-Path: <{envelope.mail_from}>\r\nDelivered-To: {envelope.rcpt_to}\r\n".encode()
        try:
            with temporary.open("xb") as file:
                file.write(head + envelope.content)
                if self._fsync:
                    file.flush()
                    os.fsync(file.fileno())
            return self._publish(temporary, file_name(envelope.message_id))
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, base: str) -> str:
        """Links into `new/` under the first name that is free; the link fails where one is taken."""
        for n in range(1, 1_000_000):
            name = base if n == 1 else f"{base}#{n}"
            try:
                os.link(temporary, self._path / "new" / name)
            except FileExistsError:
                continue
            return name
        raise FileExistsError(17, f"a million messages are called {base}")

    async def close(self) -> None:
        """Nothing is held open."""
        self._open = False


def file_name(message_id: str) -> str:
    """A file name of a Message-ID: no separator that Maildir gives a meaning (`/`, `:`), no leading dot."""
    return re.sub(r"[^A-Za-z0-9@=._+-]", "_", message_id.strip("<>"))[:200].lstrip(".") or "message"
