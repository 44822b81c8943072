"""The table of replies, row by row, with what servers really say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp.outcomes import (
    HARD,
    Stage,
    classify,
    outcome_of,
    provider_id,
    relay_down,
    retry_delays,
    split_enhanced,
)  # fmt: skip
from sender.smtp.table import TABLE

REPLIES: list[tuple[Stage, int, str, str, str]] = [
    # stage, code, text, kind, reason
    ("rcpt", 550, "5.1.1 <a@example.com>: Recipient address rejected: User unknown", "failed", "bad_mailbox"),
    ("rcpt", 550, "No such user here", "failed", "bad_mailbox"),
    ("rcpt", 550, "5.1.2 Bad destination host: DNS says unknown", "failed", "bad_domain"),
    ("rcpt", 552, "5.2.2 Mailbox is full", "failed", "full"),
    ("rcpt", 452, "4.2.2 The email account that you tried to reach is over quota", "transient", "full"),
    ("rcpt", 550, "5.2.1 The email account that you tried to reach is disabled", "failed", "not_accepting"),
    ("rcpt", 554, "5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org", "refused", "blocked"),
    ("rcpt", 554, "5.7.1 Client host [192.0.2.7] blocked using dnsbl.example", "refused", "blocked"),
    ("rcpt", 554, "5.7.1 Relay access denied", "refused", "policy"),
    ("rcpt", 450, "4.7.1 Too many messages, slow down", "throttled", "throttled"),
    ("rcpt", 451, "4.7.1 Greylisted, try again later", "transient", "not_accepting"),
    ("rcpt", 451, "4.7.0 Temporary rate limit", "throttled", "throttled"),
    ("rcpt", 450, "4.2.1 The user you are trying to contact is receiving mail too quickly.", "transient",
     "not_accepting"),
    ("rcpt", 450, "4.2.1 Peak SMTP relay limit exceeded for customer.", "throttled", "throttled"),
    ("rcpt", 421, "4.3.0 Temporary System Problem", "throttled", "throttled"),
    ("rcpt", 451, "4.3.0 Mail server temporarily rejected message", "transient", "not_accepting"),
    ("rcpt", 553, "5.6.7 non-ASCII address", "failed", "policy"),
    ("mail", 530, "5.7.0 Authentication required", "relay_down", "relay"),
    ("mail", 535, "5.7.8 Error: authentication failed", "relay_down", "relay"),
    ("mail", 553, "5.7.1 <x@y>: Sender address rejected: not owned by user z", "relay_down", "domain"),
    ("mail", 550, "5.1.8 Bad sender", "relay_down", "domain"),
    ("mail", 550, "Sender refused", "relay_down", "domain"),
    ("mail", 454, "Throttling failure: Maximum sending rate exceeded", "throttled", "throttled"),
    ("mail", 454, "4.7.0 Temporary authentication failure", "relay_down", "relay"),
    ("mail", 552, "5.3.4 Message size exceeds fixed limit", "failed", "too_big"),
    ("mail", 555, "5.5.4 Unsupported option", "refused", "unknown"),
    ("mail", 452, "4.3.1 Insufficient system storage", "transient", "full"),
    ("message", 454, "Throttling failure: Daily message quota exceeded", "relay_down", "quota"),
    ("message", 550, "5.4.5 Daily user sending quota exceeded. For more information", "relay_down", "quota"),
    ("message", 451, "Authentication failed: Maximum credits exceeded", "relay_down", "quota"),
    ("message", 554, "Message rejected: Email address is not verified.", "refused", "policy"),
    ("message", 552, "5.7.0 This message was blocked because its content presents a potential security issue",
     "refused", "policy"),
    ("message", 550, "5.7.1 Our system has detected that this message is likely unsolicited mail", "refused", "spam"),
    ("message", 554, "Transaction failed", "refused", "policy"),
    ("message", 550, "5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy", "refused", "policy"),
    ("message", 452, "Too many messages", "throttled", "throttled"),
    ("message", 432, "something new", "transient", "not_accepting"),
    ("message", 599, "something new", "failed", "unknown"),
    ("message", 550, "Administrative prohibition", "refused", "policy"),
    ("rcpt", 550, "Administrative prohibition", "refused", "policy"),
    ("message", 550, "Message headers fail syntax check", "refused", "policy"),
    ("data", 554, "5.5.1 Error: no valid recipients", "refused", "policy"),
    ("message", 550, "No such user here", "failed", "bad_mailbox"),
    ("rcpt", 550, "Too many invalid recipients", "refused", "throttled"),
    ("rcpt", 550, "5.7.1 Too many unknown users from your address", "refused", "throttled"),
    ("rcpt", 454, "4.7.1 <x@y.example>: Recipient address rejected: Greylisted", "transient", "not_accepting"),
    ("rcpt", 454, "4.3.0 <x@y.example>: Temporary lookup failure", "transient", "not_accepting"),
    ("rcpt", 454, "4.4.4 no answer from the name server of y.example", "transient", "bad_domain"),
    ("rcpt", 454, "4.7.0 Temporary authentication failure", "relay_down", "relay"),
    ("mail", 454, "Temporary authentication failure", "relay_down", "relay"),
    # Amazon SES
    ("message", 554, "Message rejected: Sending paused for this account. For more information", "relay_down", "relay"),
    ("mail", 421, "Too many concurrent SMTP connections", "throttled", "throttled"),
    ("mail", 454, "Temporary authentication failure", "relay_down", "relay"),
    ("mail", 530, "Authentication required", "relay_down", "relay"),
    ("mail", 535, "Authentication Credentials Invalid", "relay_down", "relay"),
    ("message", 451, "Temporary service failure", "transient", "not_accepting"),
    ("message", 554, "Message rejected: Email address is not verified. The following identities failed the check: a@b",
     "refused", "policy"),
    # Gmail
    ("message", 421, "4.7.0 Our system has detected an unusual rate of unsolicited mail from your IP address",
     "throttled", "throttled"),
    ("message", 421, "4.7.28 Our system has detected an unusual rate of mail", "throttled", "throttled"),
    ("message", 451, "4.7.26 This mail has been rate limited because it is unauthenticated", "transient", "policy"),
    ("message", 550, "5.7.1 To protect our users from spam, mail sent from your IP address has been blocked", "refused",
     "blocked"),
    ("message", 550, "5.7.25 The IP address sending this message does not have a PTR record", "refused", "policy"),
    ("message", 550, "5.4.5 Daily SMTP relay limit exceeded for user", "relay_down", "quota"),
    ("rcpt", 452, "4.2.2 The recipient's inbox is out of storage; mailbox size limit exceeded", "transient", "full"),
    ("rcpt", 550, "5.2.1 The user you are trying to contact is receiving mail at a rate that prevents it", "failed",
     "not_accepting"),
    # Microsoft
    ("mail", 550, "5.7.1 Messages from [192.0.2.1] weren't sent. Part of their network is on our block list (S3150)",
     "relay_down", "relay"),
    ("rcpt", 550, "5.7.1 Messages from [192.0.2.1] weren't sent. Part of their network is on our block list (S3150)",
     "refused", "blocked"),
    ("rcpt", 550, "5.7.606 Access denied, banned sending IP [192.0.2.1]", "refused", "blocked"),
    ("rcpt", 550, "5.7.708 Access denied, traffic not accepted from this IP", "refused", "blocked"),
    ("rcpt", 550, "5.4.1 Recipient address rejected: Access denied", "failed", "bad_mailbox"),
    ("rcpt", 550, "5.7.133 Sender not authenticated for group", "failed", "policy"),
    ("rcpt", 451, "4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation",
     "throttled", "throttled"),
    ("rcpt", 451, "4.7.500 Server busy. Please try again later from [192.0.2.1]", "throttled", "throttled"),
    ("rcpt", 451, "4.7.0 Temporary server error. Please try again later. PRX4", "transient", "not_accepting"),
    ("rcpt", 432, "4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", "transient", "not_accepting"),
    ("message", 550, "5.1.8 Access denied, bad outbound sender", "relay_down", "relay"),
    ("message", 550, "5.7.705 Access denied, tenant has exceeded threshold", "relay_down", "relay"),
    ("mail", 530, "5.7.57 Client not authenticated to send mail", "relay_down", "relay"),
    # Yahoo
    ("mail", 421, "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume", "throttled",
     "throttled"),
    ("mail", 553, "5.7.1 [BL21] Connections will not be accepted from 192.0.2.1", "relay_down", "relay"),
    ("message", 554, "5.7.9 Message not accepted for policy reasons", "refused", "policy"),
    # Postfix says at RCPT what it thinks of client, HELO and sender
    ("rcpt", 554, "5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", "refused", "blocked"),
    ("rcpt", 553, "5.7.1 <x@y>: Sender address rejected: not owned by user z", "relay_down", "domain"),
    # What is refused for its From, and what is refused at MAIL for anything else of ours
    ("mail", 554, "5.7.1 You are not allowed to use this address as sender", "relay_down", "relay"),
    ("mail", 554, "5.7.1 The sender <x@y> is not permitted", "relay_down", "domain"),
    ("mail", 501, "5.1.7 Bad sender address syntax", "refused", "unknown"),
    ("mail", 554, "5.1.7 Invalid address", "relay_down", "domain"),
    ("mail", 501, "5.1.8 Domain of sender address <x@y> does not exist", "relay_down", "domain"),
    ("mail", 550, "5.7.23 SPF authentication failed for bore.example", "relay_down", "domain"),
    ("mail", 550, "5.7.27 Sender address has null MX", "relay_down", "domain"),
    ("rcpt", 556, "5.7.27 <x@y>: Sender address rejected: Domain y does not accept mail (nullMX)", "relay_down",
     "domain"),
    ("rcpt", 556, "5.1.10 <x@y>: Recipient address rejected: Domain y does not accept mail (nullMX)", "failed",
     "bad_mailbox"),
    ("mail", 550, "5.7.1 Authentication required", "relay_down", "relay"),
    ("mail", 550, "5.7.1 Client was not authenticated", "relay_down", "relay"),
    ("mail", 550, "You must issue a STARTTLS command first", "relay_down", "relay"),
    ("mail", 550, "Your account is suspended", "relay_down", "relay"),
    ("mail", 550, "5.7.1 Client host rejected: Access denied", "relay_down", "relay"),
    ("mail", 554, "No service here", "relay_down", "relay"),
    ("mail", 550, "5.4.5 Daily user sending quota exceeded", "relay_down", "quota"),
    ("rcpt", 550, "5.1.8 <x@y>: Sender address rejected: Domain not found", "relay_down", "domain"),
    ("message", 550, "5.7.60 SMTP; Client does not have permissions to send as this sender", "relay_down", "domain"),
    ("message", 554, "5.2.252 SendAsDenied; x@y not allowed to send as z@y", "relay_down", "domain"),
    ("message", 550, "The from address does not match a verified Sender Identity. Mail cannot be sent", "relay_down",
     "domain"),
    ("message", 550, "5.7.1 From address <x@y> is not authorized", "relay_down", "domain"),
    ("rcpt", 454, "4.7.1 <a@b.example>: Relay access denied", "transient", "policy"),
    ("rcpt", 450, "4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]", "transient", "policy"),
    ("rcpt", 450, "4.2.0 <a@b>: Recipient address rejected: Greylisted, see postgrey", "transient", "not_accepting"),
    ("rcpt", 421, "4.4.2 mx.example Error: timeout exceeded", "transient", "network"),
    # RFC 7504, 7505
    ("rcpt", 556, "Domain does not accept mail", "failed", "bad_domain"),
    ("rcpt", 550, "5.1.10 Recipient address has null MX", "failed", "bad_domain"),
    ("data", 503, "5.5.1 Error: need RCPT command", "transient", "unknown"),
    ("rcpt", 503, "5.5.1 Error: need MAIL command", "transient", "unknown"),
    ("mail", 503, "5.5.1 Error: send AUTH first", "relay_down", "relay"),
    # One mailbox's own limits are not the account's quota
    ("rcpt", 452, "4.2.2 <bob@example.com> has exceeded his daily mail quota", "transient", "full"),
    ("rcpt", 450, "4.2.1 recipient's daily message limit exceeded", "transient", "not_accepting"),
    ("message", 552, "5.2.3 daily message size limit of user", "failed", "too_big"),
    ("rcpt", 450, "The recipient's daily message limit is exceeded", "transient", "not_accepting"),
    ("rcpt", 450, "4.2.0 <bob@example.com>: daily message limit", "transient", "not_accepting"),
    ("rcpt", 550, "5.1.90 Your message can't be sent: daily limit for message recipients", "relay_down", "quota"),
    ("message", 550, "User hi@bore.example has exceeded its daily sending limit", "relay_down", "quota"),
    # Whose name is repeated, and by which host, says nothing of why
    ("rcpt", 550, "5.1.1 <antispam@example.com>: Recipient address rejected: User unknown", "failed", "bad_mailbox"),
    ("rcpt", 550, "No such user <junkmail@example.com>", "failed", "bad_mailbox"),
    ("rcpt", 550, "junk.mail@example.com: no such user", "failed", "bad_mailbox"),
    ("rcpt", 550, "User unknown at spam.example.com", "failed", "bad_mailbox"),
    ("rcpt", 550, "<blocklist@rbl.example>: user unknown", "failed", "bad_mailbox"),
    ("rcpt", 552, "5.2.2 <nospam@example.com> mailbox full", "failed", "full"),
    ("rcpt", 550, "5.1.1 user unknown (host mx1.example.com, not listed)", "failed", "bad_mailbox"),
    ("rcpt", 550, "user unknown (host mx1.example.com, not listed)", "failed", "bad_mailbox"),
    ("rcpt", 450, "<throttled@example.com>: too busy", "transient", "not_accepting"),
    ("message", 550, "Rejected as spam by our anti-spam filter", "refused", "spam"),
    ("message", 550, "rejected: antispam", "refused", "spam"),
    ("message", 554, "Spammer, go away", "refused", "spam"),
    ("message", 554, "X-SPAM_DETECTED", "refused", "spam"),
    ("message", 550, "5.1.0 hi@bore.example has exceeded the daily sending limit", "relay_down", "quota"),
    ("message", 554, "viruses found", "refused", "spam"),
    ("rcpt", 550, "5.7.1 your host is listed", "refused", "blocked"),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "code", "text", "kind", "reason"), REPLIES)
def test_what_servers_say_is_read(stage: Stage, code: int, text: str, kind: str, reason: str) -> None:
    outcome = outcome_of(stage, code, text)
    assert (outcome.kind, outcome.reason) == (kind, reason)


POLICY = (
    "Access denied: User `arn:aws:iam::1:user/x' is not authorized to perform `ses:SendRawEmail' on resource "
    "`arn:aws:ses:eu-west-1:1:identity/{}'"
)
VERIFY = "Message rejected: Email address is not verified. The following identities failed the check in region X: "


@pytest.mark.parametrize(
    ("identities", "rcpt_to", "ours"),
    [
        ("hi@bore.example", "Ana@example.com", True),
        ("ana@example.com, hi@bore.example", "Ana@example.com", True),
        ("ana@example.com", "Ana@example.com", False),
        ("example.com", "Ana@example.com", False),
        ("hi@bore.example", "", False),
        ("", "Ana@example.com", True),
    ],
)
def test_of_the_identities_that_ses_names_those_of_others_than_the_recipient_are_ours(
    identities: str, rcpt_to: str, ours: bool
) -> None:
    found = outcome_of("message", 554, VERIFY + identities, rcpt_to)
    assert (found.kind, found.reason) == (("relay_down", "domain") if ours else ("refused", "policy"))


@pytest.mark.parametrize(
    ("identity", "ours"), [("bore.example", True), ("hi@bore.example", True), ("ana@example.com", False)]
)
def test_the_identity_from_which_a_policy_does_not_let_us_send_is_ours_or_in_the_sandbox_the_recipients(
    identity: str, ours: bool
) -> None:
    found = outcome_of("message", 554, POLICY.format(identity), "Ana@example.com")
    assert (found.kind, found.reason) == (("relay_down", "domain") if ours else ("refused", "policy"))


def test_a_refusal_of_our_domain_says_so_in_its_first_word() -> None:
    assert str(relay_down(outcome_of("mail", 550, "5.1.8 Bad sender"))) == "domain: 550 5.1.8 Bad sender"
    assert str(relay_down(outcome_of("mail", 530, "5.7.0 Log in"))) == "refused: 530 5.7.0 Log in"


def test_every_row_can_decide_and_says_where_it_is_from() -> None:
    """A row that no reply of the examples reaches may still be right; one without a source may not."""
    known = {"5321", "3463", "2034", "5248", "4954", "1870", "7504", "7505", "7372", "7293", "6647", "6531", "SES",
             "GMAIL", "MS-NDR", "MS-OLC", "YAHOO", "SENDGRID", "POSTFIX", "EXIM", "SEEN"}  # fmt: skip
    for row in TABLE:
        named = re.findall(r"\[([A-Z0-9-]+)\]", re.sub(r"\[(TSS|BL)\d+\]", "", row.source))
        assert named, row
        assert set(named) <= known, row


def test_hard_are_those_whose_address_is_pointless_to_mail_again() -> None:
    hard = {text for stage, code, text, *_ in REPLIES if outcome_of(stage, code, text).reason in HARD}
    assert any("User unknown" in text for text in hard)
    assert not any("Mailbox is full" in text or "blocked" in text for text in hard)


def test_only_a_2xx_to_the_final_dot_is_accepted() -> None:
    assert outcome_of("message", 250, "2.0.0 Ok: queued as 4F1A").kind == "accepted"
    assert outcome_of("message", 251, "will forward").kind == "accepted"
    assert outcome_of("rcpt", 250, "Ok").kind != "accepted"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ok: queued as 3F2A1B", "3F2A1B"),
        ("Ok: queued as <abc@mail.example>", "abc@mail.example"),
        ("Ok 0102018f-aaaa-bbbb-000000", "0102018f-aaaa-bbbb-000000"),
        ("OK id=1sTxyz-0001Ab-2C", "1sTxyz-0001Ab-2C"),
        ("OK  1712345678 a1-20020a5d.35 - gsmtp", "1712345678 a1-20020a5d.35 - gsmtp"),
        ("Ok", ""),
        ("Message accepted for delivery", ""),
    ],
)
def test_the_relays_own_name_is_found(text: str, name: str) -> None:
    assert provider_id(text) == name


def test_an_enhanced_code_is_split_off_every_line() -> None:
    assert split_enhanced(550, "5.7.1 No\n5.7.1 really not") == ("5.7.1", "No really not")
    assert split_enhanced(550, "Nobody") == ("", "Nobody")
    assert split_enhanced(550, "4.7.1 of another class") == ("", "4.7.1 of another class")


@given(
    st.sampled_from(["mail", "rcpt", "data", "message"]),
    st.integers(400, 599),
    st.from_regex(r"(|[45]\.\d{1,2}\.\d{1,2})", fullmatch=True),
    st.text(max_size=60),
)
def test_every_refusal_has_a_kind_that_fits_its_class(stage: Stage, code: int, enhanced: str, text: str) -> None:
    kind, reason, source = classify(stage, code, enhanced, text)
    assert kind in {"failed", "refused", "transient", "throttled", "relay_down"}
    assert reason
    assert source.startswith("[")
    if code < 500:
        assert kind not in {"failed", "refused"}  # a 4xx never ends a recipient
    else:
        assert kind != "throttled"


def test_retries_wait_1_2_4_8_seconds() -> None:
    assert [retry_delays(n) for n in (-1, 0, 1, 3, 4, 9)] == [
        (), (), (1,), (1, 2, 4), (1, 2, 4, 8), (1, 2, 4, 8)
    ]  # fmt: skip
