"""One sender process for bench/journal.py: `one_sender.py BOOTSTRAP PREFIX SMTP_PORT DATA with|without CONNECTIONS`.

`with` is the product's sender. `without` is the same, but that no row of the journal, no transaction and no spool
stand between a permit and the wire: indices are granted from memory, events go out by an ordinary producer.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [os.environ.get("BENCH_TREE", str(ROOT)), str(ROOT / "tests"), str(ROOT / "tests" / "sender")]

from sending import context, settings  # noqa: E402 - of tests/sender: this file runs as __main__

from schemas import topics  # noqa: E402
from schemas.campaign import Campaign  # noqa: E402
from schemas.chunk import Chunk, ChunkResult  # noqa: E402
from schemas.identity import batch_id  # noqa: E402
from sender.app import COLLECT, SWITCH  # noqa: E402
from sender.app import run as run_with  # noqa: E402
from sender.events import HEADERS, event_values  # noqa: E402
from sender.journal.values import Fact  # noqa: E402
from sender.message.compile import compile_message  # noqa: E402
from sender.shell import Sending  # noqa: E402
from sender.traffic import Came, Drained, Grant, Message, Readable, Want, prefetch_limit  # noqa: E402
from streams.clients import Kafka  # noqa: E402
from streams.context import Context  # noqa: E402
from streams.table import GlobalTable, TopicReader  # noqa: E402


@dataclass
class Permitted:
    """A permit that is being sent."""

    chunk: Chunk
    granted: int = 0
    accepted: int = 0

    def grant(self, n: int) -> Grant:
        first, self.granted = self.granted, min(self.chunk.batch_size, self.granted + n)
        return Grant(range(first, self.granted), last=self.granted == self.chunk.batch_size)


class Unjournaled:
    """What the owner of batches does, from memory alone."""

    def __init__(self, ctx: Context, campaigns: GlobalTable[Campaign], suppressions: GlobalTable[bool]) -> None:
        self._ctx = ctx
        self._inbox: deque[Message | Readable] = deque()
        self._wake = threading.Event()
        self._runs: dict[int, Permitted] = {}
        self._producer = ctx.kafka.producer()
        self._events = ctx.topic(topics.MAIL_EVENTS)
        self._sending = Sending(
            ctx.kafka, ctx.topic(topics.BATCH_RECIPIENTS), ctx.settings.relays, ctx.clock, campaign=campaigns.get,
            suppressed=lambda address: suppressions.get(address) is not None, compile_campaign=compile_message,
            post=self._post, alive=lambda: True,
        )  # fmt: skip

    def _post(self, message: Message | Readable) -> None:
        self._inbox.append(message)
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        chunks = TopicReader(self._ctx.kafka, self._ctx.topic(topics.CHUNKS))
        self._sending.open()
        while not stop.is_set():
            for record in chunks.read(0):
                self._start(Chunk.decode(record.value or b""))
            self._wake.wait(0.01)
            self._wake.clear()
            while self._inbox:
                self._take(self._inbox.popleft())
            self._producer.poll(0)
        self._sending.close()
        chunks.close()

    def _start(self, chunk: Chunk) -> None:
        permitted = self._runs[len(self._runs) + 1] = Permitted(chunk)
        self._sending.start(len(self._runs), chunk, permitted.grant(prefetch_limit(chunk.connections, chunk.rate)))

    def _take(self, message: Message | Readable) -> None:
        if isinstance(message, Want):
            self._sending.grant(message.run, self._runs[message.run].grant(message.n))
        elif isinstance(message, Came):
            permitted = self._runs[message.run]
            chunk, key = permitted.chunk, batch_id(*message.batch).encode()
            assert all(ended.kind == "accepted" for ended in message.outcomes), message.outcomes
            permitted.accepted += len(message.outcomes)
            values = event_values(
                [Fact("accepted", ended, 0, 1) for ended in message.outcomes], chunk.campaign_id, chunk.batch_number,
                relay=chunk.relay, sending_domain=chunk.sending_domain, tags={},
            )  # fmt: skip
            headers: list[tuple[str, str | bytes | None]] = list(HEADERS)
            for value in values:
                self._producer.produce(self._events, value, key, headers=headers)
        elif isinstance(message, Drained):
            self._answer(self._runs[message.run])

    def _answer(self, permitted: Permitted) -> None:
        chunk = permitted.chunk
        result = ChunkResult(
            relay=chunk.relay, campaign_id=chunk.campaign_id, batch_number=chunk.batch_number,
            permit_id=chunk.permit_id, round=chunk.round, version=1, final=True, begun=permitted.accepted, sent_on={},
            accepted=permitted.accepted, suppressed=0, at=datetime.now(UTC),
        )  # fmt: skip
        self._producer.flush(30)  # its events are there before it
        self._producer.produce(self._ctx.topic(topics.GATE_INPUTS), result.encode(), chunk.relay.encode())
        self._producer.flush(30)


def run_without(ctx: Context, stop: threading.Event) -> None:
    """Until `stop`."""
    sys.setswitchinterval(SWITCH)
    gc.set_threshold(*COLLECT)
    campaigns = GlobalTable(ctx.kafka, ctx.topic(topics.CAMPAIGNS), Campaign.decode).start()
    suppressions = GlobalTable(ctx.kafka, ctx.topic(topics.SUPPRESSIONS), lambda _: True).start()
    with campaigns, suppressions:
        assert campaigns.ready()
        assert suppressions.ready()
        Unjournaled(ctx, campaigns, suppressions).run(stop)


def main() -> None:
    bootstrap, prefix, port, directory, way, connections = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    relay = {"connections": int(connections), "messages_per_connection": 10_000_000}
    ctx = context(Kafka(bootstrap), settings(int(port), prefix, **relay), way, Path(directory))
    (run_with if way == "with" else run_without)(ctx, stop)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
