"""The lines of a spool: what is written is read, and what is torn is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.journal import spool_lines as lines
from sender.journal.spool_evidence import MAY_HAVE_BEGUN, NEVER_BEGUN, Fate, Missing, identity, read
from sender.journal.spool_lines import TEXT_KEPT, Slip, SpoolEnd
from sender.smtp.outcomes import Kind, Outcome, Reason

NOW = datetime(2026, 2, 2, 9, 0, 0, 123456, tzinfo=UTC)
TAKEN = SpoolEnd("accepted", NOW, 1, 250, "2.0.0", "", "Ok: queued as 4Xy", "4Xy")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ends = st.builds(
    SpoolEnd,
    kind=st.sampled_from(get_args(Kind)),
    at=st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - given a zone
    tries=st.integers(1, 99),
    code=st.integers(0, 999),
    enhanced=texts,
    reason=st.sampled_from(get_args(Reason)),
    text=texts,
    provider_id=texts,
)


def file(*payloads: bytes, number: int = 1, kept: Sequence[int] = ()) -> bytes:
    crc, out = 0, b""
    for payload in (lines.head("s@b", number, kept), *payloads):
        text, crc = lines.line(payload, crc)
        out += text
    return out


PAGE = Slip(3, ("c", 7, 0, "main:1"))
SLIP = lines.declared(PAGE)


def begin(index: int, tries: int = 1, slip: Slip = PAGE) -> bytes:
    return lines.begins([(slip, index, tries)])


def end(index: int, e: SpoolEnd, slip: Slip = PAGE) -> bytes:
    return lines.ends([(slip, index, e.tries, reply(e))], e.at)


def reply(e: SpoolEnd) -> Outcome:
    """What a server said."""
    return Outcome(e.kind, e.code, e.enhanced, e.text, e.provider_id, e.reason)


@given(texts, st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 99), texts, ends)
def test_what_is_written_is_read(
    campaign: str, batch: int, index: int, round_: int, permit: str, said: SpoolEnd
) -> None:
    page = Slip(3, (campaign, batch, round_, permit))
    lines_ = lines.declared(page), begin(index, 4, page), begin(index + 1, 1, page), end(index, said, page)
    found = read({1: file(*lines_)})
    assert found.damage == ""
    assert found.of(campaign, batch, index, round_) == Fate("ended", said.tries, said)
    assert found.of(campaign, batch, index + 1, round_) == MAY_HAVE_BEGUN
    assert found.of(campaign, batch, index + 2, round_) == NEVER_BEGUN
    assert found.of(campaign, batch, index, round_ + 1) == NEVER_BEGUN


def test_a_reply_that_is_no_text_is_kept_as_well_as_it_can_be() -> None:
    text = b"caf\xe9 \x00 \n".decode("utf-8", "surrogateescape")
    found = read({1: file(SLIP, begin(0), end(0, TAKEN._replace(text=text)))})
    assert found.of("c", 7, 0, 0) == Fate("ended", 1, TAKEN._replace(text="caf? \x00 \n"))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9))),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(0, 4))),
    st.lists(ends, min_size=1, max_size=4),
    st.integers(2, 10**6),
)
def test_several_in_a_line_say_what_each_says_in_a_line_of_its_own(
    begun: list[tuple[int, int]], ended: list[tuple[int, int, int]], said: list[SpoolEnd], other: int
) -> None:
    """Also when several have the very same reply, and when they are of several permits."""
    pages = PAGE, Slip(3 + other, ("d", 8, 1, "main:2"))
    declared = [lines.declared(page) for page in pages]
    replies, at = [reply(one) for one in said], said[0].at
    begins = [(pages[index % 2], index, tries) for index, tries in begun]
    came = [(pages[index % 2], index, tries, replies[which % len(replies)]) for index, tries, which in ended]
    together = [*([lines.begins(begins)] if begins else []), *([lines.ends(came, at)] if came else [])]
    apart = [*(lines.begins([one]) for one in begins), *(lines.ends([one], at) for one in came)]
    found = read({1: file(*declared, *together)})
    assert found == read({1: file(*declared, *apart)})
    assert found.damage == ""


def test_the_same_reply_is_in_a_line_once() -> None:
    ok, late = Outcome("accepted", 250, "2.0.0", "Ok"), Outcome("transient", 451, "4.3.0", "Later")
    line = lines.ends([(PAGE, i, 1, o) for i, o in enumerate([ok, ok, ok, late, late])], NOW)
    assert line.count(b"Ok") == line.count(b"Later") == 1
    found = read({1: file(SLIP, line)})
    assert [found.of("c", 7, i, 0).end for i in range(5)] == [
        *[SpoolEnd("accepted", NOW, 1, 250, "2.0.0", "", "Ok")] * 3,
        *[SpoolEnd("transient", NOW, 1, 451, "4.3.0", "", "Later")] * 2,
    ]


def test_one_reply_of_several_that_is_no_text_takes_no_other_with_it() -> None:
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    said = [TAKEN, TAKEN._replace(text=text), TAKEN]
    line = lines.ends([(PAGE, i, 1, reply(e)) for i, e in enumerate(said)], NOW)
    found = read({1: file(SLIP, lines.begins([(PAGE, i, 1) for i in range(4)]), line)})
    states = [found.of("c", 7, i, 0) for i in range(4)]
    assert states == [*(Fate("ended", 1, TAKEN._replace(text=words)) for words in (TAKEN.text, "caf?", TAKEN.text)),
                      MAY_HAVE_BEGUN]  # fmt: skip


def test_a_long_reply_is_cut() -> None:
    line = lines.ends([(PAGE, 0, 2, Outcome("failed", 550, "5.1.1", "y" * 100_000, "", "bad_mailbox", "rcpt"))], NOW)
    assert len(line) < 1000
    kept = read({1: file(SLIP, line)}).of("c", 7, 0, 0).end
    assert kept == SpoolEnd("failed", NOW, 2, 550, "5.1.1", "bad_mailbox", "y" * TEXT_KEPT)


def test_a_last_line_torn_at_any_byte_is_as_if_it_were_not_there() -> None:
    before = file(SLIP, begin(0), end(0, TAKEN), begin(1))
    whole = file(SLIP, begin(0), end(0, TAKEN), begin(1), end(1, TAKEN))
    for cut in range(len(before), len(whole)):
        assert read({1: whole[:cut]}) == read({1: before})
    assert read({1: whole}).of("c", 7, 1, 0).state == "ended"


def test_a_file_cut_at_any_byte_is_read_up_to_there() -> None:
    whole = file(SLIP, *(begin(i) for i in range(20)))
    for cut in range(len(file()), len(whole)):
        found = read({1: whole[:cut]})
        complete = whole[:cut].count(b"\n") - 2
        assert [found.of("c", 7, i, 0).state for i in range(20)] == [
            "begun" if i < complete else "never" for i in range(20)
        ]


@given(st.data())
def test_whatever_is_damaged_in_the_middle_nothing_after_it_is_believed(data: st.DataObject) -> None:
    payloads = [SLIP, *(begin(i) for i in range(6)), *(end(i, TAKEN) for i in range(6))]
    whole = file(*payloads).splitlines(keepends=True)
    at = data.draw(st.integers(1, len(whole) - 2))
    line = bytearray(whole[at])
    line[data.draw(st.integers(0, len(line) - 1))] ^= data.draw(st.integers(1, 255))
    how = data.draw(st.sampled_from([bytes(line), b"", whole[at][:-5]]))  # changed, gone, torn
    found = read({1: b"".join([*whole[:at], how, *whole[at + 1 :]])})
    assert found.damage != ""
    ended_before = max(0, at - 8)
    for i in range(8):
        assert found.of("c", 7, i, 0).state == ("ended" if i < ended_before else "begun")


def test_after_damage_only_a_reply_that_settles_is_believed() -> None:
    refused = TAKEN._replace(kind="transient", code=451)
    found = read({1: file(SLIP, end(0, TAKEN), end(1, refused)) + b"nonsense\n"})
    assert found.of("c", 7, 0, 0).state == "ended"
    assert found.of("c", 7, 1, 0) == Fate("begun", 1)
    assert found.of("c", 7, 2, 0) == Fate("begun", 1)


def test_a_line_of_another_version_counts_as_damage() -> None:
    reply = b'E["2026-02-02T09:00:00+00:00",["accepted",250,"","","Ok",""],'
    assert read({1: file(SLIP, reply + b"[3,0,1,0]]")}).damage == ""
    for payload in (b"x1", b"b9 1 1", b"e[3]", b"e{", b"b3 1", b"B[3,1]", b"B[9,1,1]", b"B3", b"E[[3]]", b"E[3]",
                    reply + b"[3,0,1,1]]", reply + b"[3,0,1,-1]]", reply + b"[3,0,1]]", reply + b"[9,0,1,0]]",
                    b"E[1,[],[]]"):  # fmt: skip
        assert read({1: file(SLIP, payload)}).damage != ""


def test_the_last_record_decides_over_all_generations() -> None:
    refused = TAKEN._replace(kind="transient", code=451)
    one = file(SLIP, begin(0), end(0, refused), b"n2")
    two = file(SLIP, begin(0, 2), number=2, kept=[1])
    assert read({1: one}.copy() | {2: two}).of("c", 7, 0, 0) == Fate("begun", 2)


def test_a_slip_number_means_what_its_own_generation_says() -> None:
    first, second = Slip(1, ("c", 7, 0, "p")), Slip(1, ("d", 8, 0, "p"))
    one = file(lines.declared(first), begin(0, slip=first), b"n2")
    two = file(lines.declared(second), begin(5, slip=second), number=2, kept=[1])
    found = read({1: one, 2: two})
    assert found.of("c", 7, 0, 0).state == found.of("d", 8, 5, 0).state == "begun"
    assert found.of("c", 7, 5, 0).state == "never"


def test_nobody_of_whom_a_spool_says_nothing_was_begun_and_a_begin_is_a_try() -> None:
    assert Fate("never") == NEVER_BEGUN == Fate("never", 0, None)
    assert Fate("begun", 1) == MAY_HAVE_BEGUN
    assert SpoolEnd("accepted", NOW) == SpoolEnd("accepted", NOW, 1, 0, "", "", "", "")


def test_only_a_head_in_order_tells_whose_a_file_is() -> None:
    found = identity(file(number=3, kept=[1]))
    assert found == {"spool": "s@b", "generation": 3, "kept": [1]}
    assert identity(file()[:-1]) is None
    assert identity(bytes([file()[0] ^ 1]) + file()[1:]) is None
    other, _ = lines.line(SLIP, 0)
    assert identity(other) is None


def test_the_first_damage_is_the_one_that_is_named() -> None:
    one = file(SLIP, begin(0)) + b"nonsense\n"
    two = file(SLIP, number=2, kept=[1]) + b"nonsense\n"
    assert read({1: one, 2: two}).damage.startswith("generation 1 ")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "no file"),
        ({2: file(number=2, kept=[1])}, "generation 1"),
        ({1: file(b"n2")}, "generation 2"),
        ({1: file(b"n2"), 3: file(number=3, kept=[1, 2])}, "generation 2"),
        ({1: b"", 2: file(number=2, kept=[1])}, "generation 1"),
        ({1: file(b"n2"), 2: file(number=2)[:-1]}, "generation 2"),
        ({1: b""}, "no file"),
    ],
)
def test_a_file_that_is_gone_leaves_no_evidence(files: dict[int, bytes], why: str) -> None:
    with pytest.raises(Missing, match=why):
        read(files)


def test_a_file_that_was_removed_because_it_was_settled_is_not_missed() -> None:
    assert read({2: file(b"r1", number=2, kept=[1])}).damage == ""
    assert read({3: file(b"r1", b"r2", number=3, kept=[1, 2])}).damage == ""


def test_a_settlement_is_known_when_the_file_that_said_it_is_settled_too() -> None:
    two = file(SLIP, begin(0), b"n3", number=2, kept=[1])  # generation 3 said r1
    assert read({2: two, 4: file(b"r3", number=4, kept=[2, 3])}).of("c", 7, 0, 0).state == "begun"


def test_a_new_file_without_its_first_line_was_never_used() -> None:
    one = file(SLIP, begin(0))
    for torn in (b"", file(number=2, kept=[1])[:-1]):
        assert read({1: one, 2: torn}) == read({1: one})


def test_a_torn_file_that_another_one_follows_is_damage() -> None:
    assert read({1: file(SLIP) + b"1234", 2: file(number=2, kept=[1])}).damage != ""


def test_only_a_first_line_tells_whose_file_it_is() -> None:
    assert (identity(file()) or {})["spool"] == "s@b"
    for data in (b"", b"00000000 h{}\n", file()[:-1], file()[1:], b"nonsense\n"):
        assert identity(data) is None
