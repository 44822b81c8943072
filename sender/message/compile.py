"""A campaign's message: compiled once, filled in for each recipient.

`compile_message` parses, checks and encodes what is the same for everybody; `CompiledMessage.fill` makes
one recipient's message of it. Both are pure. Headers: Date, Message-ID, From, To, Reply-To, Subject,
List-Unsubscribe (and List-Unsubscribe-Post), Feedback-ID, MIME-Version. List-Unsubscribe has the URL when
one is configured, and in any case `mailto:` to whoever answers (Reply-To, else From); the one-click header
(RFC 8058) goes with an https URL only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from schemas.campaign import Campaign, ResolvedTemplate
from sender.message.address import wire_address
from sender.message.bodies import alternative, part
from sender.message.envelope import Envelope, MessageName, message_id
from sender.message.errors import RowError
from sender.message.headers import date_header, mailbox_header, one_line, plain_header, text_header
from sender.message.parts import CompiledPart, compile_html, compile_text, derive_text


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """The parts of a template, ready to render. Not for two threads at once."""

    subject: CompiledPart
    html: CompiledPart | None
    text: CompiledPart | None

    def render(self, row: Mapping[str, object]) -> Rendered:
        """Subject, HTML and text for one row. Raises `RowError`."""
        given = {name: value for name, value in row.items() if value is not None}
        subject = one_line(self.subject.render(given), "the subject")
        html = self.html.render(given) if self.html else None
        text = self.text.render(given) if self.text else None
        return Rendered(subject, html, text)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one recipient would read."""

    subject: str
    html: str | None
    text: str | None


def compile_template(template: ResolvedTemplate) -> CompiledTemplate:
    """Parses and checks every part. Raises `TemplateError` naming part and line."""
    subject = compile_text("subject", template.subject)
    html = compile_html(template.html) if template.html is not None else None
    if template.text is not None:
        text: CompiledPart | None = compile_text("text", template.text)
    else:
        text = derive_text(template.html) if template.html is not None else None
    return CompiledTemplate(subject, html, text)


@dataclass(frozen=True, slots=True)
class CompiledMessage:
    """Everything of a campaign's message that is the same for every recipient."""

    template: CompiledTemplate
    mail_from: str
    domain: str
    """Of Message-IDs: the sending domain, an A-label."""
    fixed: bytes
    """The headers that never change, each with its line end."""
    unsubscribe: str | None
    answers: str
    """Where a `mailto:` to unsubscribe goes."""
    smtputf8: bool

    def fill(self, recipient: Mapping[str, object], name: MessageName, date: datetime) -> Envelope:
        """The message of one row (which has an `email`), dated `date` (real time, not the installation's).

        The same row, name and date give the same bytes. Raises `RowError`, which says what of the row is
        wrong: an address that is none, a variable that it lacks, a line break in a header, a loop that
        does not end.
        """
        rcpt_to, utf8 = wire_address(_address_of(recipient))
        read = self.template.render(recipient)
        identity = message_id(name, self.domain)
        content = b"".join(
            (
                date_header(date),
                plain_header("Message-ID", identity),
                self.fixed,
                mailbox_header("To", rcpt_to),
                text_header("Subject", read.subject),
                self._unsubscribe_headers(identity),
                b"MIME-Version: 1.0\r\n",
                _body(read, identity),
            )
        )
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        return Envelope(self.mail_from, rcpt_to, content, identity, self.smtputf8 or utf8)

    def _unsubscribe_headers(self, identity: str) -> bytes:
        token = identity[1:-1].rpartition("@")[0]
        mail = f"<mailto:{quote(self.answers, safe='@+.')}?subject=unsubscribe%20{quote(token, safe='')}>"
        if self.unsubscribe is None:
            return plain_header("List-Unsubscribe", mail)
        link = f"{self.unsubscribe}/u/{quote(token, safe='')}"
        headers = plain_header("List-Unsubscribe", f"<{link}>, {mail}")
        if link.startswith("https://"):
            headers += b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        return headers


def compile_message(campaign: Campaign, *, unsubscribe: str | None = None) -> CompiledMessage:
    """The message of `campaign`. Do it once a campaign: it costs milliseconds.

    `unsubscribe` is the tracker's public URL (`https://t.bore.example`); None: there is no tracker.
    Raises `TemplateError` (which part, which line), or `RowError` when From or Reply-To is no address.
    """
    template = compile_template(campaign.template)
    mail_from, utf8 = wire_address(campaign.from_email)
    answers = mail_from
    fixed = mailbox_header("From", mail_from, one_line(campaign.from_name or "", "the name in From"))
    if campaign.reply_to:
        answers, reply_utf8 = wire_address(campaign.reply_to)
        utf8 = utf8 or reply_utf8
        fixed += mailbox_header("Reply-To", answers)
    fixed += plain_header("Feedback-ID", feedback_id(campaign))
    domain = wire_address(f"x@{campaign.sending_domain}")[0][2:]
    return CompiledMessage(template, mail_from, domain, fixed, (unsubscribe or "").rstrip("/") or None, answers, utf8)


def feedback_id(campaign: Campaign) -> str:
    """`campaign:strategy:relay:sender`, as Gmail's feedback loop groups by; the last part is the domain's own."""
    sender = "r" + hashlib.sha256(campaign.sending_domain.encode()).hexdigest()[:10]
    parts = (campaign.campaign_id, campaign.strategy.type, campaign.relay)
    return ":".join([*(re.sub(r"[^A-Za-z0-9._-]", "_", one)[:100] for one in parts), sender])


def _address_of(recipient: Mapping[str, object]) -> str:
    address: Any = recipient.get("email")
    if not isinstance(address, str) or not address:
        raise RowError("lacks an e-mail address (column email)")
    return address


def _body(read: Rendered, identity: str) -> bytes:
    if not read.html:
        return part("plain", read.text or "")
    html = part("html", read.html)
    if not read.text:
        return html
    # `=_` is in no quoted-printable or base64 body (RFC 2045, 6.7).
    boundary = "=_" + hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    return alternative([part("plain", read.text), html], boundary)
