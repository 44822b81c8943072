"""The gate as a role: by plain values, then under fenced processing on real brokers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from gate_world import MONDAY, batch_strategy, gate_campaign, plan, planned, settings

from schemas import calendar, topics
from schemas.base import Model
from schemas.batch import Batch, PlanFailed
from schemas.chunk import Chunk, ChunkResult
from schemas.command import GateCommand
from schemas.gate_state import GateRow
from schemas.progress import CampaignProgress
from schemas.topics import Topic, named
from sender.gate.core import GateCore
from sender.gate.decision import Decision
from sender.gate.shell import GateRole, Unreadable, decode
from streams.admin import create_topics
from streams.clients import Kafka, Record, produce_all
from streams.clock import ManualClock, ScaledClock
from streams.fenced import Effects, FencedProcessor, FencedSettings, Input, TransactionFailed
from streams.table import read_topic


def record(value: bytes | Model | None, offset: int, partition: int = 0) -> Input:
    """A record on `gate.inputs`."""
    return Input(
        "gate.inputs", partition, offset, b"main", value.encode() if isinstance(value, Model) else value, (), 0
    )


def role(clock: ManualClock | None = None) -> GateRole:
    made = GateRole(settings(warm=True), clock or ManualClock(MONDAY), lambda t: t.name)
    made.assigned(0, {})
    return made


def values(effects: Effects | None, topic: Topic) -> list[dict[str, Any]]:
    """The values of the records for a topic."""
    assert effects is not None
    return [orjson.loads(o.value or b"") for _, o in effects.outputs if o.topic == topic.name]


def a_plan(size: int = 20, batches: Sequence[int] = (10, 10)) -> list[Any]:
    return plan(gate_campaign(size=size, strategy=batch_strategy(size)), list(batches))


def answer(chunk: Chunk, version: int = 1) -> ChunkResult:
    n = chunk.permitted()
    return ChunkResult(
        relay=chunk.relay, campaign_id=chunk.campaign_id, batch_number=chunk.batch_number, permit_id=chunk.permit_id,
        round=chunk.round, version=version, final=True, begun=n, accepted=n, stopped="done", at=chunk.issued_at,
    )  # fmt: skip


def test_a_plan_becomes_chunks_under_the_batch_rows_and_progress() -> None:
    effects = role().step([record(i, n) for n, i in enumerate(a_plan())], 1000.0)
    assert effects is not None
    assert effects.consumed is None
    chunks = [(o.key, Chunk.decode(o.value or b"")) for _, o in effects.outputs if o.topic == "chunks"]
    assert [(key, c.permitted(), c.connections) for key, c in chunks] == [(b"c/1", 10, 5), (b"c/2", 10, 5)]
    assert {key for _, key, _ in effects.state} == {
        b"relay:main", b"domain:bore.example", b"campaign:c", b"batch:c/1", b"batch:c/2",
    }  # fmt: skip
    for _, key, value in effects.state:
        row = GateRow.decode(value or b"")
        assert key == f"{row.table}:{row.name}".encode()
    for topic, model in ((topics.CHUNKS, Chunk), (topics.BATCHES, Batch), (topics.CAMPAIGN_PROGRESS, CampaignProgress)):
        found = [o for _, o in effects.outputs if o.topic == topic.name]
        assert found
        for output in found:
            assert output.headers == model.headers()
            assert model.decode(output.value or b"").encode() == output.value


def test_a_new_owner_keeps_open_permits_reserved_and_asks_for_them_again() -> None:
    first = role()
    effects = first.step([record(i, n) for n, i in enumerate(a_plan())], 1000.0)
    assert effects is not None
    second = GateRole(settings(warm=True), ManualClock(MONDAY), lambda t: t.name)
    second.assigned(0, {key: value for _, key, value in effects.state if value is not None})
    quiet = second.step([], 1001.0)
    assert quiet is None or not values(quiet, topics.CHUNKS)
    again = second.step([], 1011.0)
    assert values(again, topics.CHUNKS) == values(effects, topics.CHUNKS)


def test_nothing_due_commits_nothing() -> None:
    made = role()
    made.step([], 1000.0)
    assert made.step([], 1000.1) is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, "not a JSON object"),
        (b"", "not a JSON object"),
        (b"\xff\x00", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"kind": "letter"}', "kind 'letter' is not one of batch_planned"),
        (b'{"kind": ["batch_planned"]}', "kind ['batch_planned'] is not one of"),
        (b'{"kind": "chunk_result", "version": "many"}', "version: Input should be a valid integer"),
    ],
)
def test_poison_is_a_dead_letter_with_its_place_and_the_partition_goes_on(value: bytes | None, error: str) -> None:
    effects = role().step([record(value, 7), *(record(i, 8 + n) for n, i in enumerate(a_plan()))], 1000.0)
    assert effects is not None
    dead = [o for _, o in effects.outputs if o.topic == "gate.inputs.dlq"]
    assert [o.value for o in dead] == [value]
    headers = dict(dead[0].headers)
    assert error in headers["error"].decode()
    assert (headers["partition"], headers["offset"], headers["attempts"]) == (b"0", b"7", b"1")
    assert len(values(effects, topics.CHUNKS)) == 2
    with pytest.raises(Unreadable):
        decode(value)


def test_an_input_on_which_the_core_fails_is_tried_three_times_and_harms_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []
    sound = GateCore.apply

    def apply(core: GateCore, given: Any, now: Any, real: float) -> Decision:
        decision = sound(core, given, now, real)
        if getattr(given, "batch_number", None) == 2:
            tried.append(1)
            raise ZeroDivisionError("a defect")
        return decision

    monkeypatch.setattr(GateCore, "apply", apply)
    made = role()
    one, two, complete = a_plan()
    effects = made.step([record(one, 0), record(two, 1)], 1000.0)
    assert effects is not None
    dead = [o for _, o in effects.outputs if o.topic == "gate.inputs.dlq"]
    assert (len(tried), dict(dead[0].headers)["error"]) == (3, b"ZeroDivisionError: a defect")
    assert {key for _, key, _ in effects.state} == {b"campaign:c", b"batch:c/1"}
    monkeypatch.undo()
    effects = made.step([record(two, 2), record(complete, 3)], 1000.1)
    assert [c["batch_number"] for c in values(effects, topics.CHUNKS)] == [1, 2]


def test_a_chunk_that_failed_three_times_goes_to_the_dead_letters_of_its_topic() -> None:
    made = role()
    effects = made.step([record(i, n) for n, i in enumerate(a_plan(10, [10]))], 1000.0)
    now = 1000.0
    for version in (1, 2, 3):
        chunk = Chunk.model_validate(values(effects, topics.CHUNKS)[0])
        bad = answer(chunk, version).model_copy(
            update={"begun": 0, "accepted": 0, "unsent": chunk.ranges, "stopped": "error", "detail": "no recipients"}
        )
        effects = made.step([record(bad, 10 + version)], now)
        now += 5
        if version < 3:
            effects = made.step([], now)
    assert effects is not None
    dead = next(o for _, o in effects.outputs if o.topic == "chunks.dlq")
    assert (dead.key, dead.value) == (b"c/1", chunk.encode())
    headers = dict(dead.headers)
    assert b"no recipients" in headers["error"]
    assert (headers["schema"], headers["attempts"]) == (b"Chunk/1", b"3")
    assert [p["failed"] for p in values(effects, topics.CAMPAIGN_PROGRESS)] == [10]


def test_the_rows_of_a_plan_that_is_given_up_are_deleted() -> None:
    made = role()
    one, two, _ = a_plan()
    made.step([record(one, 0), record(two, 1)], 1000.0)
    failed = PlanFailed(relay="main", campaign_id="c", content_hash="hash", problems=("the file is gone",))
    effects = made.step([record(failed, 2)], 1000.1)
    assert effects is not None
    written = {key: value is not None for _, key, value in effects.state}
    assert written == {b"campaign:c": True, b"batch:c/1": False, b"batch:c/2": False}
    assert [b["state"] for b in values(effects, topics.BATCHES)] == ["cancelled", "cancelled"]


TOKYO = "Asia/Tokyo"


def poison(patch: pytest.MonkeyPatch) -> None:
    """From now on a campaign whose schedule is in Tokyo cannot be decided on."""

    def why_closed(schedule: Any, now: datetime) -> Any:
        if schedule.timezone == TOKYO:
            raise ZeroDivisionError("a defect")
        return calendar.why_closed(schedule, now)

    patch.setattr("sender.gate.offers.why_closed", why_closed)


def campaigns_at(start: datetime) -> list[Any]:
    """Of one relay, the older one is the one in Tokyo."""
    strategy = batch_strategy(10, interval=0)
    bad = gate_campaign("bad", size=10, strategy=strategy, start_at=start, timezone=TOKYO)
    good = gate_campaign("good", size=10, strategy=strategy, start_at=start)
    return [*plan(bad, [10]), *plan(good, [10])]


def shown(effects: Effects | None, campaign: str) -> dict[str, Any]:
    return [p for p in values(effects, topics.CAMPAIGN_PROGRESS) if p["campaign_id"] == campaign][-1]


def test_a_campaign_whose_timer_fails_is_put_aside_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(MONDAY)
    made = role(clock)
    made.step([record(i, n) for n, i in enumerate(campaigns_at(MONDAY + timedelta(minutes=1)))], 1000.0)
    with monkeypatch.context() as patch:
        poison(patch)
        clock.move(timedelta(minutes=2))
        effects = made.step([], 1120.0)
        assert [c["campaign_id"] for c in values(effects, topics.CHUNKS)] == ["good"]
        hold = shown(effects, "bad")["holds"][0]
        assert (hold["reason"], hold["figures"]["error"]) == ("error", "ZeroDivisionError: a defect")
        good = Chunk.model_validate(values(effects, topics.CHUNKS)[0])
        effects = made.step([record(answer(good), 8)], 1121.0)
        assert shown(effects, "good")["state"] == "completed"
        assert not [o for _, o in effects.outputs if o.topic.endswith(".dlq")]  # type: ignore[union-attr]
    command = {"relay": "main", "origin": {"topic": "campaign.commands", "partition": 0, "offset": 1}, "at": MONDAY}
    resume = GateCommand.model_validate({**command, "campaign_id": "bad", "action": "resume"})
    effects = made.step([record(resume, 9)], 1122.0)
    assert [c["campaign_id"] for c in values(effects, topics.CHUNKS)] == ["bad"]


def test_an_input_is_not_lost_because_a_campaign_cannot_be_decided_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = role()
    inputs = campaigns_at(MONDAY)
    with monkeypatch.context() as patch:
        poison(patch)
        effects = made.step([record(i, n) for n, i in enumerate(inputs)], 1000.0)
        assert [c["campaign_id"] for c in values(effects, topics.CHUNKS)] == ["good"]
        assert not [o for _, o in effects.outputs if o.topic.endswith(".dlq")]  # type: ignore[union-attr]
    assert effects is not None
    fresh = role()  # a new owner tries again by itself
    fresh.assigned(0, {key: value for _, key, value in effects.state if value is not None})
    good = Chunk.model_validate(values(effects, topics.CHUNKS)[0])
    assert [c["campaign_id"] for c in values(fresh.step([record(answer(good), 9)], 1001.0), topics.CHUNKS)] == ["bad"]


def test_a_campaign_that_is_put_aside_with_an_open_permit_asks_for_it_again_when_it_is_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = role()
    effects = made.step([record(i, n) for n, i in enumerate(a_plan())], 1000.0)
    first = values(effects, topics.CHUNKS)
    with monkeypatch.context() as patch:
        patch.setattr("sender.gate.permits.chunk_of", lambda *_: 1 / 0)
        effects = made.step([], 1011.0)
        assert "ZeroDivisionError" in shown(effects, "c")["holds"][0]["detail"]
        assert made.step([], 1040.0) is None or not values(effects, topics.CHUNKS)
    command = {"relay": "main", "origin": {"topic": "campaign.commands", "partition": 0, "offset": 1}, "at": MONDAY}
    resume = GateCommand.model_validate({**command, "campaign_id": "c", "action": "resume"})
    assert values(made.step([record(resume, 9)], 1041.0), topics.CHUNKS) == first


def test_a_timer_that_fails_for_nobody_in_particular_is_tried_again_later_and_inputs_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = role()
    one, two, complete = a_plan()
    made.step([record(one, 0), record(two, 1)], 1000.0)
    sound = GateCore.tick
    with monkeypatch.context() as patch:
        patch.setattr(GateCore, "tick", lambda *_: 1 / 0)
        made.lost(0)
        made.assigned(0, {})
        assert made.step([], 1001.0) is None
        assert made.step([record(one, 2), record(two, 3), record(complete, 4)], 1001.1) is not None
    assert GateCore.tick is sound
    assert made.step([], 1030.0) is not None


def test_two_partitions_are_two_gates() -> None:
    made = role()
    made.assigned(1, {})
    effects = made.step([record(i, n, partition=n % 2) for n, i in enumerate(a_plan())], 1000.0)
    assert effects is not None
    assert not values(effects, topics.CHUNKS)
    made.lost(1)
    assert made.step([record(a_plan()[1], 9, partition=1)], 1000.1) is not None


@contextmanager
def running(kafka: Kafka, prefix: str, slot: str) -> Iterator[None]:
    """A gate process, as a thread; started again, as a supervisor does, when a transaction did not come through."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        while not stop.is_set():
            processor = FencedProcessor(
                kafka,
                GateRole(settings(warm=True), ScaledClock(), lambda t: named(prefix, t)),
                group=f"{prefix}gate",
                input_topic=named(prefix, topics.GATE_INPUTS),
                state_topic=named(prefix, topics.GATE_STATE),
                transactional_id=f"{prefix}gate-{slot}",
                settings=FencedSettings(poll=0.02),
            )
            try:
                processor.run(stop.is_set)
            except TransactionFailed:
                continue
            except BaseException as e:  # noqa: BLE001 - shown by the test
                failures.append(e)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        if failures:
            raise failures[0]


def test_a_gate_that_is_restarted_goes_on_where_it_was(
    any_kafka: Kafka, prefix: str, wait_for: Callable[..., Any]
) -> None:
    create_topics(any_kafka, topics.all_topics(), 2, prefix)

    inputs, producer = named(prefix, topics.GATE_INPUTS), any_kafka.producer()

    def give(*given: Model | bytes) -> None:
        encoded = [i.encode() if isinstance(i, Model) else i for i in given]
        produce_all(producer, [Record(inputs, value, b"main") for value in encoded])

    def chunks() -> dict[str, Chunk]:
        read = [Chunk.decode(r.value or b"") for r in read_topic(any_kafka, named(prefix, topics.CHUNKS))]
        return {c.permit_id: c for c in read}

    def progress() -> CampaignProgress | None:
        records = read_topic(any_kafka, named(prefix, topics.CAMPAIGN_PROGRESS))
        read = [CampaignProgress.decode(r.value or b"") for r in records]
        return read[-1] if read else None

    start = ScaledClock().at(time.time())
    campaign = gate_campaign(size=20, strategy=batch_strategy(20), created_at=start)
    with running(any_kafka, prefix, "1"):
        give(planned(campaign, 1, 10), b"poison", *plan(campaign, [10, 10])[1:])
        wait_for(lambda: len(chunks()) == 2)
    first = chunks()
    with running(any_kafka, prefix, "1"):
        give(*map(answer, first.values()))
        wait_for(lambda: (p := progress()) is not None and p.state == "completed")
    found = progress()
    assert found is not None
    assert (found.accepted, found.conserved()) == (20, 20)
    assert chunks() == first
    dead = list(read_topic(any_kafka, f"{inputs}.dlq"))
    assert [r.value for r in dead] == [b"poison"]
