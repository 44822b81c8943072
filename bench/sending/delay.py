"""A round trip: `delay.py PORT TARGET SECONDS` passes every byte on after half of it, both ways.

Bytes keep their order and their spacing, and bandwidth is not limited: what it shows is what waiting for
replies costs. A real network adds slow start and losses.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import uvloop


class Half(asyncio.Protocol):
    """One direction's reader; writes to the other half later."""

    def __init__(self, delay: float, on_made: Callable[[Half], None]) -> None:
        self.delay = delay
        self.other: Half | None = None
        self.early: list[bytes] = []
        self._on_made = on_made

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.delay, self._pass, data)

    def _pass(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's
        if self.other is not None:
            asyncio.get_running_loop().call_later(self.delay, self.other.transport.close)


async def main(port: int, target: int, seconds: float) -> None:
    """Serves until it is killed."""
    loop = asyncio.get_running_loop()
    tasks = set()

    async def link(near: Half) -> None:
        _, far = await loop.create_connection(lambda: Half(seconds / 2, lambda _: None), "127.0.0.1", target)
        near.other, far.other = far, near
        far.transport.write(b"".join(near.early))

    def made(near: Half) -> None:
        task = loop.create_task(link(near))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await loop.create_server(lambda: Half(seconds / 2, made), "127.0.0.1", port, backlog=500)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
