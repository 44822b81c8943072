"""What a spool says of an index, as an outcome that the journal takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from sender.journal.recovery import settled_by
from sender.journal.spool_evidence import MAY_HAVE_BEGUN, NEVER_BEGUN, Fate
from sender.journal.spool_lines import SpoolEnd
from sender.journal.values import Ended
from sender.smtp.outcomes import Kind

NOW = datetime(2026, 2, 2, 9, 0, tzinfo=UTC)
UNKNOWN = Ended(7, "in_doubt", NOW, email="a@b.example", message_id="<x@y>", reason="unknown", text="?", recovered=True)


def ended(kind: Kind, tries: int = 2) -> Ended:
    at = NOW - timedelta(minutes=1)
    return settled_by(UNKNOWN, Fate("ended", tries, SpoolEnd(kind, at, tries, 250, "2.0.0", "", "Ok", "4Xy")))


def test_what_was_never_on_a_wire_is_open_again_and_was_not_tried() -> None:
    assert settled_by(UNKNOWN, NEVER_BEGUN) == Ended(7, "not_begun", NOW, 0, "a@b.example", "<x@y>")


def test_what_was_on_a_wire_without_a_reply_stays_in_doubt() -> None:
    assert settled_by(UNKNOWN, MAY_HAVE_BEGUN) == UNKNOWN
    assert settled_by(UNKNOWN, Fate("begun", 3)).tries == 3


def test_what_was_accepted_is_accepted_as_the_server_said_it() -> None:
    assert ended("accepted") == Ended(
        7, "accepted", NOW - timedelta(minutes=1), 2, "a@b.example", "<x@y>", 250, "2.0.0", "Ok", "", "4Xy"
    )


@pytest.mark.parametrize("kind", get_args(Kind))
def test_nothing_that_a_server_may_have_taken_is_open_again(kind: Kind) -> None:
    wanted = {"accepted": "accepted", "failed": "failed", "lost_after": "in_doubt"}
    assert ended(kind).kind == wanted.get(kind, "not_begun")
    assert not ended(kind).recovered
