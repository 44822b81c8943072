"""Batches with all that may have happened to them, for hypothesis."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from journals import HOUR, NOON, chunk, control

from sender.journal import core, orders
from sender.journal.values import BatchJournal, Ended, EndKind

SIZE = 120
KINDS: list[EndKind] = ["accepted", "failed", "in_doubt", "suppressed", "deferred", "not_begun"]
NOT_TAKEN: list[EndKind] = ["failed", "suppressed"]
TIMES = st.builds(lambda minutes: NOON + timedelta(minutes=minutes), st.integers(0, 3_000))


@st.composite
def outcomes(draw: st.DrawFn, journal: BatchJournal) -> list[Ended]:
    """Of some of those that are intended, most of them usual ones, and of some that are not."""
    intended = [i for i, letter in enumerate(journal.states()) if letter == "i"]
    indices = intended[: draw(st.integers(0, len(intended)))] + draw(st.lists(st.integers(0, SIZE - 1), max_size=3))
    odd = draw(st.dictionaries(st.integers(0, SIZE - 1), st.sampled_from(KINDS), max_size=8))
    found = []
    for i in indices:
        kind = odd.get(i, "accepted")
        ended = Ended(i, kind, draw(TIMES) if i in odd else NOON, email=f"p{i}@x.example", text="words", reason="why")
        if i in odd:
            recovered = draw(st.booleans())
            unread = "spool" if recovered and draw(st.booleans()) else ""
            ended = ended._replace(tries=draw(st.integers(0, 3)), recovered=recovered, unread=unread)
        found.append(ended)
    return found


@st.composite
def settled(draw: st.DrawFn, journal: BatchJournal) -> list[BatchJournal]:
    """The batch after all that its permit allows is done and everybody has his end; the last one may have ended."""
    journal, _ = core.begin(journal, SIZE, NOON, "spool")
    found = draw(st.dictionaries(st.integers(0, SIZE - 1), st.sampled_from(NOT_TAKEN), max_size=3))
    intended = core.interrupted(journal)
    over, _ = core.ended(journal, [Ended(i, found.get(i, "accepted"), NOON, email=f"p{i}@x.example") for i in intended])
    return [journal, over, *([core.finish(over, NOON, "done")[0]] if over.permit.active else [])]


@st.composite
def ended_and_opened_again(draw: st.DrawFn) -> list[BatchJournal]:
    """A batch that ends, and of which a later round opens who had failed; some times."""
    journals: list[BatchJournal] = []
    for number in range(draw(st.integers(1, 4))):
        made = chunk(number + 1, ((0, SIZE),), SIZE, round=number, issued_at=NOON)
        journals.append(core.take_permit(journals[-1] if journals else None, made, NOON)[0])
        journals += draw(settled(journals[-1]))
    return journals


@st.composite
def histories(draw: st.DrawFn) -> list[BatchJournal]:
    """A batch as it was after each of some steps."""
    zone, number, round_, deferrals, version = (
        draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"])),
        1,
        0,
        0,
        0,
    )
    retries = draw(st.integers(0, 2))

    def permit() -> BatchJournal:
        low = draw(st.integers(0, SIZE - 1))
        ranges = ((low, draw(st.integers(low + 1, SIZE))),)
        ways = draw(st.sampled_from(["hold", "resend"]))
        made = chunk(
            number, ranges, SIZE, round=round_, deferrals=deferrals, day_timezone=zone, in_doubt=ways, defer=True,
            max_retries=retries, issued_at=NOON + number * HOUR / 100,
        )  # fmt: skip
        return core.take_permit(journals[-1] if journals else None, made, NOON)[0]

    journals: list[BatchJournal] = []
    journals.append(permit())
    for step in draw(st.lists(st.sampled_from(["begin", "ended", "ended", "report", "permit", "order"]), max_size=12)):
        journal = journals[-1]
        if step == "begin":
            journal, _ = core.begin(journal, draw(st.integers(1, SIZE)), NOON, draw(st.sampled_from([None, "spool"])))
        elif step == "ended":
            journal, _ = core.ended(journal, draw(outcomes(journal)))
        elif step == "report":
            journal, _ = core.report(journal, NOON)
        elif step == "order":
            version += 1
            action = draw(st.sampled_from(["pause", "resume", "cancel", "evidence", "resolve"]))
            more = {"resolution": "drop"} if action == "resolve" else {}
            indices = ((3, 7),) if action == "evidence" else ()
            journal, _ = orders.order(journal, control(action, version, indices=indices, **more))
        elif not core.intended(journal):
            if journal.permit.active:
                journal, _ = core.finish(journal, NOON, "done")
            number, round_, deferrals = number + 1, round_ + draw(st.integers(0, 1)), draw(st.integers(0, 2))
            journals.append(journal)
            journal = permit()
        journals.append(journal)
    return journals
