"""What the owner of a batch may begin, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from journals import HOUR, NOON, chunk, control

from sender.journal import core, orders, rows
from sender.journal.values import BatchJournal, Ended, EndKind

DAY = NOON.date()


def started(**more: Any) -> BatchJournal:
    journal, taken, result = core.take_permit(None, chunk(**more), NOON)
    assert (taken, result) == ("started", None)
    return journal


def ends(journal: BatchJournal, kind: EndKind, *indices: int, **more: Any) -> BatchJournal:
    return core.ended(journal, [Ended(i, kind, NOON, email=f"p{i}@x.example", **more) for i in indices])[0]


def test_indices_are_begun_once_in_their_order() -> None:
    journal, first = core.begin(started(), 4, NOON)
    journal, second = core.begin(journal, 100, NOON)
    assert (first, second) == ([0, 1, 2, 3], [4, 5, 6, 7, 8, 9])
    assert core.begin(journal, 1, NOON)[1] == []


def test_only_permitted_indices_are_begun() -> None:
    journal = started(ranges=((48, 53), (100, 102)), size=120)
    assert core.begin(journal, 100, NOON)[1] == [48, 49, 50, 51, 52, 100, 101]


def test_a_permit_that_is_repeated_while_active_changes_nothing() -> None:
    journal = started()
    assert core.take_permit(journal, chunk(), NOON) == (journal, "ignored", None)


def test_a_permit_that_is_repeated_after_its_end_gets_the_same_answer_under_a_new_version() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal, final = core.finish(ends(journal, "accepted", *range(10)), NOON, "done")
    again, taken, result = core.take_permit(journal, chunk(), NOON + HOUR)
    assert result is not None
    assert (taken, again.states()) == ("answered", journal.states())
    assert result.version == final.version + 1
    assert result.model_copy(update={"version": final.version, "at": final.at}) == final
    assert (final.accepted, final.begun, final.sent_on, final.unsent) == (10, 10, {DAY: 10}, ())


def test_a_newer_permit_waits_for_the_end_of_the_active_one() -> None:
    assert core.take_permit(started(), chunk(2), NOON)[1] == "waiting"


def test_an_older_permit_is_answered_and_begins_nothing() -> None:
    journal, _, _ = core.take_permit(None, chunk(5, ((0, 4),)), NOON)
    journal, _ = core.begin(journal, 4, NOON)
    journal, taken, result = core.take_permit(journal, chunk(4), NOON)
    assert taken == "answered"
    assert result is not None
    assert (result.permit_id, result.final, result.begun) == (chunk(4).permit_id, True, 0)
    assert result.unsent == ((4, 10),)
    assert journal.permit.permit_id == chunk(5).permit_id


def test_nothing_is_begun_at_or_after_until() -> None:
    journal = started(until=NOON + HOUR)
    assert core.begin(journal, 1, NOON + HOUR)[1] == []


def test_a_permit_that_arrives_after_until_is_answered_with_all_its_indices_unsent() -> None:
    _, taken, result = core.take_permit(None, chunk(ranges=((2, 7),), until=NOON), NOON)
    assert result is not None
    assert (taken, result.stopped, result.unsent, result.begun) == ("answered", "expired", ((2, 7),), 0)


def test_a_permit_ends_only_when_nothing_of_it_is_intended() -> None:
    journal, _ = core.begin(started(), 1, NOON)
    with pytest.raises(ValueError, match="1 indices have no outcome"):
        core.finish(journal, NOON, "paused")


@pytest.mark.parametrize(("stopped", "refused"), [("relay_down", "relay"), ("domain_refused", "domain")])
def test_a_report_says_what_the_relay_refuses_as_gates_of_older_releases_understand(stopped: Any, refused: str) -> None:
    journal, result = core.finish(started(), NOON, stopped, "no")
    assert (result.stopped, result.refused, result.detail) == ("relay_down", refused, "no")
    again = core.report(journal, NOON + HOUR)[1]
    assert (again.stopped, again.refused) == ("relay_down", refused)


def test_who_is_in_doubt_is_sent_to_again_in_a_new_round_only_when_the_permit_says_so() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(ends(journal, "in_doubt", 0, 1, 2), "failed", *range(3, 10))
    journal, _ = core.finish(journal, NOON, "done")
    journal, taken, _ = core.take_permit(journal, chunk(6, round=1, resend=((1, 2),)), NOON)
    journal, indices = core.begin(journal, 10, NOON)
    assert (taken, indices, journal.states()) == ("started", [1, *range(3, 10)], "didiiiiiii")


def test_what_is_given_back_is_unsent_and_used_no_quota() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(ends(journal, "accepted", 0, 1), "not_begun", *range(2, 10), tries=0)
    _, result = core.finish(journal, NOON, "shutdown")
    assert (result.begun, result.unsent, result.accepted) == (2, ((2, 10),), 2)


def test_suppressed_addresses_and_bad_rows_use_no_quota() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(ends(journal, "suppressed", 0, tries=0), "failed", 1, tries=0, text="lacks x")
    journal = ends(journal, "failed", 2, tries=4, text="550 no")
    _, result = core.report(journal, NOON)
    assert (result.suppressed, result.failed, result.begun) == (1, ((1, 3),), 1)
    assert [(e.email, e.error, e.attempts) for e in result.errors] == [
        ("p1@x.example", "lacks x", 0),
        ("p2@x.example", "550 no", 4),
    ]


def test_only_the_last_five_errors_are_kept() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    _, result = core.report(ends(journal, "failed", *range(10)), NOON)
    assert [e.email for e in result.errors] == [f"p{i}@x.example" for i in range(5, 10)]


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "said"),
    [
        (550, "5.1.1", "no such user", "550 5.1.1 no such user"),
        (550, "", "no such user", "550 no such user"),
        (550, "5.1.1", "550 5.1.1 no such user", "550 5.1.1 no such user"),
        (550, "5.1.1", "550-5.1.1 no such user", "550-5.1.1 no such user"),
        (550, "5.1.1", "5.1.1 no such user", "550 5.1.1 no such user"),
        (550, "5.1.1", "5.1.10 is not your code", "550 5.1.1 5.1.10 is not your code"),
        (550, "", "5500 mails are enough", "550 5500 mails are enough"),
        (552, "5.2.2", "", "552 5.2.2"),
        (0, "", "lacks variable amount", "lacks variable amount"),
        (0, "", "", ""),
    ],
)
@pytest.mark.parametrize("kind", ["failed", "deferred"])
def test_an_error_is_the_reply_with_its_codes_each_said_once(
    kind: EndKind, code: int, enhanced: str, text: str, said: str
) -> None:
    journal = ends(core.begin(started(), 1, NOON)[0], kind, 0, code=code, enhanced=enhanced, text=text)
    _, result = core.report(journal, NOON)
    error = result.errors[0] if kind == "failed" else result.deferral
    assert error is not None
    assert error.error == said


def test_what_failed_is_sent_again_in_a_later_round_only() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(ends(journal, "accepted", *range(8)), "failed", 8, 9)
    journal, _ = core.finish(journal, NOON, "done")
    same_round = core.take_permit(journal, chunk(2), NOON)
    assert same_round[1] == "answered"
    journal, taken, _ = core.take_permit(journal, chunk(3, round=1), NOON)
    assert taken == "started"
    journal, indices = core.begin(journal, 10, NOON)
    assert indices == [8, 9]
    journal, facts = core.ended(journal, [Ended(8, "accepted", NOON)])
    assert [(f.round, f.attempt) for f in facts] == [(1, 2)]


def test_what_was_left_intended_is_in_doubt_and_counts_for_the_day_on_which_it_was_begun() -> None:
    journal, _ = core.begin(started(), 3, NOON)
    left = core.interrupted(journal)
    assert left == [0, 1, 2]
    journal, facts = core.ended(journal, [Ended(i, "in_doubt", NOON + 24 * HOUR, recovered=True) for i in left])
    assert [f.type for f in facts] == ["in_doubt"] * 3
    _, result = core.report(journal, NOON)
    assert (result.in_doubt, result.sent_on, result.begun) == (((0, 3),), {DAY: 3}, 3)


def test_those_in_doubt_are_sent_again_when_the_permit_says_so_and_within_what_it_permits() -> None:
    journal, _ = core.begin(started(in_doubt="resend"), 4, NOON)
    journal = ends(ends(journal, "accepted", 0), "in_doubt", 1, 2, 3, recovered=True)
    journal, again = core.begin(journal, 100, NOON)
    assert again == [1, 2, 3, 4, 5, 6]  # ten in all: four were begun before
    journal, facts = core.ended(journal, [Ended(1, "accepted", NOON)])
    assert facts[0].attempt == 2
    _, result = core.finish(ends(journal, "accepted", *again[1:]), NOON, "done")
    assert (result.begun, result.unsent) == (10, ((7, 10),))


@pytest.mark.parametrize("max_retries", [0, 1, 3])
@pytest.mark.parametrize("died", [(False, False), (True, False), (False, True), (True, True)])
def test_one_that_is_always_lost_is_sent_to_once_more_and_no_oftener(max_retries: int, died: tuple[bool, bool]) -> None:
    """The connection was lost, or the owner died with him on a wire."""
    policy: dict[str, Any] = {"in_doubt": "resend", "ranges": ((0, 1),), "size": 1, "max_retries": max_retries}
    journal, copies = started(**policy), 0
    for number in range(2, 30):
        while begun := core.begin(journal, 1, NOON)[1]:
            journal = ends(core.begin(journal, 1, NOON)[0], "in_doubt", *begun, recovered=died[copies])
            copies += 1
        journal, result = core.finish(journal, NOON, "done")
        if not result.unsent:
            break
        journal, taken, _ = core.take_permit(journal, chunk(number, **policy), NOON)
        assert taken == "started"
    assert (copies, result.in_doubt) == (2, ((0, 1),))


def test_who_is_resent_by_a_persons_order_gets_one_more_copy_and_no_new_budget() -> None:
    policy: dict[str, Any] = {"in_doubt": "resend", "ranges": ((0, 1),), "size": 1}
    journal = started(**policy)
    for _ in range(2):
        journal = ends(core.begin(journal, 1, NOON)[0], "in_doubt", 0)
        journal, _ = core.finish(journal, NOON, "done")
        journal, _, _ = core.take_permit(journal, chunk(2, **policy), NOON)
    assert journal.states() == "d"
    for round_ in (1, 2):
        journal, taken, _ = core.take_permit(journal, chunk(2 + round_, **policy, round=round_), NOON)
        assert taken == "started"
        journal = ends(core.begin(journal, 1, NOON)[0], "in_doubt", 0)
        assert core.begin(journal, 1, NOON)[1] == []
        journal, result = core.finish(journal, NOON, "done")
        assert (result.in_doubt, result.unsent) == (((0, 1),), ())


def test_what_failed_does_not_get_a_new_budget_of_copies_with_its_new_round() -> None:
    policy: dict[str, Any] = {"in_doubt": "resend", "ranges": ((0, 1),), "size": 1}
    journal = ends(core.begin(started(**policy), 1, NOON)[0], "in_doubt", 0)
    journal, _ = core.finish(journal, NOON, "done")
    journal, _, _ = core.take_permit(journal, chunk(2, **policy), NOON)
    journal = ends(core.begin(journal, 1, NOON)[0], "failed", 0, tries=2)
    journal, _ = core.finish(journal, NOON, "done")
    ((_, row),) = rows.changes(None, journal, NOON)  # the batch was one row in between, and its owner another one
    journal, _, _ = core.take_permit(rows.load(row or b"", ()), chunk(3, **policy, round=1), NOON)
    journal = ends(core.begin(journal, 1, NOON)[0], "in_doubt", 0)
    assert journal.states() == "d"


def test_an_order_to_pause_stops_beginning_and_a_later_permit_lifts_it() -> None:
    journal, news = orders.order(started(), control("pause", 1, at=NOON))
    assert news
    assert core.begin(journal, 1, NOON)[1] == []
    journal, result = core.finish(journal, NOON, core.stopped_by(journal.control))
    assert (result.stopped, result.unsent) == ("paused", ((0, 10),))
    assert core.take_permit(journal, chunk(2, issued_at=NOON), NOON)[1] == "answered"
    assert core.take_permit(journal, chunk(2, issued_at=NOON + HOUR / 4), NOON)[1] == "started"


def test_an_order_that_is_not_newer_is_ignored() -> None:
    journal, _ = orders.order(started(), control("resume", 2))
    assert orders.order(journal, control("cancel", 2)) == (journal, False)
    assert orders.order(journal, control("pause", 1)) == (journal, False)


@pytest.mark.parametrize(("resolution", "state", "event"), [("accepted", "a", "accepted"), ("drop", "f", "failed")])
def test_a_resolution_settles_those_in_doubt_and_is_reported(resolution: str, state: str, event: str) -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(ends(journal, "accepted", *range(8)), "in_doubt", 8, 9)
    journal, final = core.finish(journal, NOON, "done")
    journal, _ = orders.order(journal, control("resolve", 1, resolution=resolution, indices=((9, 10),)))
    assert orders.in_doubt(journal, journal.pending[0].indices) == [9]
    journal, facts, found = orders.resolve(journal, journal.pending[0], {9: "p9@x.example"}, NOON)
    assert found == 1
    assert [(f.type, f.ended.email, f.ended.reason) for f in facts] == [(event, "p9@x.example", "resolved")]
    assert (journal.states(), journal.pending) == ("a" * 8 + "d" + state, ())
    _, result = core.report(journal, NOON)
    assert (result.final, result.permit_id, result.in_doubt) == (True, final.permit_id, ((8, 9),))
    assert result.version == final.version + 1


def test_a_resolution_by_address_touches_nobody_else() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(journal, "in_doubt", 0, 1)
    journal, _ = orders.order(journal, control("resolve", 1, resolution="accepted", address="p1@X.example"))
    emails = {0: "p0@x.example", 1: "p1@x.example"}
    _, facts, found = orders.resolve(journal, journal.pending[0], emails, NOON)
    assert ([f.ended.index for f in facts], found) == ([1], 1)
    _, facts, found = orders.resolve(
        journal, control("resolve", 2, resolution="drop", address="P0@x.example"), emails, NOON
    )
    assert ([(f.ended.index, f.ended.email) for f in facts], found) == ([(0, "p0@x.example")], 1)  # capitals aside
    _, facts, found = orders.resolve(
        journal, control("resolve", 3, resolution="drop", address="p2@x.example"), emails, NOON
    )
    assert (facts, found) == ([], 0)


def test_to_resend_to_an_address_makes_it_open_and_is_reported() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    journal = ends(ends(journal, "accepted", *range(8)), "in_doubt", 8, 9)
    journal, _ = core.finish(journal, NOON, "done")
    order = control("resolve", 1, resolution="resend", address="p9@x.example")
    journal, _ = orders.order(journal, order)
    emails = {8: "p8@x.example", 9: "p9@x.example"}
    journal, facts, found = orders.resolve(journal, order, emails, NOON)
    assert (journal.states(), facts, found) == ("a" * 8 + "do", [], 1)
    journal, result = core.report(journal, NOON)
    assert (result.in_doubt, result.open) == (((8, 9),), ((9, 10),))
    assert orders.resolve(journal, order, emails, NOON)[2] == 0  # once is enough
    journal, _, _ = core.take_permit(journal, chunk(2, ranges=((9, 10),)), NOON)
    assert core.begin(journal, 10, NOON)[1] == [9]


def test_evidence_waits_for_who_is_still_intended_and_goes_away_when_there_is_no_doubt() -> None:
    journal, _ = core.begin(started(), 10, NOON)
    for version, index in ((1, 3), (2, 4)):
        journal, _ = orders.order(journal, control("evidence", version, indices=((index, index + 1),)))
    assert orders.next_order(journal) == (journal, None)
    journal = ends(journal, "in_doubt", 4)
    waiting, order = orders.next_order(journal)
    assert (waiting, order) == (journal, journal.pending[1])
    assert order is not None
    journal, facts, _ = orders.resolve(journal, order, {4: "p4@x.example"}, NOON)
    assert [(f.type, f.ended.index, f.ended.reason) for f in facts] == [("accepted", 4, "evidence")]
    journal = ends(journal, "accepted", 3)
    journal, order = orders.next_order(journal)
    assert (journal.pending, order, journal.states()) == ((), None, "iiiaa" + "i" * 5)
    journal, news = orders.order(journal, control("evidence", 3, indices=((3, 4),)))
    assert (news, journal.pending) == (True, ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"content_hash": "other"}, "was begun with hash"),
        ({"size": 11}, "has 11 recipients"),
        ({"ranges": ((5, 11),)}, "indices 5 to 11 of a batch of 10"),
    ],
)
def test_a_permit_that_does_not_fit_the_batch_is_refused(change: dict[str, Any], words: str) -> None:
    journal, _ = core.finish(started(ranges=((0, 1),)), NOON, "expired")
    _, taken, result = core.take_permit(journal, chunk(2, **change), NOON)
    assert result is not None
    assert (taken, result.stopped, result.begun) == ("answered", "error", 0)
    assert words in (result.detail or "")


def test_an_ended_batch_is_one_row_and_comes_back_whole_for_a_later_round() -> None:
    journal, _ = core.begin(started(ranges=((0, 120),), size=120), 120, NOON)
    recorded = journal
    journal = ends(ends(journal, "accepted", *range(100)), "failed", *range(100, 120))
    journal, _ = core.finish(journal, NOON, "done")
    written = rows.changes(recorded, journal, NOON)
    assert [(key, value is None) for key, value in written] == [
        (b"c/1#0", True), (b"c/1#50", True), (b"c/1#100", True), (b"c/1!", False),
    ]  # fmt: skip
    back = rows.load(written[-1][1] or b"", ())
    assert back.states() == journal.states()
    again, taken, _ = core.take_permit(back, chunk(2, ((0, 120),), 120, round=1), NOON)
    assert taken == "started"
    assert core.begin(again, 200, NOON)[1] == list(range(100, 120))
    assert len(rows.changes(rows.as_recorded(back), again, NOON)) == 4
