"""Who is refused by policy: a recipient, a domain's customers, or we."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.refusals import IN_A_ROW, UNANSWERED, Refusals


def judge(refusals: Refusals, *addresses: str, again: bool = False) -> list[str]:
    return [refusals.refused(a, again=again) for a in addresses]


def test_a_relay_that_refuses_recipients_of_several_domains_in_a_row_is_down() -> None:
    assert judge(Refusals(), "a@x", "b@x", "c@y", "d@z", "e@x", "f@x") == ["later"] * 4 + ["down"] * 2


def test_one_domain_alone_does_not_bring_a_relay_down() -> None:
    refusals = Refusals()
    assert set(judge(refusals, *(f"p{i}@x" for i in range(100)))) == {"later"}
    assert judge(refusals, "a@y") == ["down"]  # by now it refuses others as well


def test_a_relay_that_takes_mail_or_knows_a_recipient_is_not_down() -> None:
    for shows in (Refusals.accepted, lambda r, _: r.dealt_with()):
        refusals = Refusals()
        judge(refusals, "a@x", "b@y", "c@z", "d@x")
        shows(refusals, "e@w")
        assert judge(refusals, "f@x", "g@y", "h@z", "i@x", "j@y") == ["later"] * 4 + ["down"]


def test_who_is_refused_again_has_failed_when_his_domain_takes_other_mail() -> None:
    refusals = Refusals()
    assert judge(refusals, "a@x") == ["later"]
    assert judge(refusals, "a@x", again=True) == ["later"]  # of that domain nothing is known
    refusals.accepted("b@X")
    assert judge(refusals, "a@x", again=True) == ["failed"]


def test_a_domain_that_refuses_one_after_the_other_is_not_believed_to_mean_them() -> None:
    refusals = Refusals()
    refusals.accepted("b@x")
    assert judge(refusals, *(f"p{i}@x" for i in range(10)), again=True) == ["failed"] + ["later"] * 9


def test_that_a_domain_took_mail_before_somebody_was_refused_says_nothing_of_him() -> None:
    refusals = Refusals()
    refusals.accepted("b@x")
    assert judge(refusals, "a@x") == ["later"]  # it is from now on, perhaps, that all are refused
    assert judge(refusals, "a@x", again=True) == ["later"]
    refusals.accepted("b@x")
    assert judge(refusals, "a@x", again=True) == ["failed"]


def test_that_a_domain_takes_mail_from_another_sending_domain_says_nothing_of_ours() -> None:
    refusals = Refusals()
    for deferred in (False, True, True):
        assert refusals.refused("a@x", again=deferred, sender="bad") == "later"
        refusals.accepted("b@x", "good")
    refusals.accepted("b@x", "bad")
    assert refusals.refused("a@x", again=True, sender="bad") == "failed"


def test_a_sending_domain_of_which_a_relay_takes_nothing_is_refused_alone_while_it_takes_others() -> None:
    refusals, found = Refusals(), []
    for address in ("a@x", "b@y", "c@x", "d@z", "e@x", "f@x"):
        refusals.accepted("g@x", "good")
        found.append(refusals.refused(address, again=False, sender="bad"))
    assert found == ["later"] * 4 + ["domain"] * 2
    refusals.accepted("h@x", "bad")
    assert refusals.refused("i@y", again=False, sender="bad") == "later"


def test_a_relay_that_took_the_last_mail_of_another_domain_is_down_only_when_it_refuses_that_one_too() -> None:
    refusals = Refusals()
    refusals.accepted("g@x", "good")
    bad = [refusals.refused(f"{i}@{i % 2}", again=False, sender="bad") for i in range(9)]
    assert bad == ["later"] * 4 + ["domain"] * 5
    good = [refusals.refused(f"{i}@{i % 2}", again=False, sender="good") for i in range(9)]
    assert good == ["later"] * 4 + ["down"] * 5


def test_a_last_try_is_no_failure_because_other_sending_domains_are_taken() -> None:
    refusals = Refusals()
    refusals.accepted("b@x", "good")
    refusals.refused("a@x", again=True, sender="bad")
    assert refusals.unsure(9, "bad")
    refusals.dealt_with("bad")
    assert not refusals.unsure(9, "bad")


def test_only_so_many_domains_are_remembered() -> None:
    refusals = Refusals()
    for i in range(10_500):
        refusals.accepted(f"a@d{i}")
    assert len(refusals.taken) == 10_000
    assert ("", "d10499") in refusals.taken


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["taken", "refused", "again", "dealt"])), max_size=60)
)
def test_nobody_fails_at_first_sight_and_a_relay_goes_down_only_by_refusals_in_a_row(
    steps: list[tuple[str, str]],
) -> None:
    refusals, row = Refusals(), 0
    for domain, what in steps:
        if what == "taken":
            refusals.accepted(f"p@{domain}")
            row = 0
        elif what == "dealt":
            refusals.dealt_with()
            row = 0
        else:
            row += 1
            judgement = refusals.refused(f"p@{domain}", again=what == "again")
            assert (judgement == "failed") <= (what == "again")
            assert (judgement == "down") <= (row >= IN_A_ROW)


def test_a_relay_that_lets_no_message_come_to_its_reply_is_down_and_a_probe_that_is_lost_keeps_it_down() -> None:
    refusals = Refusals()
    assert [refusals.lost(probe=False) for _ in range(UNANSWERED + 1)] == [False] * (UNANSWERED - 1) + [True] * 2
    assert Refusals().lost(probe=True)  # also in a process that has lost none before
