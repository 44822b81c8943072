"""What SES answers, as outcomes: against the errors of botocore's service model, and the documented texts."""

from __future__ import annotations

from datetime import date

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import CAMPAIGN_ID
from schemas.message_name import MessageName
from sender.ses.account import AccountLimits, limits_of
from sender.ses.outcomes import TABLE, outcome_of_error, row_of
from sender.ses.tags import name_of, tags_of

DAY = date(2026, 2, 2)
MODEL = botocore.session.get_session().get_service_model("sesv2")
ERRORS = MODEL.operation_model("SendEmail").error_shapes


@pytest.mark.parametrize("shape", ERRORS, ids=lambda s: s.name)
def test_every_error_of_the_service_model_has_a_row_of_its_own(shape: botocore.model.Shape) -> None:
    row = row_of(shape.name, shape.metadata["error"]["httpStatusCode"], "Some words.")
    assert row.name != ".*"
    assert row.kind != "lost_after"


def test_the_service_model_has_the_errors_that_we_know() -> None:
    assert {shape.name for shape in ERRORS} == {
        "TooManyRequestsException", "LimitExceededException", "AccountSuspendedException", "SendingPausedException",
        "MessageRejected", "MailFromDomainNotVerifiedException", "NotFoundException", "BadRequestException",
    }  # fmt: skip


PAUSED = "Sending paused for this account. For more information, please check the inbox of the email address."
NOT_ALLOWED = (
    "User `arn:aws:iam::1:user/x' is not authorized to perform `ses:SendEmail' on resource "
    "`arn:aws:ses:eu-west-1:123456789012:identity/bore.example'"
)
NOT_VERIFIED = "Email address is not verified. The following identities failed the check in region EU-WEST-1: "


@pytest.mark.parametrize(
    ("name", "status", "text", "kind", "reason"),
    [
        ("TooManyRequestsException", 429, "Maximum sending rate exceeded.", "throttled", "throttled"),
        ("ThrottlingException", 400, "Maximum sending rate exceeded.", "throttled", "throttled"),
        ("Throttling", 400, "Rate exceeded", "throttled", "throttled"),
        ("Unknown", 429, "", "throttled", "throttled"),
        ("ThrottlingException", 400, "Daily message quota exceeded.", "relay_down", "quota"),
        ("TooManyRequestsException", 429, "Daily message quota exceeded", "relay_down", "quota"),
        ("LimitExceededException", 400, "Too many", "relay_down", "relay"),
        ("AccountSuspendedException", 400, "", "relay_down", "relay"),
        ("SendingPausedException", 400, "Sending is paused for configuration set x", "relay_down", "relay"),
        ("MessageRejected", 400, PAUSED, "relay_down", "relay"),
        ("BadRequestException", 400, "This account is suspended", "relay_down", "relay"),
        ("MailFromDomainNotVerifiedException", 400, "", "relay_down", "domain"),
        ("NotFoundException", 404, "Configuration set <x> does not exist.", "relay_down", "relay"),
        ("AccessDeniedException", 403, "User: arn:aws:iam::1:user/x is not authorized", "relay_down", "relay"),
        ("AccessDeniedException", 403, NOT_ALLOWED, "relay_down", "domain"),
        ("AccessDeniedException", 403, NOT_ALLOWED.replace("bore.example", "hi@bore.example"), "relay_down", "domain"),
        ("AccessDeniedException", 403, NOT_ALLOWED.replace("bore.example", "ana@example.com"), "refused", "policy"),
        ("ExpiredTokenException", 403, "The security token included in the request is expired", "relay_down", "relay"),
        ("InvalidSignatureException", 403, "Signature expired", "relay_down", "relay"),
        ("Whatever", 403, "", "relay_down", "relay"),
        ("MessageRejected", 400, NOT_VERIFIED + "ana@example.com", "refused", "policy"),
        ("MessageRejected", 400, NOT_VERIFIED + "hi@bore.example, ana@example.com", "relay_down", "domain"),
        ("MessageRejected", 400, NOT_VERIFIED + "bore.example", "relay_down", "domain"),
        ("MessageRejected", 400, NOT_VERIFIED + "Bore <hi@bore.example>", "relay_down", "domain"),
        ("MessageRejected", 400, "Email address is not verified.", "refused", "policy"),
        ("MessageRejected", 400, "Message length is more than 41943040 bytes long: '50000000'.", "failed", "too_big"),
        ("MessageRejected", 400, "The message contains a virus", "failed", "spam"),
        ("MessageRejected", 400, "Transaction failed: Illegal header 'x'.", "failed", "policy"),
        ("BadRequestException", 400, "Missing final '@domain'", "failed", "bad_mailbox"),
        ("BadRequestException", 400, "Domain contains dot-dot", "failed", "bad_mailbox"),
        ("BadRequestException", 400, "Illegal address", "failed", "bad_mailbox"),
        ("BadRequestException", 400, "Header name is wrong", "refused", "unknown"),
        ("BadRequestException", 400, "Invalid value for FromEmailAddress", "refused", "policy"),
        ("BadRequestException", 400, "Configuration set name is invalid: x y", "refused", "policy"),
        ("ValidationException", 400, "1 validation error detected: ToAddresses: bad address", "failed", "bad_mailbox"),
        ("SerializationException", 400, "", "refused", "unknown"),
        ("404", 404, "Not Found", "relay_down", "relay"),
        ("Unknown", 407, "Proxy Authentication Required", "relay_down", "relay"),
        ("RequestEntityTooLarge", 413, "", "failed", "too_big"),
        ("InternalServiceErrorException", 500, "", "transient", "not_accepting"),
        ("ServiceUnavailable", 503, "", "transient", "not_accepting"),
        ("InternalFailure", 500, "", "lost_after", "network"),
        ("502", 502, "Bad Gateway", "lost_after", "network"),
        ("504", 504, "", "lost_after", "network"),
        ("NeverHeardOf", 418, "", "transient", "unknown"),
        ("", 0, "", "lost_after", "unknown"),
        ("302", 302, "Found", "lost_after", "unknown"),
    ],
)
def test_an_error_becomes_an_outcome(name: str, status: int, text: str, kind: str, reason: str) -> None:
    found = outcome_of_error(name, status, text, "Ana@example.com")
    assert (found.kind, found.reason) == (kind, reason)
    assert name in found.text
    assert text in found.text


def test_every_row_decides_something() -> None:
    """A row that another one hides would be a trap to whoever reads the table."""
    words = ["", NOT_ALLOWED, "daily message quota exceeded", "maximum sending rate exceeded", "not verified",
             "too large", "virus", "address", "sending paused", "Sender"]  # fmt: skip
    names = {name for row in TABLE for name in row.name.replace("(Exception)?", "").split("|")} | {"X"}
    reached = {row_of(n, s, w) for n in names for s in (200, 400, 401, 404, 413, 429, 500, 503) for w in words}
    assert reached == set(TABLE)


@given(st.text(max_size=40), st.integers(0, 999), st.text(max_size=200))
def test_no_error_is_taken_for_success_and_none_without_a_name_burns_a_recipient(
    name: str, status: int, text: str
) -> None:
    found = outcome_of_error(name, status, text, "c@d.example")
    assert found.kind != "accepted"
    assert found.kind != "failed" or status == 413 or row_of(name, status, text).name != ".*"


@given(
    st.from_regex(CAMPAIGN_ID, fullmatch=True), st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**4),
    st.dates(),
)  # fmt: skip
def test_tags_carry_the_name_of_a_message_and_keep_to_the_rules(
    campaign: str, batch: int, index: int, round_: int, day: date
) -> None:
    name = MessageName(campaign, batch, index, round_)
    tags = tags_of(name, day)
    for tag in tags:
        for text in tag.values():
            assert 1 <= len(text) <= 256
            assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert name_of({tag["Name"]: [tag["Value"]] for tag in tags}) == (name, day)


def test_tags_of_others_are_no_name() -> None:
    ours = {tag["Name"]: [tag["Value"]] for tag in tags_of(MessageName("c", 1, 2, 0), DAY)}
    assert name_of({}) is None
    assert name_of({"ses:source-ip": ["1.2.3.4"], **ours}) == (MessageName("c", 1, 2, 0), DAY)
    for none in ([], ["2026-02-30"], ["260202"], ["\ud83d"]):
        assert name_of({**ours, "rampa_day": none}) == (MessageName("c", 1, 2, 0), None)
    for key in ours.keys() - {"rampa_day"}:
        assert name_of({**ours, key: []}) is None
        assert name_of({k: v for k, v in ours.items() if k != key}) is None
    assert name_of({**ours, "rampa_index": ["-1"]}) is None


def test_an_account_tells_its_limits() -> None:
    found = limits_of({"SendQuota": {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 150.0},
                       "ProductionAccessEnabled": False})  # fmt: skip
    assert found == AccountLimits(1.0, 200.0, 150.0, production=False)
    assert found.left_today == 50
    assert found.refusal == ""
    assert limits_of({}) == AccountLimits(None, None, 0.0)
    assert limits_of({"SendQuota": {"Max24HourSend": -1.0, "MaxSendRate": 90.0}}).left_today is None
    assert "paused" in limits_of({"SendingEnabled": False}).refusal
    assert "shut" in limits_of({"EnforcementStatus": "SHUTDOWN", "SendingEnabled": False}).refusal


def test_what_the_service_model_says_of_the_account_burns_nobody_and_what_it_says_of_a_message_its_recipient() -> None:
    """By the words of the model itself: the account, the sending domain, or the content of a message."""
    of_us, of_it = ("account", "sending domain", "too many", "exist"), ("content",)
    for shape in ERRORS:
        words = shape.documentation.lower()
        kind = outcome_of_error(shape.name, shape.metadata["error"]["httpStatusCode"], "Some words.").kind
        if any(of in words for of in of_us):
            assert kind in {"relay_down", "throttled"}, shape.name
        elif any(of in words for of in of_it):
            assert kind == "failed", shape.name
        else:
            assert kind == "refused", shape.name  # `BadRequestException`: the input is invalid
