"""MAIL, RCPT, and then DATA or BDAT, as one state: arguments in, answers out (RFC 5321, 3.3; RFC 3030).

The final dot and `BDAT ... LAST` end a transaction whatever the reply is; a refused DATA does not
(the client must send RSET or go on with RCPT).
"""

from __future__ import annotations

import re
from typing import Final

from simulator import replies
from simulator.answers import Answer, Taken, by_decision
from simulator.body import ChunkBody, DataBody, flaw
from simulator.engine import Engine
from simulator.moments import PASS, Decision, Facts
from simulator.settings import Settings
from simulator.syntax import Path, parse_mail, parse_rcpt

_BDAT: Final = re.compile(r"([0-9]{1,12})(?: +(LAST))?", re.IGNORECASE)


class Transaction:
    """The envelope and the body of the message at hand; used again for the next one."""

    def __init__(self, settings: Settings, engine: Engine, facts: Facts) -> None:
        self._settings = settings
        self._engine = engine
        self._facts = facts
        self._utf8 = False
        self._refused_recipients = False
        self._data: DataBody | None = None
        self._chunks: ChunkBody | None = None  # from the first BDAT to the end of the transaction
        self._in_chunk = False
        self._last_chunk = False
        self._chunk_refusal = b""  # of this chunk, and then of all that follow
        self._data_decision = PASS  # of the first BDAT; carried out with its chunk's reply
        self.open = False  # a MAIL was accepted

    @property
    def reading(self) -> bool:
        """Whether the next bytes are a body's."""
        return self._data is not None or self._in_chunk

    def reset(self) -> None:
        """Forgets the envelope (RFC 5321, 4.1.1.5)."""
        self.open = False
        self._refused_recipients = False
        self._chunks = None
        self._chunk_refusal = b""
        self._data_decision = PASS
        self._facts.sender = ""
        self._facts.recipients = []

    def mail(self, argument: str, now: float) -> Answer:
        """MAIL, when the session allows it."""
        if self.open:
            return Answer(replies.NESTED_MAIL)
        path = parse_mail(argument)
        if isinstance(path, bytes):
            return Answer(path)
        if path.parameters and (bad := _bad_parameters(path, self._settings)):
            return Answer(bad)
        utf8 = "SMTPUTF8" in path.parameters
        if not utf8 and not path.address.isascii():
            return Answer(replies.NEED_SMTPUTF8)
        self._facts.sender = path.address
        decision = self._engine.decide("mail", self._facts, now)
        self.open = decision.lets_through
        self._utf8 = utf8
        return by_decision(decision, replies.SENDER_OK)

    def rcpt(self, argument: str, now: float) -> Answer:
        """RCPT."""
        if not self.open:
            return Answer(replies.NEED_MAIL)
        if self._chunks is not None:
            return Answer(replies.CHUNKS_BEGUN)
        path = parse_rcpt(argument)
        refusal = path if isinstance(path, bytes) else self._bad_recipient(path)
        if refusal or isinstance(path, bytes):
            self._refused_recipients = True
            return Answer(refusal)
        self._facts.recipients.append(path.address)
        decision = self._engine.decide("rcpt", self._facts, now)
        if not decision.lets_through:
            self._facts.recipients.pop()
            self._refused_recipients = True
        return by_decision(decision, replies.RECIPIENT_OK)

    def _bad_recipient(self, path: Path) -> bytes:
        if path.parameters:
            return replies.UNKNOWN_PARAMETER
        if not self._utf8 and not path.address.isascii():
            return replies.NEED_SMTPUTF8
        full = len(self._facts.recipients) >= self._settings.max_recipients
        return replies.TOO_MANY_RECIPIENTS if full else b""

    def _without_recipients(self) -> bytes:
        """The reply to DATA or BDAT when nobody is to get the message; empty when somebody is."""
        if self._facts.recipients:
            return b""
        if not self.open:
            return replies.NEED_MAIL
        return replies.NO_VALID_RECIPIENTS if self._refused_recipients else replies.NEED_RCPT

    def data(self, argument: str, now: float) -> Answer:
        """DATA."""
        if argument:
            return Answer(replies.NO_ARGUMENTS)
        if self._chunks is not None:
            return Answer(replies.CHUNKS_BEGUN)
        missing = self._without_recipients()
        decision = PASS if missing else self._engine.decide("data", self._facts, now)
        anyway = missing is replies.NO_VALID_RECIPIENTS and self._settings.answer_354_without_recipients
        if missing and not anyway:
            return Answer(missing)
        if decision.lets_through:
            self._data = DataBody(self._settings.max_size)
        return by_decision(decision, replies.GO_AHEAD)

    def bdat(self, argument: str, now: float) -> Answer | None:
        """BDAT; None: the chunk's bytes follow, the answer comes after them."""
        if not self._settings.chunking:
            return Answer(replies.NOT_IMPLEMENTED)
        match = _BDAT.fullmatch(argument)
        if match is None:
            return Answer(replies.BDAT_SYNTAX)
        if self._chunks is None:
            self._chunks = ChunkBody(self._settings.max_size)
            self._chunk_refusal = self._without_recipients()
            if not self._chunk_refusal:
                # The rules for DATA decide here; a refusal is said once the chunk has been read.
                self._data_decision = self._engine.decide("data", self._facts, now)
                self._chunk_refusal = self._data_decision.refusal
            self._chunks.discard = bool(self._chunk_refusal)
            if self._data_decision.drop == "before":
                return by_decision(self._data_decision, b"")
        self._last_chunk = match[2] is not None
        self._chunks.announce(int(match[1]))
        self._in_chunk = True
        return self._end_of_chunk(self._chunks, now) if int(match[1]) == 0 else None

    def take(self, data: bytes, start: int, now: float) -> tuple[int, Answer | None]:
        """Reads body from `start`; gives where it ended and the answer, or -1 and None: more is needed."""
        if self._data is not None:
            body = self._data
            end = body.take(data, start)
            if end < 0:
                return end, None
            self._data = None
            return end, self._finish(body.message, too_big=body.too_big, now=now)
        assert self._chunks is not None, "take is called while `reading`"  # noqa: S101
        end = self._chunks.take(data, start)
        return end, self._end_of_chunk(self._chunks, now) if end >= 0 else None

    def _end_of_chunk(self, chunks: ChunkBody, now: float) -> Answer:
        self._in_chunk = False
        decision, self._data_decision = self._data_decision, PASS
        if self._chunk_refusal:
            answer = by_decision(decision._replace(refusal=self._chunk_refusal), b"")
            self._chunk_refusal = replies.DISCARDED
        elif self._last_chunk:
            return self._finish(chunks.message, too_big=chunks.too_big, now=now, earlier=decision)
        elif chunks.too_big:
            self._chunk_refusal = replies.DISCARDED
            return Answer(replies.TOO_BIG)
        else:
            return by_decision(decision, replies.CHUNK_OK)
        if self._last_chunk:
            self.reset()
        return answer

    def _finish(self, message: bytes, *, too_big: bool, now: float, earlier: Decision = PASS) -> Answer:
        """The whole message is here: takes or refuses it, and ends the transaction."""
        facts = self._facts
        if not facts.recipients:
            answer = Answer(replies.NO_VALID_RECIPIENTS)
        elif too_big:
            answer = Answer(replies.TOO_BIG)
        elif self._settings.strict_lines and (bad := flaw(message)):
            answer = Answer(bad)
        else:
            decision = self._engine.decide("message", facts, now)
            if earlier is not PASS:
                decision = decision._replace(drop=decision.drop or earlier.drop, delay=decision.delay + earlier.delay)
            answer = by_decision(decision, replies.TAKEN)
            if decision.lets_through or decision.keep:
                facts.messages += 1
                answer = answer._replace(taken=self._taken(message, now, replied=decision.lets_through))
        self.reset()
        return answer

    def _taken(self, message: bytes, now: float, *, replied: bool) -> Taken:
        facts = self._facts
        to = tuple(facts.recipients)
        return Taken(facts.connection, facts.sender, to, message, now, replied, facts.tls, facts.user)


def _bad_parameters(path: Path, settings: Settings) -> bytes:
    """The reply that refuses MAIL's parameters; empty when they are all right."""
    for name, value in path.parameters.items():
        if name == "SIZE":
            if value is None or not (value.isascii() and value.isdecimal() and len(value) <= 20):
                return replies.BAD_PARAMETER_VALUE
            if int(value) > settings.max_size:
                return replies.TOO_BIG
        elif name == "BODY" and settings.eight_bit:
            if (value or "").upper() not in ("7BIT", "8BITMIME"):
                return replies.BAD_PARAMETER_VALUE
        elif name == "SMTPUTF8" and settings.smtputf8:
            if value is not None:
                return replies.BAD_PARAMETER_VALUE
        elif name != "AUTH" or not (settings.users or settings.tokens):
            return replies.UNKNOWN_PARAMETER
    return b""
