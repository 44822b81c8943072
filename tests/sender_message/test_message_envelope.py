from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import CAMPAIGN_ID
from sender.message.envelope import MessageName, message_id, parse_message_id

NAMES = st.builds(
    MessageName, st.from_regex(CAMPAIGN_ID, fullmatch=True), st.integers(1, 10**9), st.integers(0, 10**9),
    st.integers(0, 99),
)  # fmt: skip


@given(NAMES)
def test_a_message_id_says_its_message(name: MessageName) -> None:
    written = message_id(name, "bore.example")
    assert parse_message_id(written) == (name, "bore.example")
    # RFC 5322, 3.6.4: "<" dot-atom-text "@" dot-atom-text ">"
    assert re.fullmatch(r"<[A-Za-z0-9=_-]+(\.[A-Za-z0-9=_-]+)*@[a-z.]+>", written)


@given(NAMES, NAMES)
def test_two_messages_have_two_ids(a: MessageName, b: MessageName) -> None:
    assert (message_id(a, "x.example") == message_id(b, "x.example")) == (a == b)


def test_what_only_looks_like_ours_is_not() -> None:
    ours = message_id(MessageName("c", 1, 2), "bore.example")
    assert parse_message_id(ours.replace("c.1.2", "c.1.3")) is None
    assert parse_message_id(ours.replace("bore", "other")) is None
    assert parse_message_id("<20260202.1234@mail.example>") is None
    assert parse_message_id("") is None
    assert parse_message_id(f" {ours.strip('<>')} ") == (MessageName("c", 1, 2), "bore.example")
