"""The planner's decisions, by values: a row follows from the inputs in their order, however often they are read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import ProblemsFound
from planner.resolve import content_hash, resolve_campaign
from planner.state import MOVES, CampaignRow, DeadLetter, Decision, Publish, decide
from schemas.batch import GateCampaign, PlanComplete, PlanFailed
from schemas.campaign import Campaign, SourceFingerprint
from schemas.command import CampaignCommand, GateCommand, Origin, PlannerInput
from schemas.progress import Problem
from schemas.request import CampaignRequest
from schemas.strategy import Strategy, StrategySpec
from streams.settings import Settings

AT = datetime(2026, 2, 2, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate({"relays": {"main": {"host": "h"}}, "domains": {"bore.example": {"relay": "main"}}})


def strategy(spec: StrategySpec, domain: str) -> Strategy:
    from planner.resolve import resolve_strategy

    return resolve_strategy(spec, {}, warm=False)


def request_of(name: str) -> CampaignRequest:
    return CampaignRequest.model_validate({
        "campaign_id": "c", "name": name, "from": {"email": "a@bore.example"},
        "template": {"subject": "s", "text": "t"}, "recipients": {"inline": [{"email": "x@example.com"}]},
    })  # fmt: skip


def at(offset: int, topic: str = "campaign.requests") -> Origin:
    return Origin(topic=topic, partition=0, offset=offset)


def asks(name: str, offset: int) -> PlannerInput:
    request = request_of(name)
    return PlannerInput(
        campaign_id="c", kind="request", origin=at(offset), received_at=AT, request=request,
        content_hash=content_hash(request),
    )  # fmt: skip


def campaign_of(name: str) -> Campaign:
    request = request_of(name)
    return resolve_campaign(
        request, content_hash=content_hash(request), created_at=AT, settings=SETTINGS, templates=lambda _: None,
        fingerprint=SourceFingerprint(kind="inline", size=1, changed=""), now=AT,
    )  # fmt: skip


def complete_of(campaign: Campaign) -> PlanComplete:
    facts = {name: getattr(campaign, name) for name in GateCampaign.model_fields if hasattr(campaign, name)}
    return PlanComplete(relay="main", batches=1, campaign=GateCampaign(**facts, recipients=1, invalid=0, duplicate=0))


def word(kind: Any, offset: int, name: str = "one", **more: Any) -> PlannerInput:
    """What the planner itself says about the request that stands at `offset`."""
    if kind == "resolved":
        more = {"campaign": campaign_of(name)}
    if kind == "planned":
        more = {"complete": complete_of(campaign_of(name))}
    if kind == "refused":
        more = {"problems": (Problem(field="f", problem="p"),), "state": "rejected", **more}
    return PlannerInput(campaign_id="c", kind=kind, origin=at(offset), received_at=AT, **more)


def orders(action: str, offset: int, **more: Any) -> PlannerInput:
    command = CampaignCommand.model_validate({"campaign_id": "c", "action": action, **more})
    return PlannerInput(
        campaign_id="c", kind="command", origin=at(offset, "campaign.commands"), received_at=AT, command=command
    )


def run(inputs: list[PlannerInput], row: CampaignRow | None = None) -> tuple[CampaignRow | None, list[Decision]]:
    """The row after the inputs, through JSON as on the topics."""
    decisions = []
    for one in inputs:
        decision = decide(row, PlannerInput.decode(one.encode()), strategy)
        decisions.append(decision)
        if decision.row is not None:
            row = CampaignRow.decode(decision.row.encode())
    return row, decisions


def topics(decision: Decision) -> list[str]:
    return [f"{e.topic.name}.dlq" if isinstance(e, DeadLetter) else e.topic.name for e in decision.effects]


USUAL = [asks("one", 1), word("resolved", 1), word("planned", 1), word("admitted", 1)]


def test_a_request_is_resolved_planned_and_admitted() -> None:
    row, decisions = run(USUAL)
    assert [d.row.state for d in decisions if d.row] == ["planning", "planning", "published", "published"]
    assert [topics(d) for d in decisions] == [["campaign.progress"], ["campaigns"], [], []]
    assert row is not None
    assert (row.relay, row.domain, row.request, row.campaign, row.complete) == (
        "main",
        "bore.example",
        None,
        None,
        None,
    )
    assert not row.open


def test_the_same_again_changes_nothing_at_any_stage() -> None:
    for stage in range(1, 5):
        row, _ = run(USUAL[:stage])
        assert decide(row, asks("one", 9), strategy) == Decision()


def test_other_content_under_a_known_id_is_refused_and_the_campaign_is_not_touched() -> None:
    for stage in range(1, 5):
        row, _ = run(USUAL[:stage])
        decision = decide(row, asks("two", 9), strategy)
        assert decision.row is None
        assert topics(decision) == ["campaign.requests.dlq"]
        letter = decision.effects[0]
        assert isinstance(letter, DeadLetter)
        assert "is taken" in letter.error
        assert CampaignRequest.model_validate_json(letter.value) == request_of("two")


def test_a_rejected_request_frees_its_id_and_its_own_replay_does_not_use_it() -> None:
    row, decisions = run([asks("one", 1), word("refused", 1)])
    assert topics(decisions[1]) == ["campaign.progress", "campaign.requests.dlq"]
    assert decide(row, asks("one", 1), strategy) == Decision()
    after, _ = run([asks("two", 2)], row)
    assert after is not None
    assert (after.state, after.origin.offset) == ("planning", 2)


def test_a_rejection_after_resolving_gives_the_request_back_as_it_was_written() -> None:
    _, decisions = run([asks("one", 1), word("resolved", 1), word("refused", 1)])
    letter = decisions[-1].effects[1]
    assert isinstance(letter, DeadLetter)
    assert CampaignRequest.model_validate_json(letter.value) == request_of("one")


def test_a_failed_campaign_stays_failed() -> None:
    row, decisions = run([asks("one", 1), word("resolved", 1), word("refused", 1, state="failed")])
    assert topics(decisions[-1]) == ["campaign.progress", "gate.inputs"]
    assert topics(decide(row, asks("two", 2), strategy)) == ["campaign.requests.dlq"]
    assert decide(row, word("planned", 1), strategy) == Decision()


def test_the_gate_is_told_of_a_plan_that_was_given_up_when_batches_may_have_been_written() -> None:
    _, decisions = run([asks("one", 1), word("resolved", 1), word("refused", 1, state="failed")])
    told = [e.record for e in decisions[-1].effects if isinstance(e, Publish) and isinstance(e.record, PlanFailed)]
    content = content_hash(request_of("one"))
    assert told == [PlanFailed(relay="main", campaign_id="c", content_hash=content, problems=("f: p",))]
    for before in ([], [word("resolved", 1)]):
        _, decisions = run([asks("one", 1), *before, word("refused", 1)])
        assert "gate.inputs" not in topics(decisions[-1]), "a rejected id may be used again"
    _, decisions = run([asks("one", 1), word("refused", 1, state="failed")])
    assert topics(decisions[-1]) == ["campaign.progress"], "it was not resolved: there is no batch"


def test_what_the_planner_says_of_an_earlier_request_is_ignored() -> None:
    row, _ = run([asks("one", 1), word("refused", 1), asks("two", 2)])
    for kind in ("resolved", "planned", "refused", "admitted"):
        assert decide(row, word(kind, 1), strategy) == Decision()


def test_the_first_resolved_campaign_holds() -> None:
    row, _ = run([asks("one", 1), word("resolved", 1)])
    assert decide(row, word("resolved", 1, "other numbers"), strategy) == Decision()


@pytest.mark.parametrize("last", ["planned", "admitted"])
def test_an_order_before_the_plan_is_written_waits_and_then_goes_out_once(last: str) -> None:
    early = orders("pause", 1)
    row, decisions = run([early, asks("one", 1), early, word("resolved", 1), orders("cancel", 2), word(last, 1)])
    assert [topics(d) for d in decisions[:-1]] == [[], ["campaign.progress"], [], ["campaigns"], []]
    sent = [e.record for e in decisions[-1].effects if isinstance(e, Publish) and isinstance(e.record, GateCommand)]
    assert [(o.action, o.origin.offset, o.relay) for o in sent] == [("pause", 1, "main"), ("cancel", 2, "main")]
    assert row is not None
    assert not row.waiting


def test_orders_to_nobody_are_dead_letters_after_a_while() -> None:
    row, decisions = run(
        [orders("pause", 1), word("expired", 1).model_copy(update={"origin": at(1, "campaign.commands")})]
    )
    assert topics(decisions[-1]) == ["campaign.commands.dlq"]
    again, _ = run([orders("cancel", 2)], row)
    assert again is not None
    assert [w.origin.offset for w in again.waiting] == [2]
    assert decide(row, orders("pause", 1), strategy) == Decision()
    planned, _ = run([asks("one", 5)], row)
    assert planned is not None
    assert planned.state == "planning"


def test_a_strategy_that_does_not_exist_is_a_dead_letter_of_the_order() -> None:
    row, _ = run(USUAL)
    decision = decide(row, orders("strategy", 3, strategy={"type": "fast"}), strategy)
    assert topics(decision) == ["campaign.commands.dlq"]


def test_an_invalid_request_is_shown_unless_a_campaign_of_its_id_is_at_work() -> None:
    wrong = word("invalid", 7, problems=(Problem(field="f", problem="p"),))
    assert topics(decide(None, wrong, strategy)) == ["campaign.progress"]
    row, _ = run(USUAL[:1])
    assert decide(row, wrong, strategy) == Decision()


def test_left_out_and_null_windows_stay_apart_on_the_topic() -> None:
    null = request_of("one").model_copy(
        update={"schedule": CampaignRequest.model_fields["schedule"].default.model_validate({"window": None})}
    )
    for request in (request_of("one"), null):
        sent = asks("one", 1).model_copy(update={"request": request})
        row, _ = run([sent])
        assert row is not None
        back = CampaignRequest.model_validate(row.request)
        assert content_hash(back) == content_hash(request)


INPUTS = st.sampled_from([
    asks("one", 1), asks("two", 2), asks("one", 3), word("resolved", 1), word("resolved", 2, "two"),
    word("planned", 1), word("planned", 2, "two"), word("refused", 1), word("refused", 2, state="failed"),
    word("admitted", 1), word("admitted", 2), orders("pause", 1), orders("cancel", 2),
    word("expired", 1).model_copy(update={"origin": at(1, "campaign.commands")}),
    word("invalid", 4, problems=(Problem(field="f", problem="p"),)),
])  # fmt: skip


@given(st.lists(INPUTS, max_size=14), st.data())
@settings(max_examples=150, deadline=None)
def test_inputs_that_are_read_again_give_the_same_row_and_no_second_campaign(
    inputs: list[PlannerInput], data: st.DataObject
) -> None:
    row, decisions = run(inputs)
    begin = data.draw(st.integers(0, len(inputs)))
    again, repeated = run(inputs[begin:], row)  # a crash after the row, before the offset
    if row is not None and row.state == "published":
        assert again is not None
        # `admitted` that was read before its request has its effect now: the plan is not published any longer
        assert again == row or again == row.model_copy(update={"complete": None})
    campaigns = [
        e.record for d in decisions for e in d.effects if isinstance(e, Publish) and isinstance(e.record, Campaign)
    ]
    for d in repeated:
        for e in d.effects:
            if isinstance(e, Publish) and isinstance(e.record, Campaign):
                assert e.record in campaigns or row is None or row.state != "published"


@given(st.lists(INPUTS, max_size=20))
@settings(max_examples=150, deadline=None)
def test_campaigns_move_as_the_table_says_and_a_published_one_never_moves(inputs: list[PlannerInput]) -> None:
    row: CampaignRow | None = None
    for one in inputs:
        before = row.state if row is not None else None
        row, _ = run([one], row)
        after = row.state if row is not None else None
        assert after == before or after in MOVES[before]
        if before == "published" and row is not None:
            assert after == "published"


def test_problems_of_a_strategy_are_known() -> None:
    with pytest.raises(ProblemsFound):
        strategy(StrategySpec(type="nothing"), "")


ARCHIVED = [*USUAL, word("archive", 0)]


def test_an_archived_campaign_is_open_until_its_recipients_are_gone() -> None:
    row, decisions = run(ARCHIVED)
    assert row is not None
    assert (row.state, row.archived_at, row.cleared, row.open, decisions[-1].effects) == (
        "published", AT, False, True, (),
    )  # fmt: skip
    again, decisions = run([word("archive", 7), word("cleared", 99)], row)
    assert (again, [d.row for d in decisions]) == (row, [None, None])  # the one twice, the other of another request
    row, _ = run([word("cleared", 1)], row)
    assert row is not None
    assert (row.cleared, row.open, row.content_hash) == (True, False, content_hash(request_of("one")))


@pytest.mark.parametrize("name", ["one", "two"])
def test_an_id_is_never_used_again_not_even_after_archiving(name: str) -> None:
    row, decisions = run([*ARCHIVED, word("cleared", 1), asks(name, 50)])
    assert [topics(d) for d in decisions[-1:]] == [["campaign.requests.dlq"]]
    dead = decisions[-1].effects[0]
    assert isinstance(dead, DeadLetter)
    assert "that was archived at" in dead.error
    assert "under an id of its own" in dead.error
    assert row is not None
    assert row.content_hash == content_hash(request_of("one"))


@pytest.mark.parametrize("action", ["retry", "cancel", "resume"])
def test_an_order_to_an_archived_campaign_is_a_dead_letter_that_says_so(action: str) -> None:
    _, decisions = run([*ARCHIVED, orders(action, 5)])
    dead = decisions[-1].effects[0]
    assert isinstance(dead, DeadLetter)
    assert (dead.topic.name, "was archived at" in dead.error) == ("campaign.commands", True)


def test_a_plan_that_failed_is_cleared_when_the_gate_has_given_it_up_and_still_says_failed() -> None:
    failed = word("refused", 1, state="failed")
    row, _ = run([asks("one", 1), word("resolved", 1), failed, word("archive", 0)])
    assert row is not None
    assert (row.state, row.open) == ("failed", True)
    row, decisions = run([word("cleared", 1), orders("retry", 5), asks("one", 60)], row)
    assert row is not None
    assert row.cleared
    dead = decisions[1].effects[0]
    assert isinstance(dead, DeadLetter)
    assert "the campaign was failed" in dead.error
    assert decisions[2].effects == ()


def test_the_gates_word_on_what_the_planner_does_not_have_changes_nothing() -> None:
    assert run([word("archive", 0)])[0] is None
    rejected = [asks("one", 1), word("refused", 1)]
    assert run(rejected)[0] == run([*rejected, word("archive", 0)])[0]
