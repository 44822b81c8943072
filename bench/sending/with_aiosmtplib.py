"""One run of what people write in Python: `with_aiosmtplib.py PORT CONNECTIONS COUNT`; prints one JSON line.

An `EmailMessage` for each recipient, sent by aiosmtplib over connections that stay open, on uvloop.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiosmtplib
import uvloop
from letter import built


async def run(port: int, connections: int, count: int) -> None:
    """Sends `count` messages, measured from the first to the last."""
    numbers = iter(range(count))
    clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) for _ in range(connections)]
    await asyncio.gather(*(client.connect() for client in clients))

    async def work(client: aiosmtplib.SMTP) -> None:
        for number in numbers:
            await client.send_message(built(number))

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(client) for client in clients))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"count": count, "seconds": seconds, "cpu": cpu}))
    await asyncio.gather(*(client.quit() for client in clients))


if __name__ == "__main__":
    uvloop.run(run(*(int(argument) for argument in sys.argv[1:4])))
