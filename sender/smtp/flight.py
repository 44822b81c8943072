"""One message's transaction, as far as its replies have come: replies in, what they mean out.

Pure. Every reply is checked, also those to commands that were written ahead and that a refusal before
them has made pointless (RFC 2920, 3.1).
"""

from __future__ import annotations

from typing import Final

from sender.smtp.learned import Mode, Problem
from sender.smtp.outcomes import Outcome, Stage, outcome_of
from sender.smtp.replies import words
from sender.smtp.wire import Outgoing

RSET: Final = 0
MAIL: Final = 1
RCPT: Final = 2
DATA: Final = 3
BODY: Final = 4
"""354 was said: the body is to be written."""
DOT: Final = 5
"""354 was said although nobody is to get the message: a lone dot is to be written (RFC 2920, 3.1)."""
MESSAGE: Final = 6
"""The reply to the final dot, or to BDAT LAST."""
LONE: Final = 7
"""The reply to the lone dot."""

GO: Final = 0
DONE: Final = 1
BROKEN: Final = 2

_STAGES: Final[dict[int, Stage]] = {
    RSET: "mail", MAIL: "mail", RCPT: "rcpt", DATA: "data", BODY: "data", DOT: "data", MESSAGE: "message", LONE: "rcpt",
}  # fmt: skip

_SHIFTED: Final = {Mode.LOCK_STEP: (), Mode.PIPELINING: (b"2.1.0 ",), Mode.CHUNKING: (b"2.1.",)}
"""A reply to a message that speaks of an address (RFC 3463, 3.2) answers another command: nothing but this
shows it where no 354 keeps replies and commands in step."""

_DOES_NOT_COPE: Final = (500, 502, 503)
"""To a command in its place: unrecognised, not implemented, out of sequence (RFC 5321, 4.2.2)."""


class Flight:
    """A message from its first command on the wire to its last reply."""

    __slots__ = (
        "contradicted", "dirty", "joined", "message", "mode", "outcome", "problem", "refusal", "stage", "trouble",
        "written",
    )  # fmt: skip

    def __init__(self, message: Outgoing, mode: Mode, stage: int, joined: bool) -> None:
        self.message = message
        self.mode = mode
        self.stage = stage
        self.joined = joined
        """Its commands were written before the replies to an earlier message were there."""
        self.written = False
        """The first byte of its body was handed to the transport, or may have been."""
        self.refusal: Outcome | None = None
        """What MAIL or RCPT was refused with, while replies to what was written after them are still to come."""
        self.contradicted = False
        self.dirty = False
        """It left an envelope behind, which RSET must clear."""
        self.outcome: Outcome | None = None
        """After DONE."""
        self.problem: Problem | None = None
        self.trouble = ""
        """After BROKEN: why."""

    def take(self, code: int, text: bytes) -> int:
        """The next reply. GO: on; DONE: `outcome` is there; BROKEN: replies and commands are out of step."""
        stage = self.stage
        if self.refusal is None:
            if 200 <= code < 300:
                if stage < RCPT:
                    self.stage = stage + 1
                    return GO
                if stage == RCPT:
                    self.stage = MESSAGE if self.mode is Mode.CHUNKING else DATA
                    return GO
                if stage == MESSAGE and not text.startswith(_SHIFTED[self.mode]):
                    self.outcome = outcome_of("message", code, words(text))
                    return DONE
            elif code == 354 and stage == DATA:
                self.stage = BODY
                return GO
        return self._unusual(stage, code, text)

    def lost(self, text: str) -> Outcome:
        """The outcome when no further reply will come."""
        if self.written and (self.refusal is None or self.contradicted):
            return Outcome("lost_after", 0, "", text, "", "network", "message")
        return self.refusal or Outcome("lost_before", 0, "", text, "", "network", _STAGES[self.stage])

    def quits(self, code: int, text: bytes) -> None:
        """421 came in the place of its next reply: the session ends (RFC 5321, 3.8)."""
        if self.stage != RSET and self.refusal is None:
            self.refusal = outcome_of(_STAGES[self.stage], code, words(text))

    # -- whatever is not the plain way ------------------------------------------------------------------

    def _unusual(self, stage: int, code: int, text: bytes) -> int:
        refused = 400 <= code <= 599
        if stage in (MAIL, RCPT) and (refused or code < 300):
            if refused:
                self._refuse(stage, code, text)
            else:
                self.contradicted = True  # RCPT was taken, although MAIL was not
            return self._pass(stage)
        if stage in (DATA, MESSAGE) and refused:
            self._refuse(stage, code, text)
            return self._end(dirty=stage == DATA or self.mode is Mode.CHUNKING)
        if stage == DATA and code == 354 and not self.contradicted:
            self.stage = DOT
            return GO
        if stage == LONE and (refused or code < 300):
            return self._end(dirty=False)
        return self._broken(stage, code, text)

    def _pass(self, stage: int) -> int:
        """Past a refused MAIL or RCPT."""
        if self.mode is Mode.LOCK_STEP:
            return self._end(dirty=True)
        self.stage = RCPT if stage == MAIL else MESSAGE if self.mode is Mode.CHUNKING else DATA
        return GO

    def _refuse(self, stage: int, code: int, text: bytes) -> None:
        if self.refusal is not None:
            return  # the first one says why
        outcome = outcome_of(_STAGES[stage], code, words(text), self.message.rcpt_to)
        ahead = stage != MAIL or self.joined
        if self.mode is not Mode.LOCK_STEP and ahead and code in _DOES_NOT_COPE:
            self.problem = "refused"
            self.trouble = f"{code} {words(text)} to a command in its place ({_STAGES[stage]})"
            # Nobody's failure: it is tried again in a plainer way. A body that went out is refused by its reply.
            outcome = Outcome("lost_before", code, outcome.enhanced, outcome.text, "", "network", _STAGES[stage])
        self.refusal = outcome

    def _end(self, *, dirty: bool) -> int:
        self.outcome, self.dirty = self.refusal, dirty
        return DONE

    def _broken(self, stage: int, code: int, text: bytes) -> int:
        self.contradicted = self.contradicted or stage == MESSAGE
        self.problem = "out_of_step"
        where = "RSET" if stage == RSET else _STAGES[stage]
        self.trouble = f"{code} {words(text)} is no answer to {where}"
        return BROKEN
