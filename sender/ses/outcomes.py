"""What an answer of the SES API means for a message: a table that a mail engineer can read. Pure.

Rows are asked from top to bottom, and the first that matches decides. `refused`: perhaps this message, perhaps
everything from us; `sender.smtp.refusals` decides by what else SES does with our mail. Sources, all of Amazon:

- [API] "SendEmail", errors, in the API reference of SES v2 (and the service model that botocore carries)
- [COMMON] "Common Errors" in the same reference
- [QUOTA] "Errors related to the sending quotas for your Amazon SES account" in the developer guide
- [VERIFY] "Email address is not verified", common issues, in the developer guide
- [SEEN] no document: wordings that SES is known to use

`code` of an outcome is what the SMTP interface of SES answers in the same case, so that figures can be
compared; the diagnostic begins with the API's own name of the error.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sender.smtp.outcomes import Kind, Outcome, Reason, blames_sender


class Row(NamedTuple):
    """`name` and `text` are regular expressions: the whole name of the error; a part of its text, in any case."""

    name: str
    status: str
    text: str
    kind: Kind
    reason: Reason
    code: int
    enhanced: str


_ANY = ".*"
_OF_IDENTITY = r"on resource\b.{0,80}:identity/"

TABLE: tuple[Row, ...] = (
    # --- less speed ----------------------------------------------------------------------------------------
    # [QUOTA] "Daily message quota exceeded" comes under the same names as the rate. It lasts for hours, and
    # slower is no remedy: hold everything.
    Row(_ANY, "4..", r"daily message quota exceeded", "relay_down", "quota", 454, "4.7.0"),
    # [QUOTA] "Maximum sending rate exceeded"; [API] TooManyRequestsException (429); [COMMON] ThrottlingException.
    Row("TooManyRequestsException|Throttling(Exception)?|RequestThrottled(Exception)?|RequestLimitExceeded|SlowDown",
        _ANY, "", "throttled", "throttled", 454, "4.7.0"),
    Row(_ANY, "4..", r"maximum sending rate exceeded", "throttled", "throttled", 454, "4.7.0"),
    Row(_ANY, "429", "", "throttled", "throttled", 454, "4.7.0"),
    # --- the account, not the recipient ----------------------------------------------------------------------
    # [API] AccountSuspendedException: restricted for good. SendingPausedException: of the account, or of the
    # configuration set.
    Row("AccountSuspendedException|SendingPausedException|ConfigurationSetSendingPausedException"
        "|AccountSendingPausedException",
        _ANY, "", "relay_down", "relay", 554, "5.7.1"),
    # [SEEN] "Sending paused for this account. For more information, please check the inbox ..."
    Row("MessageRejected|BadRequestException", _ANY,
        r"(sending|account)\b.{0,40}\b(paused|suspended|shut ?down|disabled|under review|restricted)", "relay_down",
        "relay", 554, "5.7.1"),
    # [API] LimitExceededException: "too many instances of the specified resource type": a quota of the account.
    Row("LimitExceededException", _ANY, "", "relay_down", "relay", 454, "4.7.0"),
    # [API] NotFoundException: all that a raw message refers to is the configuration set.
    Row("NotFoundException|ConfigurationSetDoesNotExist(Exception)?", _ANY, "", "relay_down", "relay", 554, "5.7.1"),
    # [API] MailFromDomainNotVerifiedException: of the sending domain alone; the account's others may go on.
    Row("MailFromDomainNotVerified(Exception)?", _ANY, "", "relay_down", "domain", 554, "5.7.1"),
    # [SEEN] "User `arn:...' is not authorized to perform `ses:SendEmail' on resource
    # `arn:aws:ses:eu-west-1:123456789012:identity/bore.example'": a policy may allow other identities.
    # In the sandbox the identity may be the recipient's: `outcome_of_error` looks.
    Row("AccessDenied(Exception)?", _ANY, _OF_IDENTITY, "relay_down", "domain", 554, "5.7.1"),
    # [COMMON] Credentials, permissions, the signature, the clock.
    Row("AccessDenied(Exception)?|NotAuthorized|UnrecognizedClientException|InvalidClientTokenId|IncompleteSignature"
        "|InvalidSignatureException|SignatureDoesNotMatch|MissingAuthenticationToken(Exception)?|OptInRequired"
        "|ExpiredToken(Exception)?|RequestExpired|InvalidAccessKeyId|AuthFailure|UnknownOperationException"
        "|MalformedHttpRequestException|InvalidAction",
        _ANY, "", "relay_down", "relay", 535, "5.7.8"),
    Row(_ANY, "401|403", "", "relay_down", "relay", 535, "5.7.8"),
    # Not of SES: no such path, or no such method of it, at this endpoint; a proxy that wants to know who we are.
    Row(_ANY, "404|405|407", "", "relay_down", "relay", 554, "5.3.5"),
    # --- the message or its recipient ------------------------------------------------------------------------
    # [VERIFY] SES names the identities. `outcome_of_error` sees whether the sender is one of them: then it is
    # the sending domain's matter. In the sandbox it is the recipient, and that is the account's matter as well when all
    # others are refused so too.
    Row("MessageRejected", _ANY, r"not verified", "refused", "policy", 554, "5.7.1"),
    Row("MessageRejected|BadRequestException", _ANY,
        r"(message|content|attachment).{0,30}(length|size|too (large|big))|is more than \d+ bytes|too large",
        "failed", "too_big", 552, "5.3.4"),
    Row("MessageRejected", _ANY, r"virus|malware|spam", "failed", "spam", 554, "5.7.1"),
    # [API] MessageRejected: "can't be sent because it contains invalid content".
    Row("MessageRejected", _ANY, "", "failed", "policy", 554, "5.6.0"),
    # [API] BadRequestException: "The input you provided is invalid": what all messages of the account, or of a
    # campaign, have in common.
    Row("BadRequestException|ValidationError|ValidationException|InvalidParameterValue", _ANY,
        r"from ?(email)? ?address|\bsender|return.?path|mail from|reply.?to|configuration ?set|email ?tags?\b",
        "refused", "policy", 554, "5.7.1"),
    # [API] Of what differs from one to the next, an address comes
    # first: "Missing final '@domain'", "Domain contains dot-dot", "Illegal address".
    Row("BadRequestException|ValidationError|ValidationException|InvalidParameterValue", _ANY,
        r"address|@domain|^domain |local (part|address)|recipient", "failed", "bad_mailbox", 501, "5.1.3"),
    Row("BadRequestException|ValidationError|ValidationException|InvalidParameterValue"
        "|InvalidParameterCombination|MissingParameter|SerializationException",
        _ANY, "", "refused", "unknown", 554, "5.6.0"),
    Row(_ANY, "413", "", "failed", "too_big", 552, "5.3.4"),
    # --- trouble at Amazon -------------------------------------------------------------------------------------
    # [COMMON] ServiceUnavailable (503) "has failed due to a temporary failure of the server"; the model says of
    # InternalServiceErrorException "couldn't be processed": neither took the message.
    Row("InternalServiceErrorException|ServiceUnavailable(Exception)?", _ANY, "", "transient", "not_accepting",
        451, "4.3.0"),
    Row(_ANY, "503", "", "transient", "not_accepting", 451, "4.3.0"),
    # [COMMON] InternalFailure (500): "unknown error, exception or failure"; 502 and 504 come from something in
    # between. Nobody knows whether the message was taken.
    Row(_ANY, "5..", "", "lost_after", "network", 0, ""),
    # --- what nobody has documented ----------------------------------------------------------------------------
    Row(_ANY, "4..", "", "transient", "unknown", 451, "4.0.0"),
    Row(_ANY, _ANY, "", "lost_after", "unknown", 0, ""),
)  # fmt: skip


def row_of(name: str, status: int, text: str) -> Row:
    """The row that decides."""
    for row in TABLE:
        if (
            re.fullmatch(row.name, name)
            and re.fullmatch(row.status, str(status))
            and (not row.text or re.search(row.text, text, re.IGNORECASE | re.DOTALL))
        ):
            return row
    return TABLE[-1]


def outcome_of_error(name: str, status: int, text: str, rcpt_to: str = "") -> Outcome:
    """The outcome of an error that the API answered: its name, HTTP status and text, and whom the message is for."""
    row = row_of(name, status, text)
    said = f"{name}: {text}" if text else f"{name} (HTTP {status})"
    if row.name == "MessageRejected" and row.text == "not verified" and blames_sender(text, rcpt_to):
        return Outcome("relay_down", row.code, row.enhanced, said, "", "domain", "message")
    if row.text == _OF_IDENTITY and rcpt_to and not blames_sender(text, rcpt_to):
        return Outcome("refused", row.code, row.enhanced, said, "", "policy", "message")
    return Outcome(row.kind, row.code, row.enhanced, said, "", row.reason, "message")
