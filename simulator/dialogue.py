"""One SMTP conversation without a socket: bytes in, a step out (RFC 5321).

A step says which bytes to send, which messages were taken (they must be stored *before* the bytes
go out), and what to do then. The same bytes give the same replies however they are cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from simulator import replies
from simulator.answers import Answer, Taken, Then, by_decision
from simulator.auth import MECHANISMS, Challenge, Denied, Exchange, Outcome, challenge_line
from simulator.engine import Engine
from simulator.moments import Facts
from simulator.settings import Settings
from simulator.transaction import Transaction


class Step(NamedTuple):
    """What the shell must do: store `taken`, then send, then `then`."""

    send: bytes
    taken: list[Taken]
    then: Then
    delay: float  # seconds, for Then.WAIT


_NOTHING: Final[list[Taken]] = []
_Handler: TypeAlias = Callable[[str, float], Answer | None]


class Dialogue:
    """The state of one connection. After a step whose `then` is CLOSE or RESET it is over."""

    def __init__(self, settings: Settings, engine: Engine, facts: Facts) -> None:
        self._settings = settings
        self._engine = engine
        self._facts = facts
        self._transaction = Transaction(settings, engine, facts)
        self._greeted = False
        self._auth: Exchange | None = None
        self._overlong = False
        self._rest = b""
        self._out = bytearray()
        self._taken: list[Taken] = []
        self._then = Then.READ
        self._delay = 0.0
        self._held: tuple[bytes, Then] = (b"", Then.READ)
        self._commands: dict[str, _Handler] = {
            "MAIL": self._mail,
            "RCPT": self._transaction.rcpt,
            "DATA": self._transaction.data,
            "BDAT": self._transaction.bdat,
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "AUTH": self._auth_command,
            "STARTTLS": self._starttls,
            "RSET": self._rset,
            "QUIT": lambda argument, _: _plain(argument, Answer(replies.BYE, Then.CLOSE)),
            "NOOP": lambda *_: Answer(replies.OK),  # an argument is allowed and ignored (RFC 5321, 4.1.1.9)
            "VRFY": lambda argument, _: Answer(replies.CANNOT_VERIFY if argument else replies.NEED_NAME),
            "EXPN": lambda *_: Answer(replies.NOT_IMPLEMENTED),
            "HELP": lambda *_: Answer(replies.HELP),
        }

    def open(self, now: float) -> Step:
        """The client has connected: the greeting, or what the rules say instead."""
        greeting = f"220 {self._settings.hostname} ESMTP mailbox simulator\r\n".encode()
        self._carry_out(by_decision(self._engine.decide("connect", self._facts, now), greeting))
        return self._step()

    def feed(self, data: bytes, now: float) -> Step:
        """The client has sent `data`; while a delay runs it is kept, and the step asks for nothing."""
        self._rest = self._rest + data if self._rest else data
        return self._run(now) if self._then is Then.READ else Step(b"", _NOTHING, Then.READ, 0.0)

    def resume(self, now: float) -> Step:
        """The delay of the last step (whose `then` was WAIT) is over."""
        reply, self._then = self._held
        self._out += reply
        return self._run(now)

    def tls_started(self) -> None:
        """TLS stands: all that was said before is forgotten, and what was sent ahead is lost (RFC 3207, 4.2)."""
        self._facts.tls = True
        self._facts.user = ""
        self._greeted = False
        self._rest = b""
        self._transaction.reset()
        self._then = Then.READ

    @property
    def idle(self) -> bool:
        """Between commands, where a 421 would be understood."""
        return self._then is Then.READ and not self._transaction.reading

    def _run(self, now: float) -> Step:
        data, position = self._rest, 0
        while self._then is Then.READ and 0 <= position < len(data):
            start = position
            if self._transaction.reading:
                position, answer = self._transaction.take(data, start, now)
                if answer is not None:
                    self._carry_out(answer)
            else:
                position = self._line(data, start, now)
                if position < 0 and not self._overlong:
                    position = start
                    break
        self._rest = data[position:] if position >= 0 else b""
        return self._step()

    def _line(self, data: bytes, start: int, now: float) -> int:
        """Reads one line and acts on it; gives where it ended, or -1: more is needed."""
        end = data.find(b"\n", start) + 1
        limit = self._settings.max_command_line if self._auth is None else self._settings.max_auth_line
        if not end:
            self._overlong = self._overlong or len(data) - start > limit
            return -1
        if self._overlong or end - start > limit:
            self._overlong = False
            self._auth = None
            self._out += replies.LINE_TOO_LONG
        elif end - start < 2 or data[end - 2] != 13:
            self._out += replies.BARE_LF
        else:
            answer = self._command(data[start : end - 2], now)
            if answer is not None:
                self._carry_out(answer)
        return end

    def _command(self, line: bytes, now: float) -> Answer | None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return Answer(replies.NOT_TEXT)
        if self._auth is not None:
            return self._auth_outcome(self._auth.answer(text), now)
        verb, _, argument = text.partition(" ")
        handler = self._commands.get(verb.upper())
        return Answer(replies.UNKNOWN) if handler is None else handler(argument, now)

    def _carry_out(self, answer: Answer) -> None:
        if answer.taken is not None:
            self._taken.append(answer.taken)
        if answer.delay:
            self._held, self._then, self._delay = (answer.reply, answer.then), Then.WAIT, answer.delay
        else:
            self._out += answer.reply
            self._then = answer.then

    def _step(self) -> Step:
        taken = _NOTHING
        if self._taken:
            taken, self._taken = self._taken, []
        step = Step(bytes(self._out), taken, self._then, self._delay)
        self._out.clear()
        return step

    def _ehlo(self, argument: str, now: float) -> Answer:
        lines = [self._settings.hostname, *extensions(self._settings, tls=self._facts.tls)]
        return self._hello(argument, "\n".join(lines), now)

    def _helo(self, argument: str, now: float) -> Answer:
        return self._hello(argument, self._settings.hostname, now)

    def _hello(self, argument: str, text: str, now: float) -> Answer:
        if not argument.strip():
            return Answer(replies.NEED_NAME)
        self._transaction.reset()
        decision = self._engine.decide("helo", self._facts, now)
        self._greeted = self._greeted or decision.lets_through
        return by_decision(decision, replies.reply(250, "", text))

    def _mail(self, argument: str, now: float) -> Answer:
        settings, facts = self._settings, self._facts
        if not self._greeted:
            return Answer(replies.NEED_HELO)
        if settings.require_tls and not facts.tls:
            return Answer(replies.NEED_TLS)
        if settings.require_auth and not facts.user:
            return Answer(replies.NEED_AUTH)
        return self._transaction.mail(argument, now)

    def _rset(self, argument: str, _now: float) -> Answer:
        if not argument:
            self._transaction.reset()
        return _plain(argument, Answer(replies.OK))

    def _starttls(self, argument: str, _now: float) -> Answer:
        if self._facts.tls:
            return Answer(replies.TLS_ACTIVE)
        if self._settings.tls_certificate is None:
            return Answer(replies.NOT_IMPLEMENTED)
        return _plain(argument, Answer(replies.READY_FOR_TLS, Then.START_TLS))

    def _auth_command(self, argument: str, now: float) -> Answer:
        mechanism, _, initial = argument.partition(" ")
        offered = mechanisms(self._settings)
        if not offered:
            return Answer(replies.NOT_IMPLEMENTED)
        if not self._greeted or self._facts.user or self._transaction.open:
            return Answer(replies.AUTH_BAD_TIME)
        if self._settings.auth_needs_tls and not self._facts.tls:
            return Answer(replies.AUTH_NEEDS_TLS)
        if mechanism.upper() not in offered:
            return Answer(replies.AUTH_UNKNOWN if mechanism else replies.AUTH_SYNTAX)
        self._auth = Exchange(mechanism.upper(), self._settings.users, self._settings.tokens)
        return self._auth_outcome(self._auth.begin(initial.strip()), now)

    def _auth_outcome(self, outcome: Outcome, now: float) -> Answer:
        if isinstance(outcome, Challenge):
            return Answer(challenge_line(outcome))
        self._auth = None
        if isinstance(outcome, Denied):
            return Answer(outcome.reply)
        decision = self._engine.decide("auth", self._facts, now)
        if decision.lets_through:
            self._facts.user = outcome.user
        return by_decision(decision, replies.AUTHENTICATED)


def _plain(argument: str, answer: Answer) -> Answer:
    """For a command that takes no argument."""
    return Answer(replies.NO_ARGUMENTS) if argument else answer


def mechanisms(settings: Settings) -> tuple[str, ...]:
    """The AUTH mechanisms for which there is somebody who could use them."""
    return (MECHANISMS[:2] if settings.users else ()) + (MECHANISMS[2:] if settings.tokens else ())


def extensions(settings: Settings, *, tls: bool) -> list[str]:
    """The lines of the reply to EHLO behind the first."""
    known = mechanisms(settings)
    offered = {
        "PIPELINING": settings.pipelining,
        f"SIZE {settings.max_size}": True,
        "8BITMIME": settings.eight_bit,
        "SMTPUTF8": settings.smtputf8,
        "ENHANCEDSTATUSCODES": True,
        "CHUNKING": settings.chunking,
        "STARTTLS": settings.tls_certificate is not None and not tls,
        f"AUTH {' '.join(known)}": bool(known) and (tls or not settings.auth_needs_tls),
    }
    return [name for name, offer in offered.items() if offer]
