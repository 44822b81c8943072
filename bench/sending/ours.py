"""One run of our transport: `ours.py PORT CONNECTIONS COUNT MODE [WINDOW]`; prints one JSON line.

Messages are compiled before; each gets its name filled in and goes through a feed as the sender's would.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop
from letter import compiled

from sender.smtp.feed import Ending, Pipe
from sender.smtp.learned import Learned, Mode
from sender.smtp.outcomes import Outcome
from sender.smtp.relay import SmtpRelay
from sender.smtp.wire import Outgoing
from streams.settings import RelaySettings


class Numbers:
    """A feed that counts."""

    def __init__(self, count: int) -> None:
        self.left = self.open = count
        self.begun = 0
        self.done = asyncio.get_running_loop().create_future()
        self._parts = compiled().split(b"@NAME@")

    def next(self) -> Outgoing | None:
        if not self.left:
            return None
        self.left -= 1
        name = f"guest{self.left:07d}"
        content = name.encode().join(self._parts)
        return Outgoing(f"b+{self.left}@bore.example", f"{name}@mailbox.example", content, False, self.left, True)

    def may_begin(self, message: Outgoing) -> bool:
        return bool(message.rcpt_to)

    def began(self, message: Outgoing) -> None:
        self.begun += len(message.content)

    def ended(self, message: Outgoing, outcome: Outcome) -> None:
        assert outcome.kind == "accepted", (message.rcpt_to, outcome)
        self.open -= 1
        if not self.open:
            self.done.set_result(None)

    def flush(self) -> bool:
        return True

    def lost(self, pipe: Pipe, ending: Ending) -> None:
        assert ending.kind == "finished", (pipe, ending)


async def run(port: int, connections: int, count: int, mode: Mode, window: int) -> None:
    """Sends `count` messages, measured from the first MAIL to the last reply."""
    settings = RelaySettings(
        host="127.0.0.1", port=port, tls="none", helo="bench.example", in_flight=window,
        messages_per_connection=10_000_000,
    )  # fmt: skip
    relay, feed = SmtpRelay(settings), Numbers(count)
    relay.learned = Learned(ceiling=mode)
    pipes = await asyncio.gather(*(relay.open_pipe(feed) for _ in range(connections)))
    assert {pipe.mode for pipe in pipes} == {mode}, f"the server does not offer {mode.name}"
    began, cpu = time.perf_counter(), time.process_time()
    for pipe in pipes:
        pipe.kick()
    await feed.done
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"count": count, "seconds": seconds, "cpu": cpu}))
    for pipe in pipes:
        pipe.stop()
    await asyncio.sleep(0.05)


if __name__ == "__main__":
    to, over, many = (int(argument) for argument in sys.argv[1:4])
    uvloop.run(run(to, over, many, Mode[sys.argv[4]], int(sys.argv[5]) if len(sys.argv) > 5 else 8))
