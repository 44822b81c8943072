"""From a request to a campaign, or to every problem named by field."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from planner.commands import domain_to_gate
from planner.errors import ProblemsFound, SourceError
from planner.resolve import campaign_id_of, canonical, content_hash, resolve_campaign, resolve_schedule
from planner.strategies import KINDS
from planner.strategies.resolve import resolve_strategy
from schemas.campaign import Campaign, SourceFingerprint
from schemas.command import DomainCommand, Origin, PlannerInput
from schemas.records import DomainReputation, Template
from schemas.request import CampaignRequest
from schemas.strategy import Step, StrategySpec, Thresholds
from sender.gate.settings import gate_settings
from streams.settings import Settings

NOW = datetime(2026, 2, 2, 12, 0, 0, 250_000, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {
        "relays": {"main": {"host": "relay.example"}, "other": {"host": "relay.example"}},
        "domains": {
            "bore.example": {"relay": "main", "timezone": "America/Bogota"},
            "warm.example": {"relay": "other", "warm": True},
            "bücher.example": {"relay": "main"},
        },
        "strategies": {
            "cobranza": {"type": "batch", "batch_size": 3000, "interval_minutes": 5},
            "gentle": {"type": "ramp_up", "batch_size": 20},
        },
    }
)
ORIGIN = Origin(topic="domain.commands", partition=0, offset=1)
FINGERPRINT = SourceFingerprint(kind="inline", size=1, changed="")
STORED = {"checked-in": Template(id="checked-in", subject="Hi {{ name }}", text="x", updated_at=NOW)}
REQUEST: dict[str, Any] = {
    "from": {"email": "cobros@bore.example"},
    "template": {"subject": "Hola {{ first_name }}", "html": "<p>x</p>"},
    "recipients": {"inline": [{"email": "ana@example.com", "first_name": "Ana"}]},
}


def request(**changes: Any) -> CampaignRequest:
    return CampaignRequest.model_validate({**REQUEST, **changes})


def campaign(**changes: Any) -> Campaign:
    wanted = request(**{k: v for k, v in changes.items() if k not in {"fingerprint", "reputation"}})
    return resolve_campaign(
        wanted,
        content_hash=content_hash(wanted),
        created_at=NOW,
        settings=SETTINGS,
        templates=STORED.get,
        fingerprint=changes.get("fingerprint", FINGERPRINT),
        now=NOW,
        reputation=changes.get("reputation"),
    )


def problems(**changes: Any) -> dict[str, str]:
    with pytest.raises(ProblemsFound) as caught:
        campaign(**changes)
    return {p.field: p.problem for p in caught.value.problems}


def test_a_short_request_is_resolved_with_nothing_left_open() -> None:
    made = campaign()
    assert made.campaign_id.startswith("auto-")
    assert (made.sending_domain, made.relay, made.strategy.name) == ("bore.example", "main", "ramp_up")
    assert made.schedule.start_at == NOW.replace(microsecond=0)
    assert (made.schedule.window, made.schedule.skip_weekends) == ((time(9), time(17)), True)
    assert made.schedule.timezone == "America/Bogota"
    assert Campaign.decode(made.encode()) == made


def test_auto_is_batch_on_a_warm_domain_and_conservative_on_one_that_has_suffered() -> None:
    warm = campaign(**{"from": {"email": "a@warm.example"}})
    assert (warm.strategy.type, warm.schedule.window, warm.schedule.skip_weekends) == ("batch", None, False)
    suffered = DomainReputation(sending_domain="bore.example", sending_day=4, state="problems", as_of=NOW)
    assert campaign(reputation=suffered).strategy.type == "conservative"
    assert campaign(reputation=suffered).start_day == 4


def test_the_plan_has_the_domains_day_whatever_the_schedules_time_zone() -> None:
    made = campaign(schedule={"timezone": "Asia/Tokyo"})
    assert (made.schedule.timezone, made.day_timezone) == ("Asia/Tokyo", "America/Bogota")


def test_a_warm_domain_begins_with_the_last_step() -> None:
    made = campaign(**{"from": {"email": "a@warm.example"}}, strategy={"type": "ramp_up"})
    assert (made.start_day, made.strategy.step(made.start_day).daily_limit) == (6, 200)
    assert campaign(strategy={"type": "ramp_up"}).start_day == 1


def test_an_international_sending_domain_is_known_by_its_a_labels() -> None:
    assert campaign(**{"from": {"email": "a@BÜCHER.example"}}).sending_domain == "xn--bcher-kva.example"


@pytest.mark.parametrize("sender", ["a@bücher.example", "a@BÜCHER.Example", "a@xn--bcher-kva.example"])
def test_the_gate_finds_a_campaigns_domain_however_the_settings_and_the_request_write_it(sender: str) -> None:
    made = campaign(**{"from": {"email": sender}})
    assert gate_settings(SETTINGS).domains[made.sending_domain].relay == "main"
    order = DomainCommand(domain="BÜCHER.example", action="pause")
    assert domain_to_gate(order, SETTINGS.domains, ORIGIN, NOW).domain == made.sending_domain


@pytest.mark.parametrize("start", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_a_time_that_utc_has_not_is_refused(start: str) -> None:
    with pytest.raises(ValidationError, match="is the year right"):
        request(schedule={"start_at": start})


def test_all_problems_are_named_at_once() -> None:
    found = problems(
        **{"from": {"email": "a@bora.example"}},
        relay="mian",
        template={"subject": "{{ x", "html": "<p>\n{{ a.__class__ }}</p>"},
        recipients={"uri": "file:///none.csv", "unless_mailed_by": ["other"]},
        strategy={"type": "batch", "batch_size": 5, "concurrent_batches": 11},
        schedule={"start_at": "2099-01-01T00:00:00Z"},
        reply_to="a..b@example.com",
        fingerprint=SourceError("file:///none.csv: there is no such file"),
    )
    assert set(found) == {
        "from.email", "relay", "template.subject", "template.html", "recipients.uri", "recipients.unless_mailed_by",
        "strategy.batch_size", "strategy.concurrent_batches", "schedule.start_at", "reply_to",
    }  # fmt: skip
    assert "did you mean 'bore.example'" in found["from.email"]
    assert "warm.example" in found["from.email"]
    assert "did you mean 'main'" in found["relay"]
    assert found["template.subject"].startswith("line 1:")
    assert found["template.html"].startswith("line 2:")
    assert "not available yet" in found["recipients.unless_mailed_by"]


def test_a_relay_that_is_not_the_domains_is_refused() -> None:
    assert "not the relay of bore.example" in problems(relay="other")["relay"]
    assert campaign(relay="main").relay == "main"


def test_an_unknown_strategy_is_answered_with_the_nearest() -> None:
    found = problems(strategy={"type": "ramp-up"})
    assert "did you mean 'ramp_up'" in found["strategy.type"]
    assert "cobranza" in found["strategy.type"]


def test_a_stored_template_is_copied_and_a_missing_one_is_a_problem() -> None:
    assert campaign(template={"id": "checked-in"}).template.subject == "Hi {{ name }}"
    assert "no stored template 'gone'" in problems(template={"id": "gone"})["template.id"]


def test_a_fallback_is_refused_while_nothing_comes_of_it() -> None:
    assert "not available yet" in problems(fallback={"after_days": 3})["fallback"]
    assert "fallback" in problems(fallback={"after_days": 3, "template": {"subject": "x", "text": "x"}})


def test_a_start_in_the_past_starts_now_with_a_warning() -> None:
    made = campaign(schedule={"start_at": "2026-01-01T00:00:00Z"})
    assert made.schedule.start_at == NOW.replace(microsecond=0)
    assert "in the past" in made.warnings[0]


def test_a_start_too_far_ahead_and_a_window_with_offsets_are_problems() -> None:
    assert "schedule.start_at" in problems(schedule={"start_at": "2099-01-01T00:00:00Z"})
    assert "schedule.window" in problems(schedule={"window": ["09:00Z", "17:00Z"]})


def test_a_window_of_null_is_any_time_and_one_left_out_is_the_strategys() -> None:
    assert campaign(schedule={"window": None}).schedule.window is None
    assert campaign(schedule={"skip_weekends": False}).schedule.window == (time(9), time(17))


def test_a_window_that_was_left_out_stays_so_when_the_request_is_written_and_read_again() -> None:
    for schedule, window in (({}, (time(9), time(17))), ({"window": None}, None)):
        wanted = request(schedule=schedule)
        record = PlannerInput(
            campaign_id="c", kind="request", origin=Origin(topic="t", partition=0, offset=1), received_at=NOW,
            request=wanted,
        )  # fmt: skip
        read = PlannerInput.decode(record.encode()).request
        assert read is not None
        assert content_hash(read) == content_hash(wanted)
        strategy = resolve_strategy(read.strategy, {}, warm=False)
        assert resolve_schedule(read.schedule, strategy, timezone="UTC", now=NOW)[0].window == window


def test_a_campaign_has_the_links_that_are_tracked() -> None:
    html = '<a href="https://x.example/?for={{ first_name }}">x</a><a href="#top">y</a>'
    template = {"subject": "Hola", "html": html}
    assert [link.written for link in campaign(template=template).links] == ["https://x.example/?for={{ first_name }}"]
    assert campaign(template=template, tracking={"clicks": False}).links == ()
    assert campaign(template={"subject": "Hola", "text": html}).links == ()


@pytest.mark.parametrize(
    ("tracking", "asked"),
    [
        ({"opens": True, "clicks": True}, "tracking.opens, tracking.clicks"), ({"opens": True}, "tracking.opens"),
        ({"opens": False, "clicks": True}, "tracking.clicks"), ({"opens": False}, ""), ({}, ""), (None, ""),
    ],
)  # fmt: skip
def test_tracking_that_is_asked_for_is_a_warning_and_the_campaign_goes_out(
    tracking: dict[str, bool] | None, asked: str
) -> None:
    more = {} if tracking is None else {"tracking": tracking}
    given = PlannerInput(campaign_id="c", kind="request", origin=ORIGIN, received_at=NOW, request=request(**more))
    travelled = PlannerInput.decode(given.encode()).request
    assert travelled is not None
    made = campaign(tracking=travelled.tracking)
    expected = f"{asked}: tracking is not available yet; the mail goes out without it"
    assert made.warnings == ((expected,) if asked else ())
    written = orjson.loads(made.encode())["tracking"]
    assert written == {"opens": True, "clicks": True, **(tracking or {})}


@pytest.mark.parametrize(
    "other",
    [
        {"campaign_id": "named"},
        {"strategy": {"type": "auto"}},
        {"in_doubt": "hold", "max_retries": 3, "tags": {}, "relay": None, "fallback": None},
        {"schedule": {}, "pace": {"rate": None}, "tracking": {"opens": True}},
    ],
)
def test_the_same_content_in_another_spelling_is_the_same(other: dict[str, Any]) -> None:
    assert canonical(request(**other)) == canonical(request())
    reordered = CampaignRequest.model_validate(dict(reversed(REQUEST.items())))
    assert content_hash(reordered) == content_hash(request())


def test_spellings_of_values_are_the_same_too() -> None:
    one = request(pace={"rate": "5/s"}, schedule={"start_at": "2026-03-01T10:00:00Z"},
                  recipients={"uri": "file:///a", "where": {"status": "x"}},
                  strategy={"interval_minutes": 60})  # fmt: skip
    two = request(pace={"rate": "300/min"}, schedule={"start_at": "2026-03-01T05:00:00-05:00"},
                  recipients={"uri": "file:///a", "where": {"status": ["x"]}},
                  strategy={"interval_minutes": 60.0})  # fmt: skip
    assert content_hash(one) == content_hash(two)


@pytest.mark.parametrize(
    "other",
    [
        {"schedule": {"window": None}},
        {"strategy": {"type": "batch"}},
        {"recipients": {"inline": [{"email": "ana@example.com", "first_name": "ana"}]}},
        {"name": "x"},
    ],
)
def test_other_content_is_other_content(other: dict[str, Any]) -> None:
    assert content_hash(request(**other)) != content_hash(request())
    assert campaign_id_of(request(**other)) != campaign_id_of(request())


# --- strategies


@pytest.mark.parametrize(
    ("name", "steps", "every", "batches", "at_once", "thresholds"),
    [
        ("ramp_up", [(1, 50, 25), (2, 100, 50), (3, 150, 75), (6, 200, 100)], 60, None, 5, (0.20, 0.95, 0.05, 0)),
        ("batch", [(1, None, 500)], 30, 100, 5, (0.20, 0.95, 0.05, 0)),
        ("conservative", [(1, 10, 10), (2, 20, 10), (3, 30, 15), (6, 50, 25)], 60, None, 5, (0.25, 0.95, 0.05, 0)),
    ],
)
def test_the_numbers_are_those_of_the_tables(
    name: str, steps: list[tuple[int, int | None, int]], every: float, batches: int | None, at_once: int,
    thresholds: tuple[float, float, float, int],
) -> None:  # fmt: skip
    made = resolve_strategy(StrategySpec(type=name), {}, warm=False)
    assert [(s.day, s.daily_limit, s.batch_size) for s in made.steps] == steps
    # As they are written, too: what resolving caps would else hide a wrong one.
    assert [(s.day, s.daily_limit, s.batch_size) for s in KINDS[name].steps] == steps
    assert (made.intervals_minutes, made.max_batches_per_day, made.concurrent_batches) == ((0, every), batches, at_once)
    opens, delivery, bounces, complaints = thresholds
    assert made.thresholds == Thresholds(
        min_opens=opens, min_delivery=delivery, max_bounces=bounces, max_complaints=complaints
    )


@pytest.mark.parametrize(
    ("name", "hours", "weekdays"),
    [("ramp_up", (time(9), time(17)), True), ("batch", None, False), ("conservative", (time(9), time(17)), True)],
)
def test_a_warm_up_sends_in_office_hours_and_a_warm_domain_at_any_time(
    name: str, hours: tuple[time, time] | None, weekdays: bool
) -> None:
    schedule = campaign(strategy={"type": name}).schedule
    assert (schedule.window, schedule.skip_weekends) == (hours, weekdays)


def test_a_request_has_its_own_number_of_batches_at_once() -> None:
    assert resolve_strategy(StrategySpec(type="batch", concurrent_batches=2), {}, warm=False).concurrent_batches == 2


def test_ranges_bind_the_request_and_not_a_named_strategy() -> None:
    named = resolve_strategy(StrategySpec(type="cobranza"), SETTINGS.strategies, warm=False)
    assert (named.name, named.type, named.steps[0].batch_size) == ("cobranza", "batch", 3000)
    assert named.intervals_minutes == (0, 5)
    with pytest.raises(ProblemsFound, match=r"strategy\.batch_size: 5000 is outside 100 to 1000"):
        resolve_strategy(StrategySpec(type="cobranza", batch_size=5000), SETTINGS.strategies, warm=False)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("batch_size", 99), ("batch_size", 1001), ("interval_minutes", 14), ("interval_minutes", 121),
        ("max_batches_per_day", 9), ("max_batches_per_day", 201), ("concurrent_batches", 11),
        ("interval_minutes", (0, 30, 14)), ("interval_minutes", (30, 0)), ("interval_minutes", (5, 30)),
        ("interval_minutes", 0),
    ],
)  # fmt: skip
def test_a_number_outside_its_range_is_a_problem(number: str, value: Any) -> None:
    with pytest.raises(ProblemsFound) as caught:
        resolve_strategy(StrategySpec.model_validate({"type": "batch", number: value}), {}, warm=False)
    assert caught.value.problems[0].field.startswith(f"strategy.{number}")


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("batch_size", 100), ("batch_size", 1000), ("interval_minutes", (0, 15, 120)), ("concurrent_batches", 1),
        ("concurrent_batches", 10), ("max_batches_per_day", 10), ("max_batches_per_day", 200),
    ],
)  # fmt: skip
def test_the_ends_of_a_range_and_a_first_wait_of_zero_are_in_it(number: str, value: Any) -> None:
    resolve_strategy(StrategySpec.model_validate({"type": "batch", number: value}), {}, warm=False)


@pytest.mark.parametrize(
    ("kind", "limits", "wrong"),
    [
        ("ramp_up", (50, 100, 150, 150, 150, 200), set()),
        ("ramp_up", (1,), set()),
        ("ramp_up", (51,), {"0"}),
        ("ramp_up", (51, 100), {"0"}),
        ("ramp_up", (50, 101, 150), {"1"}),
        ("ramp_up", (50, 100, 150, 200), {"3"}),
        ("ramp_up", (1_000_000,), {"0"}),
        ("auto", (50, 200), {"1"}),
        ("conservative", (10, 20, 30, 30, 30, 51), {"5"}),
        ("batch", (1_000_000,), set()),
        ("falling", (90, 20), {"1"}),
        ("falling", (90, 20, 10), set()),
    ],
)
def test_a_request_may_slow_a_warm_up_down_and_never_speed_it_up(
    kind: str, limits: tuple[int, ...], wrong: set[str]
) -> None:
    named = {"falling": StrategySpec(type="ramp_up", daily_limits=(100, 100, 10))}
    found = set()
    try:
        resolve_strategy(StrategySpec(type=kind, daily_limits=limits), named, warm=False)
    except ProblemsFound as e:
        found = {p.field.removeprefix("strategy.daily_limits.") for p in e.problems}
    assert found == wrong


def test_a_limit_that_is_too_fast_on_many_days_is_named_with_the_first() -> None:
    with pytest.raises(ProblemsFound, match=r"300 is more than 50, the limit of `ramp_up` on sending day 1;") as caught:
        resolve_strategy(StrategySpec(type="ramp_up", daily_limits=(300,)), {}, warm=False)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("kind", ["ramp_up", "conservative", "gentle"])
def test_a_request_cannot_ask_for_batches_that_fill_the_memory(kind: str) -> None:
    with pytest.raises(ProblemsFound, match=r"strategy\.batch_size: 1001 is outside 1 to 1000"):
        resolve_strategy(StrategySpec(type=kind, batch_size=1001), SETTINGS.strategies, warm=False)


def test_no_strategy_at_all_has_batches_over_10000() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 10000"):
        StrategySpec(type="batch", batch_size=10_001)
    named = {"huge": StrategySpec(type="ramp_up", daily_limits=(1_000_000,))}
    assert resolve_strategy(StrategySpec(type="huge"), named, warm=False).steps[0].batch_size == 10_000


def test_daily_limits_make_steps_with_batches_of_half_a_day_rounded_up() -> None:
    made = resolve_strategy(StrategySpec(type="ramp_up", daily_limits=(15, 15, 40, 40, 7)), {}, warm=False)
    assert made.steps == (
        Step(day=1, daily_limit=15, batch_size=8),
        Step(day=3, daily_limit=40, batch_size=20),
        Step(day=5, daily_limit=7, batch_size=4),
    )
    assert made.step(100).daily_limit == 7


def test_a_batch_size_holds_for_all_steps_up_to_the_limit() -> None:
    made = resolve_strategy(StrategySpec(type="conservative", batch_size=25), {}, warm=False)
    assert [step.batch_size for step in made.steps] == [10, 20, 25, 25]
    gentle = resolve_strategy(StrategySpec(type="gentle", daily_limits=(10, 90)), SETTINGS.strategies, warm=False)
    assert [step.batch_size for step in gentle.steps] == [10, 20]


def test_conservative_asks_for_more_delivery_from_day_6() -> None:
    made = resolve_strategy(StrategySpec(type="conservative"), {}, warm=False)
    assert (made.thresholds_on(5).min_delivery, made.thresholds_on(6).min_delivery) == (0.95, 0.98)
    own = StrategySpec(type="conservative", thresholds=Thresholds(max_bounces=0.02))
    assert resolve_strategy(own, {}, warm=False).thresholds_on(6) == Thresholds(
        min_opens=0.25, min_delivery=0.98, max_bounces=0.02, max_complaints=0
    )


def test_a_schedule_keeps_what_it_was_given() -> None:
    strategy = resolve_strategy(StrategySpec(type="batch"), {}, warm=False)
    wanted = request(schedule={"timezone": "Europe/Madrid", "window": ["22:00", "06:00"], "skip_weekends": True,
                               "start_at": NOW + timedelta(days=3)}).schedule  # fmt: skip
    made, warnings = resolve_schedule(wanted, strategy, timezone="UTC", now=NOW)
    assert (made.timezone, made.window, made.skip_weekends) == ("Europe/Madrid", (time(22), time(6)), True)
    assert made.start_at == NOW + timedelta(days=3)
    assert warnings == ()
