"""An address that a person types names one recipient in doubt, or the error says why it does not."""

from __future__ import annotations

from typing import Any

import pytest

from console.errors import ConsoleError
from console.resolving import in_doubt_at


def one(email: str, state: str = "in_doubt", index: int = 0, batch: int = 1) -> dict[str, Any]:
    return {"email": email, "state": state, "batch_number": batch, "index": index, "row": 0, "reason": ""}


EVERYBODY = [
    one("ana@mail.example"),
    one("Ben@mail.example", index=1),
    one("cem@mail.example", "accepted", 2),
    one("Dan@mail.example", index=3),
    one("DAN@mail.example", "duplicate", 0, 0),
    one("ana@mail.example", "duplicate", 0, 0),
    one("eva@xn--mnchen-3ya.example", index=5),
    one("fin@mail.example", "waiting"),
    one("FIN@mail.example", "duplicate", 0, 0),
]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ana@mail.example", "ana@mail.example"), (" ana@MAIL.example ", "ana@mail.example"),
        ("ANA@mail.example", "ana@mail.example"), ("ben@mail.example", "Ben@mail.example"),
        ("dan@mail.example", "Dan@mail.example"), ("DAN@mail.example", "Dan@mail.example"),
        ("eva@münchen.example", "eva@xn--mnchen-3ya.example"),
    ],
)  # fmt: skip
def test_one_is_found_by_his_address(typed: str, meant: str) -> None:
    assert in_doubt_at(EVERYBODY, typed, "c") == meant


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("who@mail.example", "nobody has the address who@mail.example"),
        ("cem@mail.example", "cem@mail.example is accepted, not in doubt"),
        ("FIN@mail.example", "fin@mail.example is waiting, not in doubt"),
    ],
)
def test_an_address_that_names_nobody_in_doubt_is_an_error_that_says_why(typed: str, says: str) -> None:
    with pytest.raises(ConsoleError) as error:
        in_doubt_at(EVERYBODY, typed, "c")
    assert says in str(error.value)
