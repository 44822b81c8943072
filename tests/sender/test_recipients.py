"""Which parts of recipients stay in memory."""

from __future__ import annotations

import asyncio

import orjson
from journals import chunk

from schemas.batch import Pointer
from sender.recipients import Recipients
from streams.clients import Kafka


class Shelf(Recipients):
    """Fetches from nowhere and writes down what it fetched."""

    fetched: list[int]

    def _fetch(self, pointer: Pointer) -> bytes:
        self.fetched.append(pointer.offset)
        part = {
            "campaign_id": "c",
            "batch_number": 1,
            "start": pointer.start,
            "columns": ["email"],
            "rows": [["a@b.c"]],
        }
        return orjson.dumps(part)


def test_the_parts_that_were_used_last_are_kept() -> None:
    shelf = Shelf(Kafka("nowhere.invalid:9"), "batch.recipients", keep=2)
    shelf.fetched = []
    pointers = tuple(Pointer(partition=0, offset=i, start=i, count=1) for i in range(3))
    permit = chunk(ranges=((0, 3),), size=3, pointers=pointers)

    async def read() -> None:
        for index in (0, 1, 0, 2, 0):  # 1 is the one that has not been asked for the longest
            assert (await shelf.row(permit, index))["email"] == "a@b.c"

    asyncio.run(read())
    shelf.close()
    assert shelf.fetched == [0, 1, 2]
