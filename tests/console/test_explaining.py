"""Sentences for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from console.explain import explain, length, sentence
from console.submitting import not_yet, pointless, warning
from console.views import bar, conservation, status_panel
from schemas.batch import HoldReason
from schemas.command import CampaignCommand
from schemas.progress import CampaignProgress, Problem

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
ORDERS: list[tuple[Any, Any]] = [("resolve", "resend"), ("retry", None)]


def progress(**more: object) -> CampaignProgress:
    return CampaignProgress.model_validate(
        {"campaign_id": "c", "state": "running", "recipients": 10, "waiting": 10, "updated_at": NOW, **more}
    )


def test_a_hold_says_why_with_figures_and_when() -> None:
    hold = HoldReason(
        reason="daily_limit", detail="Today's limit of bore.example is used up", figures={"used": 50, "limit": 50},
        until=NOW + timedelta(hours=14),
    )  # fmt: skip
    said = sentence(hold, NOW)
    assert said.startswith("Today's limit of bore.example is used up (used 50, limit 50).")
    assert "in 14 h 00 min, at 2026-03-05 00:00:00 UTC" in said


@pytest.mark.parametrize(
    ("span", "said"), [(40, "40 s"), (300, "5 min"), (3 * 3600 + 120, "3 h 02 min"), (183600, "2 d 3 h"), (-5, "0 s")]
)
def test_lengths_of_time_are_for_people(span: int, said: str) -> None:
    assert length(timedelta(seconds=span)) == said


def test_a_rejected_campaign_lists_its_problems() -> None:
    rejected = progress(state="rejected", problems=[Problem(field="relay", problem="unknown")])
    assert explain(rejected, NOW)[1:] == ["relay: unknown"]


def test_those_in_doubt_are_always_mentioned() -> None:
    (said,) = (line for line in explain(progress(in_doubt=2, waiting=8), NOW) if "in doubt" in line)
    assert said.startswith("2 recipients are in doubt")
    assert "after their messages were begun" in said
    assert "They are not mailed again" in said
    (alone,) = (line for line in explain(progress(in_doubt=1, waiting=9), NOW) if "in doubt" in line)
    assert alone.startswith("1 recipient is in doubt")
    assert "after the message was begun" in alone
    assert "The recipient is not mailed again" in alone
    assert "They" not in alone


@pytest.mark.parametrize(
    ("state", "options"),
    [("running", {"--accepted", "--drop", "--resend"}), ("cancelled", {"--accepted", "--drop"})],
)
def test_the_hint_to_resolve_names_the_options_that_the_campaign_takes(state: str, options: set[str]) -> None:
    (said,) = (line for line in explain(progress(state=state, in_doubt=2, waiting=8), NOW) if "in doubt" in line)
    assert "`rampa campaign resolve c --accepted`" in said
    assert set(re.findall(r"--(?!state)\w+", said)) == options


def test_who_is_in_doubt_though_he_was_sent_to_again_is_explained_so() -> None:
    (said,) = (line for line in explain(progress(in_doubt=2, waiting=8, resends=True), NOW) if "in doubt" in line)
    assert said.startswith("2 recipients are in doubt: each was sent to twice")
    assert "They are not mailed again until that is known. `rampa campaign recipients c" in said


def test_people_are_warned_of_orders_while_the_record_of_a_sender_that_hangs_is_awaited() -> None:
    """In what explains, and in what shows the campaign."""
    stands = progress(in_doubt=5, awaited=3, waiting=5)
    told = explain(stands, NOW)[-1]
    assert told.startswith("For 3 of those in doubt the record of the sender that began them cannot be read yet")
    assert "`--resend` before that may mail people twice" in told
    shown = StringIO()
    Console(width=400, file=shown).print(status_panel(stands))
    assert told in shown.getvalue()
    resend, retry = (CampaignCommand(campaign_id="c", action=a, resolution=r) for a, r in ORDERS)
    assert warning(resend, stands) == told
    assert warning(resend, progress(in_doubt=5, waiting=5)) is None
    assert warning(retry, stands) is None
    assert not any("record" in line for line in explain(progress(in_doubt=5, waiting=5), NOW))


def test_nobody_is_told_twice_who_is_in_doubt() -> None:
    hold = HoldReason(reason="in_doubt", detail="of 2 recipients it is not known", figures={"recipients": 2})
    assert len([line for line in explain(progress(in_doubt=2, waiting=8, holds=[hold]), NOW) if "known" in line]) == 1


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_nobody_is_told_to_retry_what_is_not_tried_again(state: str) -> None:
    lines = explain(progress(state=state, failed=3, waiting=7), NOW)
    assert "3 recipients failed." in lines
    assert not any("retry" in line for line in lines)


def test_a_pause_is_explained_once_and_with_the_command_that_ends_it() -> None:
    why = HoldReason(
        reason="paused", detail="the campaign is paused: wrong amounts.", figures={"why": "wrong amounts."}
    )
    assert explain(progress(state="paused", holds=[why]), NOW) == [
        "the campaign is paused: wrong amounts. `rampa campaign resume c` lets it go on."
    ]
    domain = HoldReason(reason="domain_paused", detail="b.example is paused", figures={"domain": "b.example"})
    assert explain(progress(sending_domain="b.example", holds=[domain]), NOW) == [
        "b.example is paused. `rampa domain resume b.example` lets it go on."
    ]


def refused(seconds: float = 900.0) -> HoldReason:
    return HoldReason(
        reason="relay_down", detail=f"relay main cannot be used: auth: 535 no; the next try is in {seconds:.0f} s",
        figures={"relay": "main", "error": "auth: 535 no", "next_try_seconds": seconds}, until=NOW,
    )  # fmt: skip


def test_a_relay_that_is_down_is_explained_with_the_command_that_tries_it_now() -> None:
    (said,) = explain(progress(sending_domain="b.example", holds=[refused()]), NOW)
    assert said.endswith(" `rampa domain resume b.example` tries it now.")
    (said,) = explain(progress(sending_domain="b.example", holds=[refused(0.0)]), NOW)
    assert "tries it now" not in said


def test_a_relay_that_is_down_can_be_tried_by_retry_though_nobody_has_failed() -> None:
    for order in (CampaignCommand(campaign_id="c", action="retry"), CampaignCommand(campaign_id="c", action="resume")):
        assert pointless(order, progress(holds=[refused()])) is None


def missed(messages: int) -> HoldReason:
    return HoldReason(
        reason="no_sender", figures={"permits": 1, "messages": messages, "seconds": 75},
        detail=f"1 permit for {messages} messages has had no answer for 75 s; is a sender running?",
    )  # fmt: skip


def test_what_no_sender_answers_for_is_not_said_to_be_going_out() -> None:
    assert explain(progress(waiting=0, in_flight=10, holds=[missed(10)]), NOW) == [
        "1 permit for 10 messages has had no answer for 75 s; is a sender running?"
    ]
    assert explain(progress(waiting=0, in_flight=10, holds=[missed(7)]), NOW)[0] == (
        "It is going out: 3 messages are permitted or on the wire right now."
    )


def test_a_cancelled_campaign_says_why() -> None:
    stands = progress(state="cancelled", waiting=0, cancelled=10, cancel_reason="wrong list\x1b[2J")
    assert explain(stands, NOW) == ["It was cancelled, nothing more will be sent: wrong list [2J"]
    shown = StringIO()
    Console(width=200, file=shown).print(status_panel(stands))
    assert "cancelled: wrong list [2J" in shown.getvalue()


def test_a_cancelled_campaign_says_who_is_still_on_the_way() -> None:
    assert explain(progress(state="cancelled", waiting=0, in_flight=7, cancelled=3, holds=[missed(7)]), NOW) == [
        "It was cancelled: nothing more will be sent.",
        "7 messages are still permitted or on the wire: they wait for a sender to say what became of them.",
        "1 permit for 7 messages has had no answer for 75 s; is a sender running?",
    ]
    alone = explain(progress(state="cancelled", waiting=0, in_flight=1, cancelled=9), NOW)
    assert "1 message is still permitted or on the wire: it waits for a sender to say what became of it." in alone


def test_figures_that_the_sentence_says_are_not_repeated_and_others_are_kept() -> None:
    used = HoldReason(
        reason="daily_quota", detail="relay main has used 50 of its 500 messages, 1.5 of 15",
        figures={"relay": "main", "used": 50, "limit": 500.0, "reserved": 50, "left": 5, "day": "2026-03-04", "of": 1},
    )  # fmt: skip
    assert sentence(used, NOW).endswith("1.5 of 15 (reserved 50, left 5, day 2026-03-04, of 1).")
    down = HoldReason(
        reason="relay_down", detail="relay main cannot be used: 450 busy; the next try is in 5 s", until=NOW,
        figures={"relay": "main", "error": "450 busy", "attempts": 5, "next_try_seconds": 4.9, "since": "x\x1b"},
    )  # fmt: skip
    assert "450 busy (attempts 5, since x )." in sentence(down, NOW)


@pytest.mark.parametrize("words", ["it is tried again by itself", "the next try is in 64 s"])
def test_a_wait_is_reckoned_when_it_is_asked_for_and_said_once(words: str) -> None:
    down = HoldReason(
        reason="relay_down", detail=f"relay main cannot be used: 450 busy; {words}",
        until=NOW + timedelta(seconds=64), figures={"relay": "main", "error": "450 busy", "next_try_seconds": 64.0},
    )  # fmt: skip
    said = sentence(down, NOW + timedelta(seconds=60))
    assert "64" not in said
    assert said.endswith("The next try is in 4 s, at 2026-03-04 10:01:04 UTC.")
    assert said.count("next try") == 1


def test_what_is_being_tried_now_has_no_other_time() -> None:
    down = HoldReason(
        reason="relay_down", detail="relay main cannot be used: 450 busy; it is being tried now", until=NOW,
        figures={"relay": "main", "error": "450 busy", "attempts": 2, "next_try_seconds": 0.0},
    )  # fmt: skip
    said = sentence(down, NOW + timedelta(seconds=3))
    assert "tried now" in said
    assert "at 2026" not in said


def test_nobody_is_told_to_settle_the_recipients_of_an_archived_campaign() -> None:
    lines = explain(progress(state="completed", in_doubt=2, waiting=8, archived_at=NOW), NOW)
    assert not any("resolve" in line for line in lines)


def test_failures_of_an_ended_campaign_are_shown_with_their_reason() -> None:
    error = {"email": "a@b.example", "error": "550 no such user\x1b[31m", "attempts": 1, "at": NOW}
    lines = explain(progress(state="completed", waiting=0, failed=10, last_errors=[error]), NOW)
    assert any("10 recipients failed" in line and "rampa campaign retry c" in line for line in lines)
    assert "a@b.example: 550 no such user [31m (1 try)" in lines


LIKELY = " Who was refused for good (5xx), or whose row is wrong, will most likely be refused again."


@pytest.mark.parametrize(
    ("failed", "given_up", "said"),
    [
        (2, 2, "2 recipients failed, all of them given up by `resolve --drop` when in doubt."),
        (3, 2, f"given up by `resolve --drop` when in doubt; `rampa campaign retry c` tries the other again.{LIKELY}"),
        (1, 0, f"1 recipient failed; `rampa campaign retry c` tries the recipient again.{LIKELY}"),
    ],
)
def test_whom_an_order_has_given_up_is_not_said_to_be_tried_again(failed: int, given_up: int, said: str) -> None:
    lines = explain(progress(state="completed", waiting=10 - failed, failed=failed, given_up=given_up), NOW)
    assert any(line.endswith(said) for line in lines)


@pytest.mark.parametrize(
    ("action", "state", "more", "said"),
    [
        ("retry", "completed", {}, "nobody has failed"),
        ("retry", "completed", {"failed": 2, "given_up": 2}, "they may have their mail"),
        ("retry", "cancelled", {"failed": 1}, "nobody of it is tried again"),
        ("pause", "completed", {}, "nothing left to pause"),
        ("resume", "cancelled", {}, "nothing left to resume"),
        ("cancel", "completed", {}, "nothing left to cancel"),
        ("pause", "rejected", {}, "nothing of it is sent"),
    ],
)
def test_an_order_that_can_do_nothing_is_refused_at_once(
    action: str, state: str, more: dict[str, object], said: str
) -> None:
    order = CampaignCommand.model_validate({"campaign_id": "c", "action": action})
    assert said in (pointless(order, progress(state=state, **more)) or "")


@pytest.mark.parametrize(("action", "state"), [("pause", "running"), ("cancel", "paused"), ("resume", "paused")])
def test_an_order_that_can_do_something_is_not(action: str, state: str) -> None:
    order = CampaignCommand.model_validate({"campaign_id": "c", "action": action})
    assert pointless(order, progress(state=state)) is None


def test_who_waits_for_another_try_can_be_tried_now() -> None:
    order = CampaignCommand(campaign_id="c", action="retry")
    assert pointless(order, progress(state="running", waiting=10, deferred=4)) is None


def test_nobody_of_a_cancelled_campaign_is_mailed_again() -> None:
    stands = progress(state="cancelled", in_doubt=1, waiting=9)
    resend, drop = (CampaignCommand(campaign_id="c", action="resolve", resolution=r) for r in ("resend", "drop"))
    assert "--accepted or --drop" in (pointless(resend, stands) or "")
    assert pointless(drop, stands) is None


def test_an_order_that_is_not_done_yet_says_whom_it_waits_for() -> None:
    drop = CampaignCommand(campaign_id="c", action="resolve", resolution="drop")
    assert "waits for a sender that owns the batch; is one running? See `rampa campaign status c`" in not_yet(drop)
    assert "A second order waits behind this one" in not_yet(drop)
    assert "waits for the gate" in not_yet(drop.model_copy(update={"resolution": "resend"}))
    pause = CampaignCommand(campaign_id="c", action="pause")
    assert not_yet(pause) == "pause is kept, but not done yet; see: rampa campaign status c"


def test_something_is_said_in_every_state() -> None:
    for state in ("planning", "scheduled", "running", "paused", "completed", "cancelled", "rejected", "failed"):
        assert explain(progress(state=state), NOW)


def test_a_sum_that_does_not_hold_is_shown_as_such() -> None:
    assert conservation(progress()).startswith("10 = 0 invalid")
    assert conservation(progress(waiting=9)).startswith("10 ≠")


@pytest.mark.parametrize("percent", [-1, 0, 33.3, 100, 101])
def test_a_bar_keeps_its_width(percent: float) -> None:
    assert len(bar(percent)) == 24
