"""The conversation itself: sequence, syntax, sizes, bodies, however the bytes are cut."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_wire import MAIL, MESSAGE, RCPT, WHOLE, Talk, codes

from simulator.answers import Then
from simulator.body import stuff, unstuff
from simulator.dialogue import Dialogue
from simulator.engine import Engine
from simulator.moments import Facts
from simulator.rules import Slow
from simulator.settings import Settings

CHUNKING = Settings(chunking=True)


def test_a_message_is_taken_with_its_envelope() -> None:
    talk = Talk()
    assert talk.codes(WHOLE) == ["250 2.1.0", "250 2.1.5", "354", "250 2.6.0"]
    (taken,) = talk.taken
    assert (taken.sender, taken.recipients) == ("sender@bore.example", ("anna@mailbox.example",))
    assert (taken.body, taken.replied, taken.at) == (MESSAGE, True, talk.now)


def test_ehlo_offers_what_the_settings_say() -> None:
    settings = Settings(chunking=True, users={"u": "p"}, tokens={"u": "t"}, max_size=1000)
    offered = Talk(settings=settings, greeted=False).say(b"EHLO me\r\n").decode().split("\r\n")
    assert offered[:-1] == [
        "250-mailbox.example",
        "250-PIPELINING",
        "250-SIZE 1000",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-ENHANCEDSTATUSCODES",
        "250-CHUNKING",
        "250 AUTH PLAIN LOGIN XOAUTH2",
    ]
    assert codes(Talk(settings=Settings(pipelining=False), greeted=False).say(b"HELO me\r\n")) == ["250"]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (RCPT, ["503 5.5.1"]),
        (b"DATA\r\n", ["503 5.5.1"]),
        (MAIL + MAIL, ["250 2.1.0", "503 5.5.1"]),
        (MAIL + b"DATA\r\n", ["250 2.1.0", "503 5.5.1"]),
        (MAIL + b"RCPT TO:<bounce@x.example>\r\nDATA\r\n", ["250 2.1.0", "550 5.1.1", "554 5.5.1"]),
        (MAIL + b"RSET\r\n" + RCPT, ["250 2.1.0", "250 2.0.0", "503 5.5.1"]),
        (MAIL + b"EHLO again\r\n" + RCPT, ["250 2.1.0", "250", "503 5.5.1"]),
        (MAIL + b"NOOP whatever\r\n" + RCPT, ["250 2.1.0", "250 2.0.0", "250 2.1.5"]),
        (b"RSET now\r\n", ["501 5.5.4"]),
        (b"EHLO\r\nHELO \r\n", ["501 5.5.4", "501 5.5.4"]),
        (b"VRFY anna\r\nVRFY\r\n", ["252 2.0.0", "501 5.5.4"]),
        (b"EXPN all\r\nHELP\r\nWHAT\r\n\r\n", ["502 5.5.1", "214 2.0.0", "500 5.5.1", "500 5.5.1"]),
        (b"STARTTLS\r\nAUTH PLAIN\r\nBDAT 3\r\n", ["502 5.5.1"] * 3),
        (b"NOOP\n", ["500 5.5.2"]),
        (b"NOOP \xff\r\n", ["500 5.5.2"]),
        (b"mail from:<a@b.example>\r\nrcpt to:<Postmaster>\r\n", ["250 2.1.0", "250 2.1.5"]),
    ],
)
def test_commands_are_answered_by_the_book(sent: bytes, answered: list[str]) -> None:
    assert Talk().codes(sent) == answered


def test_mail_before_ehlo_is_out_of_sequence() -> None:
    assert Talk(greeted=False).codes(MAIL) == ["503 5.5.1"]


def test_what_is_sent_ahead_of_the_tls_handshake_is_lost() -> None:
    """Plain text behind STARTTLS must not pass for part of the protected session (RFC 3207, 6)."""
    dialogue = Dialogue(Settings(tls_certificate=Path("c"), tls_key=Path("k")), Engine(), Facts(1))
    dialogue.open(0.0)
    step = dialogue.feed(b"EHLO client\r\nSTARTTLS\r\nEHLO evil\r\n" + MAIL, 0.0)
    assert (codes(step.send), step.then) == (["250", "220 2.0.0"], Then.START_TLS)
    dialogue.tls_started()
    assert codes(dialogue.feed(MAIL, 0.0).send) == ["503 5.5.1"]


def test_what_comes_during_a_delay_waits_for_its_turn() -> None:
    dialogue = Dialogue(Settings(), Engine([Slow(at="helo", milliseconds=100)]), Facts(1))
    dialogue.open(0.0)
    assert dialogue.feed(b"EHLO client\r\n", 0.0)[2:] == (Then.WAIT, 0.1)
    assert dialogue.feed(MAIL, 0.05) == (b"", [], Then.READ, 0.0)
    assert codes(dialogue.resume(0.1).send) == ["250", "250 2.1.0"]


def test_quit_ends_the_conversation_and_nothing_after_it_is_read() -> None:
    talk = Talk()
    assert talk.codes(b"QUIT\r\n" + WHOLE) == ["221 2.0.0"]
    assert talk.then is Then.CLOSE
    assert not talk.taken


@pytest.mark.parametrize(
    ("argument", "answered"),
    [
        (b"FROM:<>", "250 2.1.0"),
        (b"FROM:<a@b.example> SIZE=100 BODY=8BITMIME", "250 2.1.0"),
        (b'FROM:<"a b\\"c"@b.example>', "250 2.1.0"),
        (b"FROM:<@relay.example:a@b.example>", "250 2.1.0"),
        (b"FROM:<a@[192.0.2.1]>", "250 2.1.0"),
        ("FROM:<josé@bücher.example> SMTPUTF8".encode(), "250 2.1.0"),
        ("FROM:<josé@b.example>".encode(), "553 5.6.7"),
        (b"FROM: <a@b.example>", "501 5.5.4"),
        (b"FROM:a@b.example", "501 5.5.4"),
        (b"TO:<a@b.example>", "501 5.5.4"),
        (b"FROM:<a@b..example>", "501 5.1.7"),
        (b"FROM:<a.@b.example>", "501 5.1.7"),
        (b"FROM:<a b@c.example>", "501 5.1.7"),
        (b"FROM:<a@-b.example>", "501 5.1.7"),
        (b"FROM:<a>", "501 5.1.7"),
        (b"FROM:<" + b"a" * 65 + b"@b.example>", "501 5.1.7"),
        (b"FROM:<a@" + b"b" * 250 + b".example>", "501 5.1.7"),
        (b"FROM:<a@b.example> SIZE=many", "501 5.5.4"),
        (b"FROM:<a@b.example> SIZE=1 SIZE=2", "501 5.5.4"),
        (b"FROM:<a@b.example> SIZE=99999999999", "552 5.3.4"),
        (b"FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
        (b"FROM:<a@b.example> RET=FULL", "555 5.5.4"),
    ],
)
def test_mail_is_checked_by_the_grammar(argument: bytes, answered: str) -> None:
    assert Talk().codes(b"MAIL " + argument + b"\r\n") == [answered]


@pytest.mark.parametrize(
    ("argument", "answered"),
    [
        (b"TO:<a@b>", "250 2.1.5"),
        (b"TO:<>", "501 5.1.3"),
        (b"TO:<a@>", "501 5.1.3"),
        (b"FROM:<a@b.example>", "501 5.5.4"),
        (b"TO:<a@b.example> NOTIFY=NEVER", "555 5.5.4"),
        ("TO:<josé@b.example>".encode(), "553 5.6.7"),
    ],
)
def test_rcpt_is_checked_by_the_grammar(argument: bytes, answered: str) -> None:
    assert Talk().codes(MAIL + b"RCPT " + argument + b"\r\n") == ["250 2.1.0", answered]


def test_replies_keep_the_order_of_a_pipeline_with_a_refused_recipient_in_the_middle() -> None:
    talk = Talk()
    sent = MAIL + RCPT + b"RCPT TO:<bounce@x.example>\r\n" + b"RCPT TO:<carl@x.example>\r\nDATA\r\n"
    assert talk.codes(sent) == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354"]
    assert talk.codes(MESSAGE + b".\r\n" + WHOLE)[0] == "250 2.6.0"
    assert [one.recipients for one in talk.taken] == [
        ("anna@mailbox.example", "carl@x.example"),
        ("anna@mailbox.example",),
    ]


def test_a_server_may_answer_354_although_every_recipient_was_refused() -> None:
    talk = Talk(settings=Settings(answer_354_without_recipients=True))
    assert talk.codes(MAIL + b"RCPT TO:<bounce@x.example>\r\nDATA\r\n")[-1] == "354"
    assert talk.codes(b".\r\n") == ["554 5.5.1"]
    assert not talk.taken


def test_too_many_recipients_are_deferred() -> None:
    talk = Talk(settings=Settings(max_recipients=1))
    assert talk.codes(MAIL + RCPT + RCPT)[-1] == "452 4.5.3"


def test_lines_beyond_the_limit_are_refused_once_and_the_next_is_read() -> None:
    settings = Settings(max_command_line=512)
    assert Talk(settings=settings).codes(b"NOOP " + b"x" * 505 + b"\r\n") == ["250 2.0.0"]
    assert Talk(settings=settings).codes(b"NOOP " + b"x" * 506 + b"\r\nNOOP\r\n") == ["500 5.5.2", "250 2.0.0"]


@pytest.mark.parametrize(
    ("body", "answered"),
    [
        (b"x" * 998 + b"\r\n", "250 2.6.0"),
        (b"x" * 999 + b"\r\n", "554 5.6.0"),
        (b"short\r\n" + b"x" * 999 + b"\r\nshort\r\n", "554 5.6.0"),
        (b"a\nb\r\n", "554 5.6.0"),
        (b"a\rb\r\n", "554 5.6.0"),
        (b"", "250 2.6.0"),
    ],
)
def test_lines_of_a_message_are_checked(body: bytes, answered: str) -> None:
    assert Talk().codes(MAIL + RCPT + b"DATA\r\n" + body + b".\r\n")[-1] == answered


@pytest.mark.parametrize("smuggled", [b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r"])
def test_only_crlf_dot_crlf_ends_a_message(smuggled: bytes) -> None:
    talk = Talk(settings=Settings(strict_lines=False))
    assert talk.codes(MAIL + RCPT + b"DATA\r\nx" + smuggled + b"MAIL FROM:<evil@x.example>\r\n.\r\n")[-1] == "250 2.6.0"
    assert b"evil" in talk.taken[0].body


def test_a_message_beyond_the_size_limit_is_read_to_its_end_and_refused() -> None:
    talk = Talk(settings=Settings(max_size=100))
    fits, too_big = b"x" * 98 + b"\r\n", b"x" * 99 + b"\r\n"
    huge = b"x" * 50 + b"\r\n"
    for body, answered in [(fits, "250 2.6.0"), (too_big, "552 5.3.4"), (huge * 100, "552 5.3.4")]:
        assert talk.codes(MAIL + RCPT + b"DATA\r\n") == ["250 2.1.0", "250 2.1.5", "354"]
        half = len(body) // 2
        talk.say(body[:half])
        assert talk.codes(body[half:] + b".\r\n") == [answered]


_BODY = st.lists(st.sampled_from([b".", b"..", b"\r\n", b"a", b".\r\n", b"\r\n.\r\n"]), max_size=30)


@given(_BODY)
def test_stuffing_and_unstuffing_are_inverse(parts: list[bytes]) -> None:
    body = b"".join(parts) + b"\r\n"
    assert unstuff(stuff(body)) == body


@given(_BODY)
def test_dots_arrive_as_they_were_meant(parts: list[bytes]) -> None:
    body = b"".join(parts) + b"\r\n"
    talk = Talk()
    assert talk.codes(MAIL + RCPT + b"DATA\r\n" + stuff(body) + b".\r\n")[-1] == "250 2.6.0"
    assert talk.taken[0].body == body


LONG = (
    b"NOOP\r\nWHAT\r\n" + MAIL + RCPT + b"RCPT TO:<bounce@x.example>\r\nDATA\r\n..\r\n.x\r\n" + MESSAGE + b".\r\n"
    b"NOOP " + b"y" * 600 + b"\r\n" + WHOLE + MAIL + RCPT + b"BDAT 7\r\nHola.\r\nBDAT 3 LAST\r\n.\r\nBDAT 5\r\n12345"
    b"RSET\r\n" + MAIL + RCPT + b"BDAT 0 LAST\r\n" + MAIL + RCPT + b"DATA\r\n" + b"z" * 300 + b"\r\n.\r\n"
    b"NOOP\nAUTH PLAIN\r\nAHUAcA==\r\nQUIT\r\nNOOP\r\n"
)  # fmt: skip
_LONG_SETTINGS = Settings(chunking=True, max_command_line=512, max_size=200, users={"u": "p"})


@given(st.lists(st.integers(0, len(LONG)), max_size=40))
def test_the_same_bytes_give_the_same_replies_however_they_are_cut(cuts: list[int]) -> None:
    whole = Talk(settings=_LONG_SETTINGS)
    expected = whole.say(LONG)
    cut = Talk(settings=_LONG_SETTINGS)
    places = [0, *sorted(cuts), len(LONG)]
    assert b"".join(cut.say(LONG[a:b]) for a, b in itertools.pairwise(places)) == expected
    assert [one.body for one in cut.taken] == [one.body for one in whole.taken]


def test_one_byte_at_a_time_gives_the_same_replies() -> None:
    whole, cut = Talk(settings=_LONG_SETTINGS), Talk(settings=_LONG_SETTINGS)
    assert b"".join(cut.say(LONG[i : i + 1]) for i in range(len(LONG))) == whole.say(LONG)
    assert len(whole.taken) == 4
    assert whole.then is Then.CLOSE


def test_chunks_make_a_message_and_dots_in_them_are_no_end() -> None:
    talk = Talk(settings=CHUNKING)
    sent = MAIL + RCPT + b"BDAT 6\r\na\r\n.\r\n" + b"BDAT 3 LAST\r\n.\r\n"
    assert talk.codes(sent) == ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.6.0"]
    assert talk.taken[0].body == b"a\r\n.\r\n.\r\n"


def test_several_messages_may_be_in_flight_by_bdat() -> None:
    talk = Talk(settings=CHUNKING)
    one = MAIL + RCPT + b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE
    refused = MAIL + b"RCPT TO:<bounce@x.example>\r\nBDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE
    ok = ["250 2.1.0", "250 2.1.5", "250 2.6.0"]
    assert talk.codes(one + refused + one) == [*ok, "250 2.1.0", "550 5.1.1", "554 5.5.1", *ok]
    assert [one.body for one in talk.taken] == [MESSAGE, MESSAGE]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"BDAT 3\r\nabcNOOP\r\n", ["503 5.5.1", "250 2.0.0"]),
        (b"BDAT\r\nBDAT x\r\nBDAT 3 FIRST\r\nBDAT -1\r\n", ["501 5.5.4"] * 4),
        (MAIL + RCPT + b"BDAT 2\r\n\r\n" + b"DATA\r\n" + RCPT,
         ["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1", "503 5.5.1"]),
        (MAIL + RCPT + b"BDAT 101\r\n" + b"x" * 101 + b"BDAT 1 LAST\r\ny" + MAIL,
         ["250 2.1.0", "250 2.1.5", "552 5.3.4", "503 5.5.1", "250 2.1.0"]),
        (MAIL + RCPT + b"BDAT 101 LAST\r\n" + b"x" * 101 + MAIL,
         ["250 2.1.0", "250 2.1.5", "552 5.3.4", "250 2.1.0"]),
    ],
)  # fmt: skip
def test_chunks_out_of_turn_are_read_and_refused(sent: bytes, answered: list[str]) -> None:
    talk = Talk(settings=Settings(chunking=True, max_size=100))
    assert talk.codes(sent) == answered
    assert not talk.taken
