"""Every rule and convention, decided without a socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from simulator_wire import MAIL, MESSAGE, RCPT, WHOLE, Talk, codes

from simulator.answers import Then
from simulator.engine import Engine
from simulator.errors import RulesError
from simulator.moments import Facts
from simulator.rules import (
    Defer,
    Drop,
    LimitConnections,
    LimitMessages,
    Reject,
    Rule,
    Slow,
    Throttle,
    dump_rules,
    load_rules,
    parse_rules,
)
from simulator.settings import Settings, load_settings

ACCEPTED = ["250 2.1.0", "250 2.1.5", "354", "250 2.6.0"]


def to(address: str) -> bytes:
    """MAIL and RCPT for one recipient."""
    return MAIL + f"RCPT TO:<{address}>\r\n".encode()


@pytest.mark.parametrize(
    ("rule", "answered"),
    [
        (Reject(at="mail", code=550, enhanced="5.7.1"), ["550 5.7.1", "503 5.5.1", "503 5.5.1"]),
        (Reject(at="rcpt", code=450, enhanced="4.2.0"), ["250 2.1.0", "450 4.2.0", "554 5.5.1"]),
        (Reject(at="data", code=451, enhanced="4.3.0"), ["250 2.1.0", "250 2.1.5", "451 4.3.0"]),
    ],
)
def test_a_stage_is_refused(rule: Rule, answered: list[str]) -> None:
    assert Talk([rule]).codes(MAIL + RCPT + b"DATA\r\n") == answered


def test_the_final_dot_is_refused_and_the_text_is_the_rules_own() -> None:
    talk = Talk([Reject(at="message", code=554, enhanced="5.7.1", text="Looks like spam\nSorry")])
    assert talk.say(WHOLE).endswith(
        b"354 End data with <CR><LF>.<CR><LF>\r\n554-5.7.1 Looks like spam\r\n554 5.7.1 Sorry\r\n"
    )
    assert not talk.taken
    assert talk.codes(MAIL) == ["250 2.1.0"]


def test_421_closes_the_connection() -> None:
    talk = Talk([Reject(at="rcpt", code=421)])
    assert talk.codes(MAIL + RCPT + b"NOOP\r\n") == ["250 2.1.0", "421 4.0.0"]
    assert talk.then is Then.CLOSE


def test_whoever_connects_may_be_refused() -> None:
    talk = Talk([Reject(at="connect", code=554, enhanced="5.7.1")])
    assert codes(talk.greeting) == ["554 5.7.1"]


@pytest.mark.parametrize("pattern", ["*@FULL.example", r"re:[a-z]+@full\.example"])
def test_a_recipient_is_chosen_by_pattern(pattern: str) -> None:
    talk = Talk([Reject(at="rcpt", recipient=pattern, code=552, enhanced="5.2.2")])
    assert talk.codes(to("anna@full.example") + b"RCPT TO:<anna@empty.example>\r\n") == [
        "250 2.1.0",
        "552 5.2.2",
        "250 2.1.5",
    ]


def test_a_sender_is_chosen_by_pattern() -> None:
    talk = Talk([Reject(at="mail", sender="*@spam.example")])
    assert talk.codes(b"MAIL FROM:<x@spam.example>\r\n" + MAIL) == ["550 5.0.0", "250 2.1.0"]


def test_greylisting_defers_each_recipient_n_times() -> None:
    talk = Talk([Defer(times=2)])
    for expected in ("451 4.7.1", "451 4.7.1", "250 2.1.5"):
        assert talk.codes(to("a@x.example") + b"RSET\r\n")[1] == expected
    assert talk.codes(to("b@x.example"))[1] == "451 4.7.1"


def test_greylisting_at_the_final_dot_goes_by_the_message_recipients() -> None:
    talk = Talk([Defer(at="message", times=1)])
    assert talk.codes(WHOLE + WHOLE)[3::4] == ["451 4.7.1", "250 2.6.0"]
    assert len(talk.taken) == 1


def test_a_throttle_lets_no_more_than_its_rate_through() -> None:
    talk = Talk([Throttle(per_second=5, burst=1)])
    accepted = 0
    for _ in range(1000):  # ten seconds in hundredths
        talk.now += 0.01
        accepted += talk.codes(MAIL + b"RSET\r\n")[0] == "250 2.1.0"
    assert 49 <= accepted <= 51


def test_a_throttle_of_a_connection_does_not_touch_others() -> None:
    engine = Engine([Throttle(per_second=1, scope="connection", code=421, enhanced="4.7.0")])
    first, second = Talk(engine=engine, facts=Facts(1)), Talk(engine=engine, facts=Facts(2))
    assert first.codes(MAIL + b"RSET\r\n" + MAIL) == ["250 2.1.0", "250 2.0.0", "421 4.7.0"]
    assert second.codes(MAIL) == ["250 2.1.0"]


def test_slow_delays_the_reply_and_adds_up_with_others() -> None:
    talk = Talk([Slow(at="rcpt", milliseconds=200), Slow(at="rcpt", milliseconds=50), Reject(at="rcpt")])
    assert talk.codes(MAIL + RCPT + b"NOOP\r\n") == ["250 2.1.0", "550 5.0.0", "250 2.0.0"]
    assert talk.delays == [0.25]


def test_a_slow_final_dot_takes_the_message_before_it_waits() -> None:
    talk = Talk([Slow(at="message", milliseconds=1000)])
    before = talk.now
    assert talk.codes(WHOLE)[-1] == "250 2.6.0"
    assert talk.taken[0].at == before


@pytest.mark.parametrize(
    ("rule", "answered"),
    [
        (Drop(at="mail"), []),
        (Drop(at="mail", when="after"), ["250 2.1.0"]),
        (Drop(at="rcpt"), ["250 2.1.0"]),
        (Drop(at="rcpt", when="after"), ["250 2.1.0", "250 2.1.5"]),
        (Drop(at="data"), ["250 2.1.0", "250 2.1.5"]),
        (Drop(at="data", when="after"), ["250 2.1.0", "250 2.1.5", "354"]),
        (Drop(at="message"), ["250 2.1.0", "250 2.1.5", "354"]),
        (Drop(at="message", keep=True), ["250 2.1.0", "250 2.1.5", "354"]),
        (Drop(at="message", when="after"), ACCEPTED),
    ],
)
def test_the_connection_is_dropped_at_a_stage(rule: Drop, answered: list[str]) -> None:
    talk = Talk([rule])
    assert talk.codes(WHOLE + WHOLE) == answered
    assert talk.then is Then.CLOSE
    kept = rule.keep or (rule.at, rule.when) == ("message", "after")
    assert [one.replied for one in talk.taken] == [not rule.keep] * kept


@pytest.mark.parametrize(
    ("rule", "answered", "kept"),
    [
        (Drop(at="data"), ["250 2.1.0", "250 2.1.5"], 0),
        (Drop(at="data", when="after"), ["250 2.1.0", "250 2.1.5", "250 2.6.0"], 1),
        (Reject(at="data", code=451, enhanced="4.3.0"), ["250 2.1.0", "250 2.1.5", "451 4.3.0", "250 2.1.0"], 0),
        (Drop(at="message", keep=True, how="reset"), ["250 2.1.0", "250 2.1.5"], 1),
    ],
)
def test_rules_for_data_decide_about_chunks_too(rule: Rule, answered: list[str], kept: int) -> None:
    talk = Talk([rule], Settings(chunking=True))
    assert talk.codes(MAIL + RCPT + b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE + MAIL) == answered
    assert len(talk.taken) == kept


def test_one_connection_in_thirty_is_chosen_by_its_number() -> None:
    engine = Engine([Drop(at="data", every_connection=30)])
    dropped = [n for n in range(1, 91) if len(Talk(engine=engine, facts=Facts(n)).codes(WHOLE)) < 4]
    assert dropped == [30, 60, 90]
    assert engine.applied == {"1 drop data": 3}


def test_every_nth_message_is_chosen_by_counting() -> None:
    talk = Talk([Reject(at="message", every=3, skip=1, limit=2)])
    refused = [n for n in range(1, 13) if talk.codes(WHOLE)[3] != "250 2.6.0"]
    assert refused == [4, 7]


def test_chance_is_seeded_and_keeps_its_rate() -> None:
    def run(seed: int) -> list[bool]:
        talk = Talk([Reject(at="mail", probability=0.3, seed=seed)])
        return [talk.codes(MAIL + b"RSET\r\n")[0] != "250 2.1.0" for _ in range(1000)]

    assert run(1) == run(1) != run(2)
    assert 250 < sum(run(1)) < 350


def test_connections_beyond_the_limit_are_refused() -> None:
    engine = Engine([LimitConnections(most=3)])
    assert Talk(engine=engine, facts=Facts(1, open_connections=3)).then is Then.READ
    refused = Talk(engine=engine, facts=Facts(2, open_connections=4))
    assert (codes(refused.greeting), refused.then) == (["421 4.7.0"], Then.CLOSE)


def test_a_connection_takes_a_number_of_messages_and_no_more() -> None:
    talk = Talk([LimitMessages(most=2)])
    assert talk.codes(WHOLE + WHOLE + MAIL) == [*ACCEPTED, *ACCEPTED, "421 4.7.0"]
    closing = Talk([LimitMessages(most=2, close=True)])
    assert closing.codes(WHOLE + WHOLE + MAIL) == [*ACCEPTED, *ACCEPTED]
    assert closing.then is Then.CLOSE


@pytest.mark.parametrize(
    ("address", "answered"),
    [
        ("bounce@x.example", ["250 2.1.0", "550 5.1.1", "554 5.5.1"]),
        ("Bounce+552-5.2.2+Anna@x.example", ["250 2.1.0", "552 5.2.2", "554 5.5.1"]),
        ("bounce+450@x.example", ["250 2.1.0", "450 4.0.0", "554 5.5.1"]),
        ("bounce+550-4.1.1@x.example", ["250 2.1.0", "550 5.0.0", "554 5.5.1"]),
        ("defer+451@x.example", ["250 2.1.0", "451 4.0.0", "554 5.5.1"]),
        ("reject+554-5.7.1@x.example", ["250 2.1.0", "250 2.1.5", "354", "554 5.7.1"]),
        ("drop+rcpt@x.example", ["250 2.1.0"]),
        ("drop+data@x.example", ["250 2.1.0", "250 2.1.5"]),
        ("drop@x.example", ["250 2.1.0", "250 2.1.5", "354"]),
        ("drop+after@x.example", ACCEPTED),
        ("slow+20@x.example", ACCEPTED),
        ("bouncer@x.example", ACCEPTED),
        ("dora@x.example", ACCEPTED),
    ],
)
def test_an_address_says_what_shall_happen_to_it(address: str, answered: list[str]) -> None:
    talk = Talk()
    got = talk.codes(to(address) + b"DATA\r\n")
    got += talk.codes(MESSAGE + b".\r\n") if got[-1] == "354" else []
    assert got == answered
    assert talk.delays == ([0.02] if address.startswith("slow") else [])


def test_a_greylisted_address_gets_through_in_the_end_and_a_dropped_one_may_be_kept() -> None:
    talk = Talk()
    got = [talk.codes(to("greylist+2+anna@x.example") + b"RSET\r\n")[1] for _ in range(3)]
    assert got == ["451 4.7.1", "451 4.7.1", "250 2.1.5"]
    talk.codes(to("drop+kept@x.example") + b"DATA\r\n" + MESSAGE + b".\r\n")
    assert [one.replied for one in talk.taken] == [False]


def test_conventions_can_be_switched_off() -> None:
    assert Talk(settings=Settings(conventions=False)).codes(to("bounce@x.example"))[1] == "250 2.1.5"


TOML = """
[[rules]]
action = "drop"
at = "data"
every_connection = 30

[[rules]]
action = "throttle"
per_second = 5
"""


def test_rules_are_read_from_toml_and_json(tmp_path: Path) -> None:
    expected = (Drop(at="data", every_connection=30), Throttle(per_second=5))
    (tmp_path / "rules.toml").write_text(TOML)
    (tmp_path / "rules.json").write_bytes(dump_rules(expected))
    assert load_rules(tmp_path / "rules.toml") == expected == load_rules(tmp_path / "rules.json")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([{"action": "explode", "at": "data"}], "explode"),
        ([{"action": "reject", "at": "data", "cod": 550}], "cod"),
        ([{"action": "reject", "at": "connect", "recipient": "*"}], "no recipient is known at 'connect'"),
        ([{"action": "reject", "at": "helo", "sender": "*"}], "no sender is known at 'helo'"),
        ([{"action": "reject", "at": "rcpt", "recipient": "re:("}], "not a regular expression"),
        ([{"action": "reject", "at": "rcpt", "code": 550, "enhanced": "4.1.1"}], "does not fit 550"),
        ([{"action": "reject", "at": "rcpt", "enhanced": "5.1"}], "not an enhanced code"),
        ([{"action": "reject", "at": "rcpt", "code": 250}], "greater than or equal to 400"),
        ([{"action": "reject", "at": "rcpt", "text": "a\r\n250 OK"}], "printable ASCII"),
        ([{"action": "drop", "at": "data", "keep": True}], "keep is for"),
        ({"rule": []}, "expected a list"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_the_place(document: object, problem: str) -> None:
    with pytest.raises(RulesError, match="rules: ") as caught:
        parse_rules(document)
    assert problem in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[[rules")
    for name in ("broken.toml", "missing.json"):
        with pytest.raises(RulesError, match=name):
            load_rules(tmp_path / name)


def test_settings_come_from_a_file_and_must_fit_together(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"chunking": True}))
    assert load_settings(tmp_path / "s.json") == Settings(chunking=True)
    (tmp_path / "t.json").write_text(json.dumps({"implicit_tls": True}))
    with pytest.raises(RulesError, match="need tls_certificate"):
        load_settings(tmp_path / "t.json")
    with pytest.raises(ValidationError, match="require_auth needs"):
        Settings(require_auth=True)
