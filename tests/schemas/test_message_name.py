"""Names of messages: what is written is read again by whoever has a key, and by nobody else."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.chunk import Chunk
from schemas.identity import CAMPAIGN_ID
from schemas.message_name import (
    Found,
    MessageName,
    message_id,
    message_tokens,
    parse_message_id,
    parse_url_token,
    read_message_id,
    signing_keys,
)

NAMES = st.builds(
    MessageName, st.from_regex(CAMPAIGN_ID, fullmatch=True), st.integers(1, 10**9), st.integers(0, 10**9),
    st.integers(0, 99),
)  # fmt: skip
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))
DAY = date(2026, 2, 2)
KEYS = signing_keys(["the newest of the settings", "an older one"], "9f4c1e")
NAME = MessageName("c", 1, 2)


def url_token(name: MessageName, day: date = DAY, key: bytes = KEYS[0]) -> str:
    return message_tokens(name.campaign_id, name.batch_number, name.round, day, key)(name.index).url


@given(NAMES, DAYS, st.sampled_from(KEYS))
@example(MessageName("a..b.", 1, 7, 0), date(2028, 2, 29), KEYS[0])
def test_a_message_id_says_its_message_and_day(name: MessageName, day: date, key: bytes) -> None:
    written = message_id(name, day, "bore.example", key)
    assert parse_message_id(written, KEYS) == read_message_id(written) == (name, day, "bore.example")
    # RFC 5322, 3.6.4: "<" dot-atom-text "@" dot-atom-text ">"
    assert re.fullmatch(r"<[A-Za-z0-9=_-]+(\.[A-Za-z0-9=_-]+)*@[a-z.]+>", written)
    assert parse_message_id(written, signing_keys([], "another installation")) is None


@given(NAMES, DAYS, st.sampled_from(KEYS))
def test_the_token_of_a_url_says_the_same(name: MessageName, day: date, key: bytes) -> None:
    assert parse_url_token(url_token(name, day, key), KEYS) == Found(name, day)
    assert parse_url_token(url_token(name, day, key), signing_keys([], "another installation")) is None


@given(st.tuples(NAMES, DAYS), st.tuples(NAMES, DAYS))
def test_two_messages_have_two_names(a: tuple[MessageName, date], b: tuple[MessageName, date]) -> None:
    assert (message_id(*a, "x.example", KEYS[0]) == message_id(*b, "x.example", KEYS[0])) == (a == b)
    assert (url_token(*a) == url_token(*b)) == (a == b)


@given(st.lists(st.integers(0, 40), max_size=40))
def test_in_whatever_order_indices_come_each_has_its_own_token(indices: list[int]) -> None:
    tokens = message_tokens("c", 1, 0, DAY, KEYS[0])
    assert [tokens(i) for i in indices] == [message_tokens("c", 1, 0, DAY, KEYS[0])(i) for i in indices]
    signatures = [part.rpartition(".")[2] for i in range(40) for part in tokens(i)]
    assert [len(one) for one in signatures] == [10, 16] * 40
    assert len({one[:10] for one in signatures}) == 80


def test_names_stay_as_they_were_written_once() -> None:
    """Bounces and clicks come weeks later."""
    said = hashlib.blake2b(b"rampa\nspring\n7\n1\n260202\n3", digest_size=52, key=KEYS[0]).hexdigest()
    mail, url = message_tokens("spring", 7, 1, DAY, KEYS[0])(13)
    assert (mail, url) == (f"spring.7.13.1.260202.{said[26:36]}", f"spring.7.13.1.260202.{said[36:52]}")


def test_who_knows_a_message_id_cannot_unsubscribe_by_it() -> None:
    mail, url = message_tokens("c", 1, 0, DAY, KEYS[0])(2)
    assert parse_url_token(mail, KEYS) is None
    assert parse_message_id(f"<{url}@bore.example>", KEYS) is None
    assert mail.rpartition(".")[2] not in url


def test_what_only_looks_like_ours_is_not() -> None:
    ours = message_id(NAME, DAY, "bore.example", KEYS[0])
    changes = {
        "c.1.2": "c.1.3", "c.": "d.", ".2.0.": ".2.1.", ".260202.": ".260203.", ".0.26": ".0.27",
        "c.1.2.": "c.01.2.", "<c.": "<c=2E.", "c.1.2.0.260202.": "c.1.2.0.20260202.",
    }  # fmt: skip
    for old, new in changes.items():
        assert old in ours
        assert parse_message_id(ours.replace(old, new), KEYS) is None
        token = url_token(NAME)
        assert parse_url_token(f"<{token}".replace(old, new).strip("<"), KEYS) is None
    for other in ("<20260202.1234@mail.example>", "", "<@>", "c.1.2.0.260202.0123456789", ours + ours):
        assert parse_message_id(other, KEYS) is None
    assert parse_message_id(ours, ()) is None
    assert parse_message_id(f" {ours.strip('<>').replace('bore', 'Bore')} ", KEYS) == (NAME, DAY, "bore.example")


def test_a_day_that_does_not_exist_is_none() -> None:
    for day in ("260230", "261301", "260100", "250229"):
        assert read_message_id(f"<c.1.2.0.{day}.0123456789@x.example>") is None
        assert parse_url_token(f"c.1.2.0.{day}.0123456789abcdef", KEYS) is None


TEXTS = st.text() | st.from_regex(r"<?[a-z=.0-9]{0,9}\.\d{1,20}\.\d{1,20}\.\d{1,3}\.\d{6}\.[0-9a-f]{10,16}(@.{0,9}>?)?")


@given(TEXTS)
@example("\ud83d.1.2.0.260202.0123456789@\ud83d")
@example("c.1.2.0.260202.0123456789@\ud83d")
@example("c.١.2.0.260202.0123456789abcdef")
@example("c" + ".1" * 50_000 + ".260202.0123456789abcdef")
def test_any_text_can_be_read(text: str) -> None:
    assert parse_message_id(text, KEYS) is None
    assert parse_url_token(text, KEYS) is None
    found = read_message_id(text)
    assert found is None or found.name.index < 10**18


def test_the_first_key_signs_and_the_installations_is_always_the_last() -> None:
    assert [len(key) for key in KEYS] == [32, 32, 32]
    assert len(set(KEYS)) == 3
    assert signing_keys([], "9f4c1e") == KEYS[2:]
    assert signing_keys(["9f4c1e"], "9f4c1e")[0] != KEYS[2]
    assert signing_keys(["an older one"], "9f4c1e") == KEYS[1:]
    old = message_id(NAME, DAY, "bore.example", signing_keys([], "9f4c1e")[0])
    assert parse_message_id(old, KEYS) == (NAME, DAY, "bore.example")


def test_a_permits_day_is_that_of_its_domain() -> None:
    values = {
        "permit_id": "main:1", "relay": "main", "campaign_id": "c", "batch_number": 1, "batch_size": 1,
        "ranges": ((0, 1),), "pointers": (), "content_hash": "h", "checksum": "s", "sending_domain": "bore.example",
        "connections": 1, "until": datetime(2026, 2, 3, 4, tzinfo=UTC),
    }  # fmt: skip
    late = datetime(2026, 2, 3, 3, 30, tzinfo=UTC)
    for zone, day in (("America/Bogota", DAY), ("UTC", date(2026, 2, 3)), ("Asia/Tokyo", date(2026, 2, 3))):
        permit = Chunk.model_validate(values | {"day_timezone": zone, "issued_at": late})
        assert permit.day() == Chunk.decode(permit.encode()).day() == day
