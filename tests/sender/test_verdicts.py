"""What an answer makes of a recipient: nobody is failed because the relay refuses us."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import chunk

from sender.smtp.outcomes import Outcome, outcome_of
from sender.smtp.refusals import Judgement, Refusals
from sender.verdicts import ended, judged, met_again

NOW = datetime(2026, 2, 2, tzinfo=UTC)
BLOCKED = outcome_of("rcpt", 554, "5.7.1 Client host blocked using zen.spamhaus.org")
USED_UP = outcome_of("message", 550, "5.4.5 Daily user sending quota exceeded")


@dataclass(frozen=True)
class Message:
    rcpt_to: str = "a@b.example"
    message_id: str = "<1@bore.example>"


@given(st.sampled_from([BLOCKED, USED_UP]), st.booleans(), st.integers(0, 5))
def test_nobody_is_failed_by_a_relay_that_refuses_us_also_at_his_last_try(
    outcome: Outcome, defer: bool, deferrals: int
) -> None:
    permit = chunk(defer=defer, deferrals=deferrals)
    assert ended(0, Message(), outcome, 1, NOW, permit, "down").kind == "deferred"


@pytest.mark.parametrize(
    ("defer", "deferrals", "judgement", "end"),
    [
        (True, 0, "later", ("deferred", "blocked")),
        (True, 1, "failed", ("failed", "blocked")),
        (False, 1, "later", ("failed", "expired")),
        (False, 0, "down", ("deferred", "blocked")),
        (False, 1, "down", ("deferred", "blocked")),
    ],
)
def test_a_refusal_ends_as_it_was_judged(
    defer: bool, deferrals: int, judgement: Judgement, end: tuple[str, str]
) -> None:
    found = ended(0, Message(), BLOCKED, 1, NOW, chunk(defer=defer, deferrals=deferrals), judgement)
    assert (found.kind, found.reason) == end


def test_the_only_one_permitted_is_put_off_when_the_relay_refuses_us_and_of_many_nobody() -> None:
    assert met_again(USED_UP, chunk(1, ((7, 8),)))
    assert not met_again(USED_UP, chunk(1, ((7, 9),)))
    assert not met_again(outcome_of("mail", 530, "5.7.0 Authentication required"), chunk(1, ((7, 8),)))
    assert not met_again(Outcome("relay_down", text="SES: no route", stage="message"), chunk(1, ((7, 8),)))
    assert not met_again(BLOCKED, chunk(1, ((7, 8),)))  # that is judged by what else is refused
    assert judged(Refusals(), USED_UP, "a@b.example", chunk(1, ((7, 8),))) == "down"
