"""How many messages a second the mailbox simulator takes, and what that costs its core.

A pipelined client (RFC 2920: final dot, MAIL, RCPT, DATA in one write) in this process, the simulator
in another one. Messages of 4 KB. Results go to bench/results/simulator.json.

    python bench/simulator_speed.py [--messages 60000] [--connections 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from simulator.process import SimulatorProcess
from simulator.settings import Settings

RESULTS = Path(__file__).parent / "results" / "simulator.json"
LINE = b"The quick brown fox jumps over the lazy dog, and the dog does not care at all.\r\n"
ENVELOPE = b"MAIL FROM:<sender@bore.example>\r\nRCPT TO:<user%d@mailbox.example>\r\n"


class PipelinedClient(asyncio.Protocol):
    """Sends messages until `left` is used up, one round trip a message (DATA) or eight in flight (BDAT)."""

    def __init__(self, left: list[int], bdat: bool) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._left = left
        self._bdat = bdat
        head = b"Message-ID: <%d@bore.example>\r\nSubject: bench\r\n\r\n" % id(self)
        self._body = head + LINE * ((4096 - len(head)) // len(LINE))
        self._awaited = 0
        self._ready = b""  # the body for the DATA that is being answered

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(b"EHLO bench.example\r\n")
        self._awaited = -1  # replies come in lines; the greeting and EHLO end by their last line

    def data_received(self, data: bytes) -> None:
        if self._awaited < 0:
            if data.count(b"\r\n250 ") == 1:
                self._awaited = 0
                self._more()
            return
        if b"\r\n4" in data or b"\r\n5" in data or data[:1] in b"45":
            self.done.set_exception(AssertionError(data))
            return
        self._awaited -= data.count(b"\n")
        if self._awaited == 0:
            self._more()

    def _more(self) -> None:
        """One write: the body whose DATA was answered, and what may follow it without waiting."""
        body, self._ready = self._ready, b""
        number = self._left[0]
        count = min(8 if self._bdat else 1, number)
        self._left[0] -= count
        if self._bdat:
            one = ENVELOPE % number + b"BDAT %d LAST\r\n" % len(self._body) + self._body
            self._awaited = 3 * count
            self._transport.write(one * count)
        else:
            following = ENVELOPE % number + b"DATA\r\n" if count else b""
            self._ready = self._body + b".\r\n" if count else b""
            self._awaited = 3 * count + bool(body)
            self._transport.write(body + following)
        if not self._awaited:
            self.done.set_result(None)


async def send(port: int, messages: int, connections: int, *, bdat: bool) -> float:
    """Sends all; gives the seconds that it took."""
    loop = asyncio.get_running_loop()
    left = [messages]
    began = time.perf_counter()
    clients = [
        (await loop.create_connection(lambda: PipelinedClient(left, bdat), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    return time.perf_counter() - began


def measure(name: str, messages: int, connections: int, *, record: bool, bdat: bool) -> dict[str, Any]:
    """One run against a fresh simulator."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(chunking=bdat)
        with SimulatorProcess(Path(directory), settings=settings, record=record) as provider:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seconds = runner.run(send(provider.port, messages, connections, bdat=bdat))
            stats = provider.stop()
    taken = stats["messages"]
    cpu = stats["cpu_seconds"]
    return {
        "name": name,
        "messages": taken,
        "connections": connections,
        "seconds": round(seconds, 2),
        "per_second": round(taken / seconds),
        "simulator_cpu_seconds_per_1000": round(cpu / taken * 1000, 4),
        "per_second_of_one_core": round(taken / cpu),
    }


def main() -> None:
    """Measures each mode, prints and writes the results."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--messages", type=int, default=60_000)
    p.add_argument("--connections", type=int, default=10)
    options = p.parse_args()
    modes = [("count", False, False), ("record", True, False), ("count, BDAT", False, True)]
    results = []
    for name, record, bdat in modes:
        results.append(measure(name, options.messages, options.connections, record=record, bdat=bdat))
        print(json.dumps(results[-1]))
    document = {"python": platform.python_version(), "message_octets": 4096, "runs": results}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
