"""What a pipe asks of the one who has messages, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from sender.smtp.outcomes import Outcome
from sender.smtp.wire import Outgoing

__all__ = ["Ending", "Feed", "Outcome", "Outgoing", "Pipe"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is gone.

    `finished`: `stop` was called, or it has carried as many messages as it may. `closed`: by the server or
    the network. `busy`: the server said 421. `timeout`: no reply in time. `out_of_step`: replies that
    match no command, or are none. `abandoned`: `may_begin` said no. `feed`: the feed raised. `aborted`:
    `abort` was called.
    """

    kind: Literal["finished", "closed", "busy", "timeout", "out_of_step", "abandoned", "feed", "aborted"]
    text: str = ""
    code: int = 0
    error: BaseException | None = None
    """With `feed`: what it raised."""


class Pipe(Protocol):
    """What a feed may do with its pipe. All at once, in the event loop's thread."""

    def kick(self) -> None:
        """There are messages again."""

    def stop(self) -> None:
        """Take no more; finish what is on the wire, QUIT."""

    def abort(self, text: str) -> None:
        """Close now, whatever is on the wire."""

    def release(self) -> None:
        """Write what was gathered; for a feed that has put it off (`Feed.flush`)."""


class Feed(Protocol):
    """Where a pipe's messages come from. All its methods are called in the event loop and must not block.

    For each message that `next` gave: `may_begin`, `began` (unless it ended before), and `ended` exactly
    once. `next`, `may_begin`, `began` and `flush` may raise: the connection is closed then, a message
    whose body was not handed to the transport ends with `lost_before`, and `lost` has the exception.
    """

    def next(self) -> Outgoing | None:
        """A message that may go on this wire now; None: none at present (`Pipe.kick` when there is one).

        It is the guard before MAIL: whether this process is still the owner, its permit and its pace.
        """

    def may_begin(self, message: Outgoing) -> bool:
        """The guard right before the body. False: not a byte of the body is written; ends with `lost_before`."""

    def began(self, message: Outgoing) -> None:
        """Its body is the next thing on the wire: from here on it may be in doubt."""

    def ended(self, message: Outgoing, outcome: Outcome) -> None:
        """What became of a message."""

    def flush(self) -> bool:
        """Right before a write that holds bodies, and after all that a read has brought: a good moment to put
        what `began` and `ended` told since the last time on record, in one piece.

        True: it is done, the pipe writes now. False: it is put off, and the pipe writes when `Pipe.release` is
        called; that is at the end of this turn of the event loop.
        """

    def lost(self, pipe: Pipe, ending: Ending) -> None:
        """The connection is gone; all messages taken were ended; nothing more is called."""
