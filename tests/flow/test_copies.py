"""Who is in doubt and sent again gets a bounded number of copies, whatever the limits of each part are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline import Pipeline, request

from simulator.process import SimulatorProcess
from streams.clients import Kafka


def test_one_whose_reply_is_always_lost_gets_at_most_max_retries_and_one_copies(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    rows = [{"email": f"{word}@lost.example"} for word in ("drop+kept+1", "fine", "drop+kept+2")]
    template = {"subject": "Hola", "text": "Hola"}
    with SimulatorProcess(tmp_path / "provider") as provider, Pipeline(
        embedded_kafka, prefix, tmp_path, provider
    ) as p:  # fmt: skip
        p.start()
        p.submit(
            request("lost", template=template, recipients={"inline": rows}, in_doubt="resend", max_retries=3)
        )  # fmt: skip
        done = p.wait("lost", "completed")
        copies = Counter(r for m in p.mails() for r in m.recipients)
    assert (done.accepted, done.in_doubt) == (1, 2)
    assert copies == {"drop+kept+1@lost.example": 4, "fine@lost.example": 1, "drop+kept+2@lost.example": 4}
