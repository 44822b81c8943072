"""Bytes of a transaction, replies out of a stream, and what a relay's conduct teaches."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.dialogue import stuffed
from sender.smtp.learned import ENOUGH, Learned, Mode, Report, learn, mode_for
from sender.smtp.replies import MAX_LINE, MAX_LINES, Reply, ReplyReader, words
from sender.smtp.wire import Offer, Outgoing, Unsendable, body, chunk, envelope

# -- wire ---------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([b".", b"a", b"\r\n", b"..", b"=2E"]), max_size=12).map(b"".join))
def test_a_body_is_stuffed_as_the_lock_step_dialogue_does_it(content: bytes) -> None:
    assert b"".join(body(Outgoing("a@b.example", "c@d.example", content))) == stuffed(content)


def test_a_body_that_is_said_to_have_no_dots_is_not_looked_through() -> None:
    content, end = body(Outgoing("a@b.example", "c@d.example", b"x\r\n", dotless=True))
    assert (content, end) == (b"x\r\n", b".\r\n")


def test_a_chunk_ends_its_last_line_as_data_would() -> None:
    assert chunk(Outgoing("a@b.example", "c@d.example", b".x")) == b".x\r\n"
    assert chunk(Outgoing("a@b.example", "c@d.example", b".x\r\n")) == b".x\r\n"


@pytest.mark.parametrize(
    ("said", "size"), [("", 0), ("0", 0), ("100", 100), ("no", 0), ("-5", 0), ("٣", 0), ("9" * 30, 0)]
)
def test_the_relays_size_is_read_with_care(said: str, size: int) -> None:
    assert Offer.of({"SIZE": said}).size == size


def test_keywords_count_in_any_case() -> None:
    assert Offer.of({"Pipelining": "", "CHUNKING": "", "8BITMIME": "", "smtputf8": ""}) == Offer(
        pipelining=True, chunking=True, eight_bit=True, smtputf8=True
    )


@given(st.text(max_size=20), st.text(max_size=20), st.booleans())
def test_no_address_adds_a_line_to_what_is_written(sender: str, recipient: str, smtputf8: bool) -> None:
    message = Outgoing(sender, recipient, b"x", smtputf8)
    try:
        lines = envelope(message, Offer(smtputf8=True, eight_bit=True, size=0), "RSET\r\n", "DATA\r\n")
    except Unsendable:
        return
    assert lines.count(b"\r") == lines.count(b"\n") == 4


# -- replies ------------------------------------------------------------------------------------------------

_CODES = st.integers(200, 599)
_TEXT = st.binary(max_size=40).filter(lambda text: b"\n" not in text)


def _encoded(code: int, lines: list[bytes]) -> bytes:
    return b"".join(b"%d%b%b\r\n" % (code, b" " if n == len(lines) - 1 else b"-", line) for n, line in enumerate(lines))


def _read(data: bytes, cuts: list[int]) -> tuple[list[Reply], str | None, bool]:
    reader, replies = ReplyReader(), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        replies += reader.feed(data[start:end])
    return replies, reader.problem, reader.within


@given(
    st.lists(st.tuples(_CODES, st.lists(_TEXT, min_size=1, max_size=4)), max_size=6),
    st.lists(st.integers(0, 1000), max_size=9),
)
def test_replies_are_the_same_however_the_stream_is_cut(said: list[tuple[int, list[bytes]]], cuts: list[int]) -> None:
    data = b"".join(_encoded(code, lines) for code, lines in said)
    replies, problem, within = _read(data, cuts)
    assert [code for code, _ in replies] == [code for code, _ in said]
    assert [text.split() for _, text in replies] == [b"\n".join(lines).split() for _, lines in said]
    assert (problem, within) == (None, False)
    assert _read(data, cuts) == _read(data, list(range(len(data))))


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_no_stream_is_read_in_two_ways(data: bytes, cuts: list[int]) -> None:
    replies, problem, _ = _read(data, [])
    again, problem_again, _ = _read(data, cuts)
    assert (replies, problem) == (again, problem_again)


@pytest.mark.parametrize(
    "data", [b"what?\r\n", b"99 x\r\n", b"250x\r\n", b"2500 x\r\n", b"\r\n", b"650 x\r\n", b"\xb2\xb3\xb4 x\r\n"]
)
def test_what_is_no_reply_ends_the_reading(data: bytes) -> None:
    replies, problem, _ = _read(b"250 ok\r\n" + data + b"250 ok\r\n", [])
    assert replies == [(250, b"ok\r")]
    assert problem is not None


def test_lines_of_a_reply_must_agree() -> None:
    assert _read(b"250-a\r\n550 b\r\n", [])[1] == "the lines of a reply begin with 250 and 550"
    assert _read(b"250-a\r\n354 b\r\n", [])[1] == "the lines of a reply begin with 250 and 354"
    assert _read(b"250-a\r\n250 b\r\n", [])[0] == [(250, b"a\nb")]


def test_a_reply_that_has_begun_and_not_ended_is_known() -> None:
    reader = ReplyReader()
    assert not reader.within
    for part, replies in ((b"250-a", 0), (b"\r\n", 0), (b"250 b", 0), (b"\r\n35", 1), (b"4 go\r", 0)):
        assert len(reader.feed(part)) == replies
        assert reader.within
    assert reader.feed(b"\n") == [(354, b"go\r")]
    assert not reader.within


def test_a_code_alone_and_a_bare_line_feed_are_understood() -> None:
    assert [code for code, _ in _read(b"250\r\n354\n250 ok\n", [])[0]] == [250, 354, 250]


def test_a_reply_is_bounded() -> None:
    assert "octets" in (_read(b"250 " + b"x" * MAX_LINE + b"\r\n", [])[1] or "")
    assert "octets" in (_read(b"250 " + b"x" * MAX_LINE, [])[1] or "")
    longest = b"250 " + b"x" * (MAX_LINE - 4)
    assert [len(text.strip()) for _, text in _read(longest + b"\r\n" + longest + b"\n", [])[0]] == [MAX_LINE - 4] * 2
    assert "octets" in (_read(longest + b"x\n", [])[1] or "")
    assert _read(longest, [])[1:] == (None, True)
    for cut in (MAX_LINE, MAX_LINE + 1):
        assert len(_read(longest + b"\r\n", [cut])[0]) == 1
    assert "lines" in (_read(b"250-x\r\n" * (MAX_LINES + 1), [])[1] or "")
    assert _read(b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n", [])[1] is None


def test_a_reply_in_any_encoding_has_words() -> None:
    assert words(b" 5.1.1 no\xff such user\r") == "5.1.1 no\ufffd such user"


@pytest.mark.parametrize("octet", [b"\x01", b"\xff", b"x"])
def test_the_words_of_the_longest_reply_fit_into_a_record(octet: bytes) -> None:
    line = octet * (MAX_LINE - 6)
    reader = ReplyReader()
    [(code, text)] = reader.feed((b"550-" + line + b"\r\n") * (MAX_LINES - 1) + b"550 " + line + b"\r\n")
    assert code == 550
    assert len(orjson.dumps(words(text))) < 50_000


# -- learned ------------------------------------------------------------------------------------------------

BOTH = Offer(pipelining=True, chunking=True)


@pytest.mark.parametrize(
    ("offer", "mode"),
    [
        (Offer(), Mode.LOCK_STEP),
        (Offer(chunking=True), Mode.LOCK_STEP),
        (Offer(pipelining=True), Mode.PIPELINING),
        (BOTH, Mode.CHUNKING),
    ],
)
def test_what_is_offered_is_used(offer: Offer, mode: Mode) -> None:
    assert mode_for(offer, Learned()) is mode


def test_a_relay_out_of_step_comes_down_a_mode_at_a_time() -> None:
    learned = learn(Learned(), Report(Mode.CHUNKING, "out_of_step", text="250 is no answer"))
    assert mode_for(BOTH, learned) is Mode.PIPELINING
    assert "250 is no answer" in learned.why
    learned = learn(learned, Report(Mode.PIPELINING, "out_of_step"))
    assert mode_for(BOTH, learned) is Mode.LOCK_STEP
    assert learn(learned, Report(Mode.LOCK_STEP, "out_of_step")) == learned


@pytest.mark.parametrize(("problem", "connections"), [("refused", 2), ("timeout", 2), ("closed", 4), ("cut", 2)])
def test_one_bad_connection_is_no_proof(problem: str, connections: int) -> None:
    learned = Learned()
    for n in range(connections):
        assert learned.ceiling is Mode.CHUNKING, n
        learned = learn(learned, Report(Mode.CHUNKING, problem, accepted=0))  # type: ignore[arg-type]
    assert learned.ceiling is Mode.PIPELINING


def test_a_good_connection_forgives_the_bad_ones() -> None:
    learned = Learned()
    for _ in range(50):
        learned = learn(learned, Report(Mode.CHUNKING, "refused", accepted=5))
        learned = learn(learned, Report(Mode.CHUNKING, None, accepted=5))
    assert learned.ceiling is Mode.CHUNKING


def test_a_network_that_fails_teaches_nothing_about_a_relay_that_has_shown_it_can() -> None:
    learned = Learned()
    for _ in range(50):
        learned = learn(learned, Report(Mode.PIPELINING, "closed", accepted=9, proved=True))
    assert learned == Learned()


def test_an_old_connection_in_a_mode_given_up_teaches_nothing_more() -> None:
    learned = Learned(ceiling=Mode.PIPELINING, points=ENOUGH - 1)
    assert learn(learned, Report(Mode.CHUNKING, "out_of_step")) == learned
