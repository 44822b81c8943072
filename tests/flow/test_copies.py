"""Where those in doubt are sent to again, each gets one more message by itself, whatever was refused between."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline import Pipeline, request
from waiting import eventually

from console.explain import explain
from simulator.process import SimulatorProcess
from simulator.rules import Defer, Drop, Rule
from streams.clients import Kafka

LOST = [f"p{i}@lost.example" for i in range(3)]


def test_one_whose_reply_is_always_lost_gets_two_copies_and_one_more_for_each_order(
    embedded_kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    """He is refused for now before he is lost, which makes it no more."""
    rules: list[Rule] = [Defer(recipient="p1@lost.example"), Drop(at="message", recipient="*@lost.example", keep=True)]
    rows = [{"email": email} for email in (*LOST, "fine@x.example")]
    with SimulatorProcess(tmp_path / "provider", rules=rules) as provider, Pipeline(
        embedded_kafka, prefix, tmp_path, provider
    ) as p:  # fmt: skip
        p.start()
        p.submit(
            request(
                "lost", template={"subject": "Hola", "text": "Hola"}, recipients={"inline": rows}, in_doubt="resend",
                max_retries=3, strategy={"type": "ramp_up", "interval_minutes": 0},
            )
        )  # fmt: skip

        def copies() -> Counter[str]:
            return Counter(r for m in p.mails() for r in m.recipients)

        done = p.wait("lost", "completed")
        assert (done.accepted, done.in_doubt) == (1, 3)
        assert copies() == {"fine@x.example": 1} | dict.fromkeys(LOST, 2)
        (said,) = (line for line in explain(done, p.clock.now()) if "in doubt" in line)
        assert "sent to twice" in said
        p.command("lost", "resolve", resolution="resend")
        eventually(
            lambda: copies() == {"fine@x.example": 1} | dict.fromkeys(LOST, 3), 60, lambda: p.say("lost", {"3 copies"})
        )

        def held_again() -> bool:
            now = p.progress("lost")
            return now is not None and (now.state, now.in_doubt) == ("completed", 3)

        eventually(held_again, 60, lambda: str(p.progress("lost")))
    assert copies() == {"fine@x.example": 1} | dict.fromkeys(LOST, 3)
