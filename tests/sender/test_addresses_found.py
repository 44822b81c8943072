"""Addresses are waited for while the broker is slow, and given up when they are gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import Context
from datetime import date
from typing import Any, TypeVar, TypeVarTuple

import pytest
from confluent_kafka import KafkaException
from journals import chunk

from schemas.batch import Pointer
from schemas.campaign import Campaign
from schemas.chunk import Chunk
from schemas.message_name import MessageName, message_id
from sender import addresses
from sender.held import message_ids
from sender.recipients import RecipientsError, RecipientsLate
from sender.shell import Sending
from sender.traffic import Known, Message, Readable
from sender.worker import Compiled
from streams.clients import Kafka
from streams.clock import REAL
from streams.errors import BrokerUnavailable
from streams.fetch import Fetcher

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
NAMES_KEY = b"a key"
PARTS = (Pointer(partition=0, offset=0, start=0, count=5), Pointer(partition=0, offset=1, start=5, count=5))


class Hurried(asyncio.SelectorEventLoop):
    """An event loop in which no time passes; `slept` has the seconds that were to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.slept.append(delay)
        return super().call_later(0, callback, *args, context=context)


def at_once(wanted: Coroutine[Any, Any, T], loop: Hurried | None = None) -> T:
    loop = loop or Hurried()
    with contextlib.closing(loop):
        return loop.run_until_complete(wanted)


class Rows:
    """Gives addresses, after what was put in for an index."""

    def __init__(self, **troubles: list[Exception]) -> None:
        self._troubles = {int(name[1:]): list(errors) for name, errors in troubles.items()}
        self.asked: list[int] = []

    async def row(self, _: Chunk, index: int) -> Mapping[str, Any]:
        self.asked.append(index)
        if self._troubles.get(index):
            raise self._troubles[index].pop(0)
        return {"email": f"p{index}@x.example"}


def found(rows: Rows, *indices: int, loop: Hurried | None = None) -> dict[int, str]:
    return at_once(addresses.addresses(rows.row, chunk(pointers=PARTS), indices), loop)


def test_whoever_comes_late_is_waited_for() -> None:
    loop = Hurried()
    rows = Rows(i1=[RecipientsLate("slow")] * 20)
    assert found(rows, 1, 2, loop=loop) == {1: "p1@x.example", 2: "p2@x.example"}
    assert rows.asked == [1] * 21 + [2]
    assert loop.slept == [1.0, 2.0, 4.0, 8.0, 16.0] + [30.0] * 15


def test_nobody_is_asked_for_twice() -> None:
    rows = Rows()
    assert found(rows, 1, 1, 2) == {1: "p1@x.example", 2: "p2@x.example"}
    assert rows.asked == [1, 2]


def test_a_row_without_an_address_has_none() -> None:
    async def row(_: Chunk, __: int) -> Mapping[str, Any]:
        return {"name": "x"}

    assert at_once(addresses.addresses(row, chunk(pointers=PARTS), [1])) == {1: ""}


def test_what_was_found_before_a_record_was_gone_stays() -> None:
    rows = Rows(i2=[RecipientsError("deleted")])
    assert found(rows, 1, 2, 3, 7) == {1: "p1@x.example", 2: "", 3: "", 7: "p7@x.example"}


def test_a_record_that_is_gone_is_asked_for_once_and_the_others_are_still_read() -> None:
    rows = Rows(i1=[RecipientsError("deleted")])
    assert found(rows, 1, 2, 7) == {1: "", 2: "", 7: "p7@x.example"}
    assert rows.asked == [1, 7]


def test_a_failure_that_nobody_has_foreseen_is_tried_again_a_few_times() -> None:
    assert found(Rows(i1=[KeyError("x")] * 2), 1) == {1: "p1@x.example"}
    loop = Hurried()
    rows = Rows(i1=[KeyError("x")] * 9)
    assert found(rows, 1, 8, loop=loop) == {1: "", 8: "p8@x.example"}
    assert rows.asked == [1, 1, 1, 8]
    assert loop.slept == [1.0, 2.0, 4.0]
    late_between = [
        KeyError("x"),
        RecipientsLate("slow"),
        RecipientsLate("slow"),
        KeyError("x"),
        RecipientsLate("slow"),
    ]
    assert found(Rows(i1=late_between), 1) == {1: "p1@x.example"}


def _no_message(campaign: Campaign) -> Compiled:
    raise ValueError(campaign.campaign_id)


@pytest.fixture
def sending() -> Iterator[tuple[Sending, list[Message | Readable]]]:
    said: list[Message | Readable] = []
    one = Sending(
        Kafka("nowhere.invalid:9"), "batch.recipients", {}, REAL, campaign=lambda _: None,
        suppressed=lambda _: False, compile_campaign=_no_message, post=said.append, alive=lambda: True, key=NAMES_KEY,
    )  # fmt: skip
    yield one, said
    one._recipients.close()
    one._loop.close()


@pytest.mark.parametrize(
    ("trouble", "email"), [([RecipientsLate("slow")] * 3, "p1@x.example"), ([KafkaException("no consumer")] * 9, "")]
)
def test_a_look_up_always_has_an_answer(
    trouble: list[Exception], email: str, sending: tuple[Sending, list[Message | Readable]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one, said = sending
    monkeypatch.setattr(one._recipients, "row", Rows(i1=trouble).row)
    at_once(one._look_up(7, chunk(pointers=PARTS), [1], {}))
    known = message_id(MessageName("c", 1, 1), date(2026, 2, 2), "bore.example", NAMES_KEY)
    assert said == [Known(("c", 1), 7, {1: email}, {}, {1: known})]


def test_only_what_was_begun_under_the_permit_has_a_message_id_that_is_known() -> None:
    permit = chunk(ranges=((0, 3),), round=1)
    ids = message_ids(permit, [0, 1, 2, 3], {0: ("spool", 1), 1: ("spool", 0)}, NAMES_KEY)
    name = MessageName("c", 1, 0, 1)
    assert ids.keys() == {0, 2}
    assert ids[0] == message_id(name, permit.day(), "bore.example", NAMES_KEY)


def test_a_look_up_has_an_answer_also_when_the_day_cannot_be_told(
    sending: tuple[Sending, list[Message | Readable]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, said = sending
    monkeypatch.setattr(one._recipients, "row", Rows().row)
    at_once(one._look_up(7, chunk(pointers=PARTS, day_timezone="Nowhere/At_All"), [1], {}))
    assert said == [Known(("c", 1), 7, {1: "p1@x.example"})]


def test_a_consumer_that_cannot_be_made_is_a_broker_that_is_not_there() -> None:
    fetcher = Fetcher(Kafka("nowhere.invalid:9", {"no_such_setting": "x"}), "g", timeout=0.1)
    with pytest.raises(BrokerUnavailable, match=r"t\[0\]@0 cannot be read: .*no\.such\.setting"):
        fetcher.fetch("t", 0, 0)
