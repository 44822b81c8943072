"""What a relay as a whole can refuse."""

from __future__ import annotations


class RelayDown(ConnectionError):
    """A relay cannot be reached, refuses us as a whole, or all that is from one sending domain: never a recipient's
    failure.

    `reason` is one of `address`, `connect`, `tls`, `greeting`, `auth`, `busy`, `settings`, `refused` (it answers
    everything so), `domain` (it answers everything from this sending domain so), `quota` (the account's is used up),
    `network` (it replies to no message); `code` is the server's (0: it said none). `throttled` says that the server
    asks for fewer connections or less speed (421 or 4.7.x to the greeting): other connections may well go on. No
    message contains a password.
    """

    def __init__(self, reason: str, code: int = 0, text: str = "", *, throttled: bool = False) -> None:
        super().__init__(f"{reason}: {code} {text}" if code else f"{reason}: {text}")
        self.reason = reason
        self.code = code
        self.text = text
        self.throttled = throttled


class RelayRefuses(RelayDown):
    """The relay refuses everything; the message that showed it has its outcome already."""
