"""Programs that are not ours: a console producer asks, and the mail goes out; bad input harms nobody."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pipeline import Pipeline, request
from waiting import eventually

from console import submitting
from schemas.request import CampaignRequest
from schemas.topics import CAMPAIGN_COMMANDS, CAMPAIGN_REQUESTS, DOMAIN_COMMANDS
from simulator.process import SimulatorProcess
from streams.clients import Kafka

BAD: dict[str, tuple[Any, str]] = {
    "not JSON": (b"{nope", "JSON"),
    "not an object": (b"[]", "object"),
    "not UTF-8": (b"\xff\xfe{}", ""),
    "unknown field": (request("x1", sender="me"), "sender"),
    "wrong type": (request("x2", max_retries="many"), "max_retries"),
    "unknown domain": ({**request("x3"), "from": {"email": "a@bore.exampel"}}, "bore.exampel"),
    "unknown relay": (request("x4", relay="mian"), "mian"),
    "unknown strategy": (request("x5", strategy={"type": "ramp_down"}), "ramp_down"),
    "template syntax": (request("x6", template={"subject": "Hi {{ name", "text": "t"}), "template.subject"),
    "window never opens": (request("x7", schedule={"window": ["09:00", "09:00"]}), "never opens"),
    "missing source": (request("x8", recipients={"uri": "file:///no/such/file.csv"}), "/no/such/file.csv"),
    "unless_mailed_by": (
        request("x9", recipients={"inline": [{"email": "a@b.example"}], "unless_mailed_by": ["y"]}), "unless_mailed_by",
    ),
}  # fmt: skip


def is_of(letter: str, value: Any) -> bool:
    """Whether a dead letter holds this request as it was written."""
    return letter == (value.decode("utf-8", "replace") if isinstance(value, bytes) else json.dumps(value))


@pytest.fixture
def pipeline(any_kafka: Kafka, prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    with SimulatorProcess(tmp_path / "provider") as provider, Pipeline(any_kafka, prefix, tmp_path, provider) as p:
        yield p.start()


def test_bad_requests_are_named_and_the_good_one_goes_out(pipeline: Pipeline) -> None:
    for value, _ in BAD.values():
        pipeline.put(CAMPAIGN_REQUESTS, "any", value)
    pipeline.put(CAMPAIGN_COMMANDS, "nobody", {"campaign_id": "nobody", "action": "pause"})
    pipeline.put(DOMAIN_COMMANDS, "nowhere.example", {"domain": "nowhere.example", "action": "pause"})
    pipeline.submit(request("buena"))
    assert pipeline.wait("buena", "completed").accepted == 3
    for campaign_id in (f"x{i}" for i in range(1, 10)):
        rejected = pipeline.wait(campaign_id, "rejected", "failed")
        assert rejected.problems, campaign_id
    letters = pipeline.dead_letters(CAMPAIGN_REQUESTS)
    for name, (value, word) in BAD.items():
        errors = [letter["error"] for letter in letters if is_of(letter["value"], value)]
        assert len(errors) == 1, name
        assert word in errors[0], (name, errors)
    unknown = eventually(lambda: pipeline.dead_letters(CAMPAIGN_COMMANDS), 40, every=0.5)
    assert "nobody" in unknown[0]["error"]
    assert "nowhere.example" in pipeline.dead_letters(DOMAIN_COMMANDS)[0]["error"]

    # Two people take the same id for different things at the same moment: one of them is told.
    both = [CampaignRequest.model_validate({**request("igual"), "name": name}) for name in ("uno", "dos")]
    with ThreadPoolExecutor() as people:
        told = list(people.map(lambda one: submitting.submit(pipeline.access, one, lambda _: None), both))
    assert sorted(answer.state == "refused" for answer in told) == [False, True]
    assert any("taken by a campaign with other content" in problem for answer in told for problem in answer.refused)


@pytest.mark.apache
def test_a_plain_console_producer_submits_and_the_mail_goes_out(
    apache_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    kcat = shutil.which("kcat")
    assert kcat is not None, "kcat is not installed; `make packages` installs it as root on Debian"
    with SimulatorProcess(tmp_path / "provider") as provider, Pipeline(apache_kafka, prefix, tmp_path, provider) as p:
        p.start()
        argv = [kcat, "-b", apache_kafka.bootstrap, "-P", "-t", p.access.name(CAMPAIGN_REQUESTS)]
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            line = json.dumps(request(f"kcat-{codec}", 5))
            subprocess.run([*argv, "-z", codec], input=line.encode(), check=True, timeout=30)
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            assert p.wait(f"kcat-{codec}", "completed").accepted == 5
        assert len(p.mails()) == 25
