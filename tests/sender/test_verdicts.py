"""What an answer makes of a recipient: nobody is failed because the relay refuses us."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import chunk

from schemas.chunk import Chunk
from sender.journal.values import Ended
from sender.smtp.outcomes import Outcome, outcome_of
from sender.smtp.refusals import UNANSWERED, Judgement, Refusals
from sender.verdicts import ended, heard, judged, met_again, reread, unanswered

NOW = datetime(2026, 2, 2, tzinfo=UTC)
TAKEN = Outcome("accepted", 250)
BLOCKED = outcome_of("rcpt", 554, "5.7.1 Client host blocked using zen.spamhaus.org")
NOT_OWNED = outcome_of("rcpt", 553, "5.7.1 <x@y>: Sender address rejected: not owned by user z")
USED_UP = outcome_of("message", 550, "5.4.5 Daily user sending quota exceeded")


@dataclass(frozen=True)
class Message:
    rcpt_to: str = "a@b.example"
    message_id: str = "<1@bore.example>"


@given(st.sampled_from([BLOCKED, USED_UP, NOT_OWNED]), st.booleans(), st.integers(0, 5))
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
        (False, 0, "unsure", ("deferred", "blocked")),
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


def refused(refusals: Refusals, address: str, deferrals: int, *, defer: bool = False) -> Ended:
    """What becomes of one whom a relay that blocks us refuses."""
    permit = chunk(defer=defer, deferrals=deferrals)
    return ended(0, Message(address), BLOCKED, 1, NOW, permit, judged(refusals, BLOCKED, address, permit))


@pytest.mark.parametrize("before", [0, 3])
def test_nobody_is_failed_by_a_block_of_the_relay_also_where_nobody_is_to_be_deferred(before: int) -> None:
    """`give_up_after` is nothing. `before`: so many were accepted before the block."""
    for people in (["a@x"], ["a@x", "b@y"], [f"p{i}@d{i % 3}" for i in range(20)]):
        refusals, often = Refusals(), Counter[str]()
        for i in range(before):
            judged(refusals, TAKEN, f"f{i}@x", chunk())
        for _ in range(4):
            for address in people:
                assert refused(refusals, address, often[address]).kind == "deferred"
                often[address] += 1


def test_nobody_is_failed_by_a_block_when_another_process_has_his_batch_by_now() -> None:
    for address in ("a@x", "b@y", "c@x", "d@y", "e@x", "f@y"):
        refusals = Refusals()
        assert refused(refusals, address, 9).kind == "deferred"
    refusals = Refusals()
    assert {refused(refusals, f"p{i}@d{i % 2}", 9).kind for i in range(20)} == {"deferred"}


def test_who_is_refused_while_the_relay_takes_others_fails_though_nobody_is_to_be_deferred() -> None:
    """His domain may take mail, which is soon known; or is that of nobody else, which takes a few tries."""
    for other, tries in (("b@x", 2), ("b@y", 5)):
        refusals = Refusals()
        ends = []
        for deferrals in range(tries):
            judged(refusals, TAKEN, other, chunk())
            ends.append(refused(refusals, "a@x", deferrals).kind)
        assert ends == ["deferred"] * (tries - 1) + ["failed"]
    refusals = Refusals()  # nobody else is sent to, ever
    assert [refused(refusals, "a@x", n).kind for n in range(5)] == ["deferred"] * 4 + ["failed"]


def test_a_refusal_of_our_domain_counts_against_nobody_and_not_against_the_relay() -> None:
    refusals = Refusals()
    for i in range(50):
        assert settled(refusals, NOT_OWNED, chunk(i, ((0, 10),)), f"p{i}@d{i}") is None
    assert judged(refusals, BLOCKED, "a@x", chunk(99)) == "unsure"  # nothing of the kind came before


def tried(refusals: Refusals, address: str, permit: Chunk, outcome: Outcome = USED_UP) -> tuple[str, str]:
    """What becomes of one who is tried alone, and what the relay is taken for."""
    outcome = reread(refusals, outcome, address, permit)
    assert outcome.kind != "relay_down" or met_again(outcome, permit)
    judgement = judged(refusals, outcome, address, permit)
    return ended(0, Message(address), outcome, 1, NOW, permit, judgement).kind, judgement


def test_who_alone_is_always_refused_as_if_all_were_has_his_outcome() -> None:
    """The relay works in between, as the gate knows: its permits are no probes."""
    refusals, permits = Refusals(), iter(range(1, 99))

    def permit(deferrals: int, *, probe: bool = False, defer: bool = True) -> Chunk:
        return chunk(next(permits), ((7, 8),), deferrals=deferrals, defer=defer, probe=probe)

    judged(refusals, TAKEN, "b@x", permit(0))
    assert tried(refusals, "a@x", permit(0)) == ("deferred", "down")
    for n in range(1, 4):
        assert tried(refusals, "a@x", permit(n, probe=True)) == ("deferred", "down")  # nothing is known by that
    judged(refusals, TAKEN, "b@x", permit(0, probe=True))
    assert tried(refusals, "a@x", permit(4)) == ("deferred", "later")  # the relay goes on
    judged(refusals, TAKEN, "b@x", permit(0))
    assert tried(refusals, "a@x", permit(5)) == ("failed", "failed")  # his domain takes other mail
    refusals = Refusals()
    assert tried(refusals, "a@x", permit(0)) == ("deferred", "down")
    for n in range(1, 9):
        assert tried(refusals, "a@x", permit(n)) == ("deferred", "later")  # of his domain nothing is known
    assert tried(refusals, "a@x", permit(9, defer=False)) == ("failed", "later")


def test_a_relay_that_refuses_everything_again_and_again_is_not_taken_for_a_recipients_matter() -> None:
    """Whom it refused first is tried again when it is asked whether it works, and so are the others."""
    refusals, permits = Refusals(), iter(range(1, 999))
    people = [f"p{i}@d{i % 3}" for i in range(20)]
    for block, unlucky in enumerate([0, 0, 1, 2, 3]):  # two times the same one is met first
        for n, address in enumerate([people[unlucky], *people, *people]):
            permit = chunk(next(permits), ((7, 8),), defer=True, deferrals=block, probe=n > 0)
            expected = "later" if (block, n) == (1, 0) else "down"
            assert tried(refusals, address, permit) == ("deferred", expected)
        for address in people[1:]:
            judged(refusals, TAKEN, address, chunk(next(permits)))
    again = chunk(1, ((7, 8),))
    refusals = Refusals()
    for _ in range(9):  # one permit, whose connections meet him one after the other
        assert reread(refusals, USED_UP, "p1@x", again) is USED_UP


def test_a_temporary_refusal_of_him_alone_is_read_as_temporary_and_what_is_said_to_mail_as_of_us() -> None:
    refusals = Refusals()
    busy = outcome_of("message", 454, "4.7.0 Throttling failure: Daily message quota exceeded")
    mail = outcome_of("mail", 530, "5.7.0 Authentication required")
    kinds = [reread(refusals, busy, "a@x", chunk(n, defer=True)).kind for n in range(1, 5)]
    assert kinds == ["relay_down", "transient", "transient", "transient"]
    assert {reread(refusals, mail, "a@x", chunk(n)).kind for n in range(1, 9)} == {"relay_down"}
    assert {reread(refusals, Outcome("relay_down"), "a@x", chunk(n)).kind for n in range(1, 9)} == {"relay_down"}


def test_only_so_many_recipients_are_remembered_at_whom_everything_was_refused() -> None:
    refusals = Refusals()
    for i in range(10_500):
        refusals.of_him_alone(f"a@d{i}", "p", probe=False)
    assert len(refusals.downs) == 10_000


def settled(refusals: Refusals, outcome: Outcome, permit: Chunk, address: str = "a@x") -> Ended | None:
    """As a run does it; None: he was not begun."""
    read = reread(refusals, outcome, address, permit)
    if read.kind == "relay_down" and not met_again(read, permit):
        return None
    return ended(0, Message(address), read, 1, NOW, permit, judged(refusals, read, address, permit))


def test_a_relay_whose_quota_is_used_up_again_fails_nobody_at_his_last_try() -> None:
    refusals = Refusals()
    used_up = outcome_of("rcpt", 454, "4.7.0 Throttling failure: Daily message quota exceeded")
    assert settled(refusals, used_up, chunk(1, ((0, 10),), defer=False)) is None
    first = settled(refusals, used_up, chunk(2, ((0, 1),), defer=False, probe=True))
    assert first is not None
    assert first.kind == "deferred"
    refusals.accepted("b@y.example")  # the next day it works
    again = settled(refusals, used_up, chunk(3, ((0, 1),), defer=False, deferrals=1))
    assert again is not None
    assert again.kind == "deferred"


def test_whom_the_relay_has_accepted_since_is_not_taken_for_the_one_it_refuses() -> None:
    refusals = Refusals()
    for day in (1, 2, 3):
        settled(refusals, USED_UP, chunk(10 * day, ((0, 10),), defer=True))
        for address in ("a@x", "b@x.example"):
            refusals.accepted(address)
    end = settled(refusals, USED_UP, chunk(99, ((0, 1),), defer=True, deferrals=1))
    assert end is None or end.kind == "deferred"


@pytest.mark.parametrize(
    ("outcome", "replies"),
    [
        (outcome_of("message", 250, "2.0.0 Ok"), True),
        (outcome_of("message", 554, "5.7.1 Spam"), True),
        (outcome_of("message", 451, "4.3.0 Later"), True),
        (outcome_of("message", 421, "4.3.2 Shutting down"), True),
        (USED_UP, True),
        (outcome_of("rcpt", 550, "5.1.1 No such user"), False),
        (outcome_of("mail", 451, "4.3.0 Later"), False),
        (Outcome("lost_before", reason="network", stage="data"), False),
        (Outcome("lost_after", reason="network", stage="message"), False),
    ],
)
def test_only_a_reply_to_a_body_shows_that_the_relay_replies(outcome: Outcome, replies: bool) -> None:
    refusals = Refusals()
    for _ in range(UNANSWERED - 1):
        refusals.lost(probe=False)
    heard(refusals, outcome)
    assert refusals.lost(probe=False) is not replies


def test_a_relay_that_lets_no_message_come_to_its_reply_is_down_with_words_that_say_so() -> None:
    assert str(unanswered("closed", "reset")) == (
        "network: closes the connection after each message, before its reply (reset)"
    )
    assert str(unanswered("timeout", "no reply within 9 s")) == (
        "network: does not reply to any message (no reply within 9 s)"
    )
    assert str(unanswered("out_of_step", "?")) == "network: gives no reply to any message that can be read (?)"
