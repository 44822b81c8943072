"""A campaign's message: compiled once, filled in for each recipient.

`compile_message` parses, checks and encodes what is the same for everybody; `CompiledMessage.fill` makes
one recipient's message of it. Both are pure. Headers: Date, Message-ID, From, To, Reply-To, Subject,
List-Unsubscribe (and List-Unsubscribe-Post), Feedback-ID, MIME-Version. List-Unsubscribe has the URL when
one is configured, and in any case `mailto:` to whoever answers (Reply-To, else From); the one-click header
(RFC 8058) goes with an https URL only.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from schemas.campaign import Campaign
from schemas.message_name import MessageName, Tokens, message_tokens
from schemas.template.errors import RowError
from schemas.template.links import TOKEN, links_of, tracked
from sender.message.address import wire_address
from sender.message.bodies import alternative, part
from sender.message.envelope import Envelope
from sender.message.fast import Letter
from sender.message.headers import date_header, mailbox_header, one_line, plain_header, text_header
from sender.message.parts import ODD
from sender.message.template import CompiledTemplate, Split, compile_template
from sender.message.verp import return_paths
from sender.message.writer import Core, Frame, Unsubscribe

log = logging.getLogger(__name__)

Sign = Callable[[bytes, datetime], bytes]
"""(a message, its date) to the message with a signature before it."""
Filling = Callable[[Sequence[object], int, datetime], Envelope]
"""(row, index in the batch, date) to the message. Raises `RowError`."""

Bound = tuple[tuple[str, ...], str, int, int, date]
MAX_TABLES = 16
"""Orders of columns, and batches, for which the fast way is kept ready."""


@dataclass(frozen=True, slots=True)
class CompiledMessage:
    """Everything of a campaign's message that is the same for every recipient. Not for two threads at once."""

    template: CompiledTemplate
    mail_from: str
    domain: str
    """Of Message-IDs: the sending domain, an A-label."""
    fixed: bytes
    """The headers that never change, each with its line end."""
    tracker: str | None
    """What the URLs of its links, of its pixel and to unsubscribe begin with."""
    answers: str
    """Where a `mailto:` to unsubscribe goes."""
    smtputf8: bool
    boundary: str
    key: bytes = field(repr=False)
    """What signs names."""
    sign: Sign | None = None
    return_path: Callable[[str], str] | None = None
    """From what stands before the `@` of a Message-ID to the envelope's sender; None: it is `mail_from`."""
    letter: Letter | None = field(default=None, compare=False, repr=False)
    """The same, prepared for the fast way; None: the template needs the engine."""
    cores: dict[tuple[str, ...], Core] = field(default_factory=dict, compare=False, repr=False)
    bound: dict[Bound, Filling] = field(default_factory=dict, compare=False, repr=False)

    def fill(self, recipient: Mapping[str, object], name: MessageName, day: date, date: datetime) -> Envelope:
        """The message of one row (which has an `email`), named for `day` (the sending domain's, of its permit) and
        dated `date` (real time, not the installation's).

        The same row, name, day and date give the same bytes. Raises `RowError`, which says what of the row is
        wrong: an address that is none, a variable that it lacks, a line break in a header, a loop that
        does not end.
        """
        columns = tuple(recipient) if self.letter is None else self.letter.names
        of = columns, name.campaign_id, name.batch_number, name.round, day
        if of not in self.bound:
            if len(self.bound) >= MAX_TABLES:
                self.bound.clear()
            self.bound[of] = self.bind(*of)
        return self.bound[of]([recipient.get(column) for column in columns], name.index, date)

    def bind(self, columns: Sequence[str], campaign_id: str, batch_number: int, round_: int, day: date) -> Filling:
        """What makes messages of one batch, round and day, of rows that are lists in the order of `columns`.

        It gives what `fill` gives. Bind once for many rows, and hand it the same `date` object for as long
        as it may be the same: then it is written once.
        """
        core = self._core(tuple(columns))
        tokens = message_tokens(campaign_id, batch_number, round_, day, self.key)
        sign, return_path = self.sign, self.return_path
        written: datetime | None = None
        header = b""

        def filling(row: Sequence[object], index: int, date: datetime) -> Envelope:
            nonlocal written, header
            if date is not written:
                written, header = date, date_header(date)
            envelope = None
            named = tokens(index)
            if core is not None:
                with suppress(*ODD):
                    envelope = core(row, named, header)
            if envelope is None:
                envelope = self.fill_slowly(dict(zip(columns, row, strict=False)), named, header)
            if return_path is not None:
                envelope = envelope._replace(mail_from=return_path(named.mail))
            return envelope if sign is None else envelope._replace(content=sign(envelope.content, date))

        return filling

    def fill_slowly(self, row: Mapping[str, object], tokens: Tokens, date: bytes) -> Envelope:
        """One row's message, unsigned, without the fast way; `date` is its header. Raises `RowError`."""
        rcpt_to, utf8 = wire_address(_address_of(row))
        read = self.template.split(row if self.tracker is None else {**row, TOKEN: tokens.url})
        named = f"<{tokens.mail}@{self.domain}>"
        content = b"".join(
            (
                date,
                plain_header("Message-ID", named),
                self.fixed,
                mailbox_header("To", rcpt_to),
                text_header("Subject", read.subject),
                self._unsubscribe_headers(quote(tokens.url, safe="")),
                b"MIME-Version: 1.0\r\n",
                self._body(read),
            )
        )
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        return Envelope(self.mail_from, rcpt_to, content, named, self.smtputf8 or utf8, True)

    def _core(self, columns: tuple[str, ...]) -> Core | None:
        if self.letter is None:
            return None
        if columns not in self.cores:
            if len(self.cores) >= MAX_TABLES:
                self.cores.clear()
            self.cores[columns] = self.letter.core(columns)
        return self.cores[columns]

    def _body(self, read: Split) -> bytes:
        html, text = any(read.html.pieces), any(read.text.pieces)
        of_text = part("plain", *read.text) if text or not html else b""
        if not html:
            return of_text
        of_html = part("html", *read.html)
        return alternative([of_text, of_html], self.boundary) if text else of_html

    def _unsubscribe_headers(self, token: str) -> bytes:
        given = self._unsubscribe()
        return plain_header("List-Unsubscribe", ", ".join(f"{word}{token}>" for word in given.words)) + given.more

    def _unsubscribe(self) -> Unsubscribe:
        mail = f"<mailto:{quote(self.answers, safe='@+.')}?subject=unsubscribe%20"
        if self.tracker is None:
            return Unsubscribe((mail,), b"")
        one_click = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        return Unsubscribe((f"<{self.tracker}/u/", mail), one_click if self.tracker.startswith("https://") else b"")

    def prepared(self) -> CompiledMessage:
        """The same with the fast way, when its template has no need of the engine."""
        subject, text, html = self.template.subject, self.template.text, self.template.html
        bodies = tuple((subtype, one) for subtype, one in (("plain", text), ("html", html)) if one is not None)
        if any(one.pieces is None for one in (subject, *(one for _, one in bodies))):
            return self
        frame = Frame(self.mail_from, self.smtputf8, self.domain, self.fixed, self._unsubscribe(), self.boundary)
        return replace(self, letter=Letter(frame, subject, bodies))


def compile_message(
    campaign: Campaign, *, key: bytes = b"", tracker: str | None = None, sign: Sign | None = None,
    return_path: str | None = None,
) -> CompiledMessage:  # fmt: skip
    """The message of `campaign`. Do it once a campaign: it costs milliseconds.

    `key` signs the names of its messages (`signing_keys`); without it anybody can make them, which does for a look.
    `tracker` is the tracker's public URL (`https://t.bore.example`), to which links and a pixel lead as the campaign's
    `tracking` says, and List-Unsubscribe; None: there is none. `sign` puts a signature before each message (`dkim.py`).
    `return_path`: the mailbox that bounces come back to, each to a subaddress that names its message (`verp.py`);
    None: to From.
    Raises `TemplateError` (which part, which line), or `RowError` when From, Reply-To or `return_path` is no address.
    """
    tracker = (tracker or "").rstrip("/") or None
    template = compile_template(campaign.template, tracked=_tracked(campaign, tracker))
    mail_from, utf8 = wire_address(campaign.from_email)
    answers = mail_from
    fixed = mailbox_header("From", mail_from, one_line(campaign.from_name or "", "the name in From"))
    if campaign.reply_to:
        answers, reply_utf8 = wire_address(campaign.reply_to)
        utf8 = utf8 or reply_utf8
        fixed += mailbox_header("Reply-To", answers)
    fixed += plain_header("Feedback-ID", feedback_id(campaign))
    domain = wire_address(f"x@{campaign.sending_domain}")[0][2:]
    # `=_` is in no quoted-printable or base64 body (RFC 2045, 6.7), so one boundary does for all.
    boundary = "=_" + hashlib.blake2b(campaign.campaign_id.encode(), digest_size=12).hexdigest()
    return CompiledMessage(
        template, mail_from, domain, fixed, tracker, answers, utf8, boundary, key, sign,
        return_paths(return_path) if return_path is not None else None,
    ).prepared()  # fmt: skip


def _tracked(campaign: Campaign, tracker: str | None) -> str | None:
    """The HTML whose links and pixel lead to the tracker; None: nothing of it does."""
    html, wanted = campaign.template.html, campaign.tracking
    if html is None or tracker is None or not (wanted.opens or wanted.clicks):
        return None
    links = campaign.links if wanted.clicks else ()
    if links and links_of(html) != links:
        log.warning("campaign %s is sent with its links as they are: it was planned with others", campaign.campaign_id)
    return tracked(html, links, tracker, opens=wanted.opens)


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
