from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from letters import DAY, KEY, NOON, campaign

from schemas.identity import CAMPAIGN_ID
from schemas.message_name import MessageName, message_tokens
from schemas.template.errors import RowError, SettingsProblem
from sender.message.compile import compile_message
from sender.message.verp import parse_return_path, return_paths
from sender.signing import return_path_of
from streams.settings import DomainSettings, Settings, SettingsError, load

NAMES = st.builds(
    MessageName, st.from_regex(CAMPAIGN_ID, fullmatch=True), st.integers(1, 10**6), st.integers(0, 10**6),
    st.integers(0, 99),
)  # fmt: skip
MAILBOX = "bounces@rebotes.example"


def path_of(name: MessageName, mailbox: str = MAILBOX) -> str:
    token = message_tokens(name.campaign_id, name.batch_number, name.round, DAY, KEY)(name.index).mail
    return return_paths(mailbox)(token)


@given(NAMES)
def test_a_return_path_says_its_message_or_is_the_mailbox_itself(name: MessageName) -> None:
    path = path_of(name)
    assert len(path.rpartition("@")[0]) <= 64  # RFC 5321, 4.5.3.1.1
    assert path == MAILBOX or parse_return_path(f"<{path}>", MAILBOX, [KEY]) == (name, DAY, "rebotes.example")
    assert path != MAILBOX or len(name.campaign_id) > 15


def test_what_is_not_ours_says_no_message() -> None:
    path = path_of(MessageName("c", 1, 2))
    assert path.startswith("bounces+c.1.2.0.260202.")
    found = parse_return_path(path.replace("bounces", "Bounces"), MAILBOX, [b"another", KEY])
    assert found == (MessageName("c", 1, 2), DAY, "rebotes.example")
    others = path.replace("c.1.2", "c.1.3"), path.replace("rebotes", "x"), path.replace(".260202.", ".260203.")
    for other in (*others, MAILBOX, "", "bounces+c@bore.example"):
        assert parse_return_path(other, MAILBOX, [KEY]) is None
    assert parse_return_path(path, MAILBOX, [b"another"]) is None


@pytest.mark.parametrize("html", ["<p>{{ first_name }}</p>", "<p>{% for i in range(2) %}{{ i }}{% endfor %}</p>"])
def test_only_the_sender_of_the_envelope_changes_in_either_way_of_filling(html: str) -> None:
    row, name = {"email": "ana@x.example", "first_name": "Ana"}, MessageName("cobranza-2026-02", 7, 3, 1)
    plain = compile_message(campaign(html=html)).fill(row, name, DAY, NOON)
    made = compile_message(campaign(html=html), return_path="bounces@börse.example").fill(row, name, DAY, NOON)
    assert plain.mail_from == "cobros@bore.example"
    token = plain.message_id.strip("<>").partition("@")[0]
    assert made == plain._replace(mail_from=f"bounces+{token}@xn--brse-5qa.example")


def test_a_mailbox_that_is_none_is_refused() -> None:
    with pytest.raises(RowError, match="not an address"):
        compile_message(campaign(), return_path="bounces")


def settings_of(directory: Path, mailbox: str, relay: str = 'type = "smtp"\nhost = "h.example"') -> Path:
    file = directory / "rampa.toml"
    file.write_text(f'[relays.main]\n{relay}\n[domains."bore.example"]\nrelay = "main"\nreturn_path = "{mailbox}"\n')
    return file


def test_a_domain_says_where_its_bounces_go(tmp_path: Path) -> None:
    settings = load(settings_of(tmp_path, "bounces@Rebotes.example"), {})
    assert return_path_of(settings, "bore.example") == MAILBOX
    assert return_path_of(settings, "other.example") is None


@pytest.mark.parametrize("mailbox", ["bounces", "a+b@x.example", "a b@x.example", "a@x", f"{21 * 'a'}@x.example", ""])
def test_what_leaves_no_room_for_a_name_is_refused(tmp_path: Path, mailbox: str) -> None:
    with pytest.raises(SettingsError, match="return_path"):
        load(settings_of(tmp_path, mailbox), {})


def test_a_mailbox_that_got_past_the_settings_is_said_to_be_a_mistake_in_them() -> None:
    wrong = DomainSettings.model_construct(relay="main", return_path="bounces")
    settings = Settings.model_construct(domains={"bore.example": wrong})
    with pytest.raises(SettingsProblem, match=r"the return_path of bore\.example cannot be used"):
        return_path_of(settings, "bore.example")


def test_ses_sets_its_own(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave it out"):
        load(settings_of(tmp_path, MAILBOX, 'type = "ses"\nregion = "eu-west-1"'), {})
