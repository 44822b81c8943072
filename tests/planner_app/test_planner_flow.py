"""From a request on a topic to batches on topics, on both brokers. One planner serves all; each test has its ids."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from planner_world import REQUEST, World
from waiting import eventually

from schemas.batch import BatchRecipients, part_checksum
from schemas.topics import (
    BATCH_RECIPIENTS,
    CAMPAIGN_COMMANDS,
    CAMPAIGN_PROGRESS,
    CAMPAIGN_REQUESTS,
    CAMPAIGNS,
    DOMAIN_COMMANDS,
    GATE_INPUTS,
    INVALID_ROWS,
    PLANNER_INPUTS,
)
from streams.fenced.model import Input


def people(n: int) -> list[dict[str, str]]:
    return [{"email": f"r{i}@example.com", "first_name": f"R{i}"} for i in range(n)]


def of(world: World, kind: str, campaign_id: str) -> list[dict[str, Any]]:
    """What the gate was told of a campaign."""
    if kind == "batch_planned":
        return [v for v in world.values(GATE_INPUTS) if v["kind"] == kind and v["campaign_id"] == campaign_id]
    return [v for v in world.values(GATE_INPUTS) if v["kind"] == kind and v["campaign"]["campaign_id"] == campaign_id]


def dead(world: World, topic: str, says: str, value: bytes | None = None, timeout: float = 30.0) -> Input:
    """The dead letter whose error says so, and whose value is `value`."""

    def look() -> Input | None:
        letters = world.read(f"{topic}.dlq")
        right = (r for r in letters if value is None or r.value == value)
        return next((r for r in right if says in dict(r.headers)["error"].decode()), None)

    found = eventually(
        look, timeout, lambda: f"{says!r} in {[dict(r.headers)['error'] for r in world.read(topic + '.dlq')]}"
    )
    assert found is not None
    return found


def rejected(world: World, campaign_id: str) -> dict[str, Any]:
    eventually(lambda: world.progress(campaign_id).get("state") == "rejected", 30, f"{campaign_id} is rejected")
    return world.progress(campaign_id)


def test_a_request_becomes_a_campaign_and_batches_that_can_be_read(world: World) -> None:
    rows = [*people(1200), {"email": "R1@EXAMPLE.com ".replace("R1", "r1"), "first_name": "again"}, {"email": "nobody"}]
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "flow", "recipients": {"inline": rows}}, key="anything")
    eventually(lambda: of(world, "plan_complete", "flow"), 40, "the plan is complete")
    told = [v for v in world.values(GATE_INPUTS) if v.get("campaign_id") == "flow" or "campaign" in v]
    batches = of(world, "batch_planned", "flow")
    complete = of(world, "plan_complete", "flow")[0]
    assert [b["batch_number"] for b in batches] == [1, 2, 3]
    assert [b["size"] for b in batches] == [500, 500, 200]
    assert told.index(complete) > told.index(batches[-1])
    figures = complete["campaign"]
    assert (complete["batches"], figures["recipients"], figures["invalid"], figures["duplicate"]) == (3, 1202, 1, 1)
    campaign = next(v for v in world.values(CAMPAIGNS) if v["campaign_id"] == "flow")
    assert (campaign["relay"], campaign["sending_domain"]) == ("main", "bore.example")
    assert campaign["content_hash"] == figures["content_hash"] == batches[0]["content_hash"]
    _recipients_are_where_the_gate_was_told(world, batches, [r["email"] for r in rows[:1200]])
    wrong = [v for v in world.values(INVALID_ROWS) if v["campaign_id"] == "flow"]
    assert [(v["row"], v["kind"]) for v in wrong] == [(1201, "duplicate"), (1202, "invalid")]
    planning = world.progress("flow")
    assert planning["state"] == "planning"
    assert planning["recipients"] == planning["invalid"] + planning["duplicate"] + planning["waiting"] == 1202


def _recipients_are_where_the_gate_was_told(world: World, batches: list[dict[str, Any]], emails: list[str]) -> None:
    records = {(r.partition, r.offset): r.value for r in world.read(BATCH_RECIPIENTS)}
    found: list[str] = []
    for batch in batches:
        digest = hashlib.sha256(orjson.dumps(["email", "first_name"]) + b"\n")
        index = 0
        for pointer in batch["pointers"]:
            part = BatchRecipients.decode(records[pointer["partition"], pointer["offset"]] or b"")
            assert (part.batch_number, part.start, len(part.rows)) == (batch["batch_number"], index, pointer["count"])
            assert pointer["checksum"] == part_checksum(records[pointer["partition"], pointer["offset"]] or b"")
            index += len(part.rows)
            for row in part.rows:
                digest.update(orjson.dumps(row) + b"\n")
                found.append(row[0])
        assert digest.hexdigest() == batch["checksum"]
        assert index == batch["size"]
    assert found == emails


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"hello", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[1]", "one JSON object is needed"),
        (b"", "empty"),
        (
            json.dumps({**REQUEST, "recipents": {}}).encode(),
            "recipents: there is no such field; did you mean `recipients`",
        ),
        (json.dumps({**REQUEST, "max_retries": "many"}).encode(), "max_retries"),
        (json.dumps({**REQUEST, "campaign_id": "no spaces please"}).encode(), "campaign_id"),
        (json.dumps({**REQUEST, "schedule": {"window": ["09:00", "09:00"]}}).encode(), "never opens"),
    ],
)
def test_what_is_not_a_request_is_a_dead_letter_as_it_was_written(world: World, value: bytes, says: str) -> None:
    world.put(CAMPAIGN_REQUESTS, value)
    letter = dead(world, CAMPAIGN_REQUESTS.name, says, value)
    assert {"error", "topic", "partition", "offset", "attempts"} <= dict(letter.headers).keys()


def test_an_invalid_request_with_an_id_is_rejected_with_all_its_problems(world: World) -> None:
    bad = {**REQUEST, "campaign_id": "bad-fields", "from": {"email": "x"}, "pace": {"rate": "fast", "speed": 1}}
    world.put(CAMPAIGN_REQUESTS, {**bad, "relay": "mian"})
    fields = [p["field"] for p in rejected(world, "bad-fields")["problems"]]
    assert fields == ["from.email", "pace.rate", "pace.speed", "relay"]


@pytest.mark.parametrize(
    ("name", "change", "field", "says"),
    [
        ("domain", {"from": {"email": "a@boree.example"}}, "from.email", "did you mean 'bore.example'"),
        ("relay", {"relay": "other"}, "relay", "is not the relay of bore.example"),
        ("no-relay", {"relay": "mian"}, "relay", "did you mean 'main'"),
        ("strategy", {"strategy": {"type": "rampup"}}, "strategy.type", "did you mean 'ramp_up'"),
        ("range", {"strategy": {"type": "batch", "batch_size": 5}}, "strategy.batch_size", "outside 100 to 1000"),
        ("syntax", {"template": {"subject": "x", "html": "{{ a "}}, "template.html", "line 1"),
        ("python", {"template": {"subject": "x", "text": "{{ ''.__class__ }}"}}, "template.text", "line 1"),
        ("stored", {"template": {"id": "nowhere"}}, "template.id", "no stored template 'nowhere'"),
        ("gone", {"recipients": {"uri": "file:///nowhere/x.csv"}}, "recipients.uri", "x.csv"),
        (
            "unless",
            {"recipients": {"inline": people(1), "unless_mailed_by": ["c"]}},
            "recipients.unless_mailed_by",
            "not",
        ),
        ("nobody", {"recipients": {"inline": []}}, "recipients.inline", "empty"),
    ],
)
def test_what_cannot_be_resolved_is_rejected(world: World, name: str, change: Any, field: str, says: str) -> None:
    campaign_id = f"unresolved-{name}"
    written = json.dumps({**REQUEST, **change, "campaign_id": campaign_id}, indent=3).encode()
    world.put(CAMPAIGN_REQUESTS, written)
    problems = {p["field"]: p["problem"] for p in rejected(world, campaign_id)["problems"]}
    assert says in problems[field]
    letters = eventually(
        lambda: [r for r in world.read("campaign.requests.dlq") if r.value == written], 15, "a dead letter as written"
    )
    assert letters[0].key is None
    assert field in dict(letters[0].headers)["error"].decode()
    assert not of(world, "batch_planned", campaign_id)


def test_a_source_that_cannot_be_planned_is_rejected_before_any_batch(world: World) -> None:
    path = world.data / "columns.csv"
    path.write_text("name,phone\nAna,1\n")
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "columns", "recipients": {"uri": path.as_uri()}})
    assert "no e-mail column" in rejected(world, "columns")["problems"][0]["problem"]
    letter = dead(world, "campaign.requests", "no e-mail column")
    assert json.loads(letter.value or b"")["template"] == REQUEST["template"]


def test_a_plan_for_nobody_says_so_in_the_progress_and_to_the_gate(world: World) -> None:
    recipients = {"inline": [*people(3), {"email": "x"}], "where": {"first_name": "Nadie"}}
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "nobody-matches", "recipients": recipients})
    eventually(lambda: of(world, "plan_complete", "nobody-matches"), 30, "the plan is complete")
    told = of(world, "plan_complete", "nobody-matches")[0]
    text = 'no row of 4 matches recipients.where {"first_name":["Nadie"]}: nobody is mailed'
    assert (told["batches"], told["campaign"]["warnings"]) == (0, [text])
    assert world.progress("nobody-matches")["warnings"] == [text]


def test_a_plan_that_fails_midway_is_taken_back(world: World) -> None:
    path = world.data / "cut-off.csv.gz"
    whole = gzip.compress(b"email,first_name\n" + b"".join(b"r%d@example.com,R\n" % i for i in range(50_000)))
    path.write_bytes(whole[: len(whole) * 3 // 4])
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "cut-off", "recipients": {"uri": path.as_uri()}})
    told = world.wait(GATE_INPUTS, lambda v: any(i["kind"] == "plan_failed" for i in v), 60)
    failed = next(i for i in told if i["kind"] == "plan_failed")
    batches = of(world, "batch_planned", "cut-off")
    assert {b["content_hash"] for b in batches} == {failed["content_hash"]}
    assert "damaged" in failed["problems"][0]
    assert world.progress("cut-off")["state"] == "failed"

    def parts() -> dict[bytes | None, bytes | None]:
        return {r.key: r.value for r in world.read(BATCH_RECIPIENTS) if (r.key or b"").startswith(b"cut-off/")}

    assert len(parts()) >= len(batches)
    eventually(lambda: not any(parts().values()), 30, "its recipients are taken off the topic", 0.2)


def test_a_rejected_id_may_be_used_for_the_corrected_request(world: World) -> None:
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "again", "relay": "other"})
    rejected(world, "again")
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "again"})
    eventually(lambda: of(world, "plan_complete", "again"), 30, "the corrected request is planned")


def test_a_request_without_an_id_sent_twice_is_one_campaign(world: World) -> None:
    request = {k: v for k, v in REQUEST.items() if k != "campaign_id"} | {"name": "no id"}
    for key in ("a", "b"):
        world.put(CAMPAIGN_REQUESTS, request, key=key)
    found = [i["campaign_id"] for i in world.wait(PLANNER_INPUTS, lambda v: _requests(v, "auto-") == 2)]
    campaign_id = next(i for i in found if i.startswith("auto-"))
    eventually(lambda: of(world, "plan_complete", campaign_id), 30, "it is planned")
    assert len(of(world, "batch_planned", campaign_id)) == 1


def _requests(inputs: list[dict[str, Any]], begin: str) -> int:
    return sum(1 for i in inputs if i["kind"] == "request" and i["campaign_id"].startswith(begin))


def test_one_id_with_many_contents_at_the_same_moment_is_one_campaign(world: World) -> None:
    for n in range(6):
        world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "race", "name": f"content {n % 3}"}, key=f"key {n}")
    eventually(lambda: of(world, "plan_complete", "race"), 30, "one of them is planned")
    world.wait(PLANNER_INPUTS, lambda v: _requests(v, "race") == 6)

    def refused() -> bool:
        return sum(1 for r in world.read("campaign.requests.dlq") if (r.key or b"").startswith(b"key ")) == 4

    eventually(refused, 30, "those with other content are dead letters, and only those")
    assert (
        "is taken by a campaign with other content"
        in dict(dead(world, "campaign.requests", "'race'").headers)["error"].decode()
    )
    assert len([c for c in world.values(CAMPAIGNS) if c["campaign_id"] == "race"]) == 1
    assert world.progress("race")["state"] == "planning"


def test_orders_reach_the_gate_under_the_relay(world: World) -> None:
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "ordered"})
    for action in ({"action": "pause", "reason": "wait"}, {"action": "strategy", "strategy": {"type": "ramp_up"}}):
        world.put(CAMPAIGN_COMMANDS, {"campaign_id": "ordered", **action}, key="ordered")
    wrong = b'{ "action": "strategy", "strategy": {"type": "up"}, "campaign_id": "ordered"}'
    world.put(CAMPAIGN_COMMANDS, wrong, "ordered")

    def orders() -> list[dict[str, Any]]:
        return [v for v in world.values(GATE_INPUTS) if v["kind"] == "command" and v["campaign_id"] == "ordered"]

    eventually(lambda: len(orders()) >= 2, 30, "both orders")
    assert [o["action"] for o in orders()] == ["pause", "strategy"]
    assert {r.key for r in world.read(GATE_INPUTS)} <= {b"main", b"other"}
    assert orders()[1]["strategy"]["steps"][0] == {"day": 1, "daily_limit": 50, "batch_size": 25}
    assert orders()[0]["origin"]["topic"].endswith("campaign.commands")
    letter = dead(world, "campaign.commands", "strategy.type", wrong)
    assert letter.key == b"ordered"
    place = {name: value.decode() for name, value in letter.headers}
    original = next(r for r in world.read(CAMPAIGN_COMMANDS) if r.value == wrong)
    assert (place["topic"], place["partition"], place["offset"]) == (
        original.topic, str(original.partition), str(original.offset),
    )  # fmt: skip


def test_an_order_for_a_campaign_that_never_comes_is_a_dead_letter_and_one_that_comes_late_gets_it(
    world: World,
) -> None:
    world.put(CAMPAIGN_COMMANDS, {"campaign_id": "late", "action": "cancel"}, key="late")
    world.wait(PLANNER_INPUTS, lambda v: any(i["campaign_id"] == "late" for i in v))
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "late"})
    world.wait(GATE_INPUTS, lambda v: any(i["kind"] == "command" and i["campaign_id"] == "late" for i in v))
    letter = dead(world, "campaign.commands", "there is no campaign 'never'")
    assert json.loads(letter.value or b"") == {"campaign_id": "never", "action": "cancel"}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ({"domain": "unknown.example", "action": "pause"}, "'unknown.example' is not a sending domain"),
        ({"domain": "bore.example", "action": "stop"}, "action"),
        ({"domain": "bore.example"}, "action"),
    ],
)
def test_a_wrong_order_to_a_domain_is_a_dead_letter(world: World, command: dict[str, str], says: str) -> None:
    world.put(DOMAIN_COMMANDS, command)
    dead(world, "domain.commands", says)


def test_an_order_to_a_domain_reaches_the_gate_under_its_relay(world: World) -> None:
    world.put(DOMAIN_COMMANDS, {"domain": "BORE.example", "action": "pause", "reason": "x"})
    told = world.wait(GATE_INPUTS, lambda v: any(i.get("domain") for i in v))
    order = next(i for i in told if i.get("domain"))
    assert (order["domain"], order["relay"], order["action"]) == ("bore.example", "main", "pause")


def test_a_plan_is_published_again_until_progress_shows_it(world: World) -> None:
    eventually(lambda: len(of(world, "plan_complete", "unseen")) >= 2, 40, "it is published again", 0.3)
    first, second = of(world, "plan_complete", "unseen")[:2]
    assert first == second
    shown = {**world.progress("unseen"), "state": "running"}
    world.put(CAMPAIGN_PROGRESS, shown, key="unseen")
    world.wait(PLANNER_INPUTS, lambda v: any(i["kind"] == "admitted" and i["campaign_id"] == "unseen" for i in v))


def test_the_planner_says_nothing_alarming_and_makes_no_topics_of_its_own(world: World) -> None:
    made = {t for t in world.kafka.admin().list_topics(timeout=10).topics if t.startswith(world.prefix)}
    ours = {f"{world.prefix}rampa-planner-campaigns-changelog"}
    from schemas.topics import all_topics

    assert made == {world.prefix + t.name for t in all_topics()} | ours
    assert "Traceback" not in world.log()


def test_large_inline_requests_are_told_to_use_a_file(world: World, tmp_path: Path) -> None:
    rows = [{"email": f"r{i}@example.com", "note": "x" * 400} for i in range(2200)]
    world.put(CAMPAIGN_REQUESTS, {**REQUEST, "campaign_id": "large", "recipients": {"inline": rows}})
    assert "put the recipients into a file" in rejected(world, "large")["problems"][0]["problem"]
