"""A run over pipes against a server that a test plays: real sockets, no broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from journals import chunk

from schemas.message_name import MessageName
from sender.gathering import Gathering
from sender.line import Line, LineRelay
from sender.message.envelope import Envelope
from sender.piped import PipedRun
from sender.recipients import Part
from sender.smtp.pool import ConnectionPool
from sender.smtp.refusals import UNANSWERED, Refusals
from sender.smtp.relay import SmtpRelay
from sender.smtp.watch import Patience
from sender.surroundings import Surroundings
from sender.traffic import Came, Drained, Grant, Message
from sender.worker import Filling
from streams.clock import REAL
from streams.settings import RelaySettings


class Plain:
    """The same few words to everybody."""

    def fill(self, recipient: Mapping[str, Any], name: MessageName, day: date, date: datetime) -> Envelope:
        filling = self.bind(list(recipient), name.campaign_id, name.batch_number, name.round, day)
        return filling(list(recipient.values()), name.index, date)

    def bind(self, *_: object) -> Filling:
        def filling(row: Sequence[object], index: int, date: datetime) -> Envelope:
            return Envelope("b@bore.example", str(row[0]), b"Subject: x\r\n\r\nHola\r\n", f"<{index}@bore.example>")

        return filling


async def _run_to_its_end(
    port: int,
    people: int,
    seconds: float,
    *,
    connections: int = 1,
    patience: Patience | None = None,
    alive: Callable[[], bool] = lambda: True,
    refusals: Refusals | None = None,
    **permit: Any,
) -> list[Message]:
    """What a run under a permit for so many says until it is over."""
    said: list[Message] = []
    known = {"main": refusals or Refusals()}

    async def compiled(_: object) -> Plain:
        return Plain()

    async def parts(_: object) -> list[Part]:
        return [Part(0, ("email",), [[f"r{n}@x.example"] for n in range(people)])]

    async def row(_: object, index: int) -> dict[str, Any]:
        return {"email": f"r{index}@x.example"}

    around = Surroundings(said.append, REAL, alive, lambda _: False, compiled, row, parts, {}, known)
    relay = SmtpRelay(RelaySettings(host="127.0.0.1", port=port, tls="none", helo="client.example"), None, patience)
    pool: ConnectionPool[Line] = ConnectionPool(LineRelay(relay, Gathering(None, REAL)), connections)
    now = datetime.now(UTC)
    until = now + timedelta(seconds=seconds)
    given = chunk(
        ranges=((0, people),), size=people, until=until, issued_at=now, connections=connections, defer=True, **permit
    )
    run = PipedRun(1, given, pool, around, Grant(tuple(range(people)), last=True))
    await asyncio.wait_for(run.go(), 30)
    await pool.close()
    return [*said, run.drained()]


@pytest.mark.parametrize(("last_words", "throttles"), [(b"", False), (b"421 4.7.0 Too busy\r\n", True)])
def test_a_server_that_ends_sessions_while_a_message_waits_for_its_turn_is_not_stormed(
    last_words: bytes, throttles: bool
) -> None:
    sessions = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sessions
        sessions += 1
        writer.write(b"220 mail.example\r\n")
        await reader.readline()
        writer.write(b"250-mail.example\r\n250 PIPELINING\r\n")
        await asyncio.sleep(0.01)
        writer.write(last_words)
        writer.close()

    async def play() -> list[Message]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            return await _run_to_its_end(server.sockets[0].getsockname()[1], 3, 2.5, rate=0.1)
        finally:
            server.close()

    said = asyncio.run(play())
    assert 1 <= sessions <= 3
    came = [one for one in said if isinstance(one, Came)]
    assert [(e.index, e.kind) for one in came for e in one.outcomes] == [(n, "not_begun") for n in range(3)]
    assert (sum(one.throttled for one in came) > 0) is throttles


Ends = Callable[[int, asyncio.StreamWriter], object]
"""(how many bodies the server has had, connection) -> what it does at a final dot: it writes a reply, or closes."""


OK = b"250 Ok\r\n"


async def _server(at_dot: Ends, mail: bytes) -> asyncio.Server:
    """One that goes with everything up to the final dot, but replies `mail` to MAIL."""
    bodies = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal bodies
        writer.write(b"220 mail.example\r\n")
        within = False
        try:
            while line := await reader.readline():
                if within and line == b".\r\n":
                    within, bodies = False, bodies + 1
                    at_dot(bodies, writer)
                elif not within:
                    within = line == b"DATA\r\n"
                    writer.write(b"354 Go\r\n" if within else mail if line.startswith(b"MAIL") else OK)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def _play(at_dot: Ends, people: int, mail: bytes = OK, **more: Any) -> tuple[Counter[str], Drained]:
    """What became of so many, and how the run ended."""

    async def play() -> list[Message]:
        server = await _server(at_dot, mail)
        try:
            return await _run_to_its_end(server.sockets[0].getsockname()[1], people, **{"seconds": 30, **more})
        finally:
            server.close()

    said = asyncio.run(play())
    assert isinstance(said[-1], Drained)
    return Counter(e.kind for one in said if isinstance(one, Came) for e in one.outcomes), said[-1]


def _close(_: int, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("connections", [1, 3])
def test_a_server_that_closes_after_each_message_is_down_before_many_are_in_doubt(connections: int) -> None:
    came, end = _play(_close, 300, connections=connections)
    assert end.stopped == "relay_down"
    assert (end.detail or "").startswith("network: closes the connection after each message, before its reply (")
    assert UNANSWERED <= came["in_doubt"] < UNANSWERED + connections
    assert came["not_begun"] == 300 - came["in_doubt"]


def test_a_server_that_answers_no_message_until_the_time_is_up_is_down() -> None:
    came, end = _play(lambda *_: None, 50, connections=3, patience=Patience.of(0.05))
    assert (end.stopped, (end.detail or "")[:38]) == ("relay_down", "network: does not reply to any message")
    assert UNANSWERED <= came["in_doubt"] < UNANSWERED + 3


@pytest.mark.parametrize("reply", [b"250 2.0.0 Ok\r\n", b"550 5.1.1 Nobody\r\n"])
def test_a_server_that_answers_one_message_in_eight_and_closes_at_all_others_is_not_down(reply: bytes) -> None:
    """Everybody else is in doubt, each by an accident of his own."""

    def at_dot(n: int, writer: asyncio.StreamWriter) -> None:
        if n % UNANSWERED:
            writer.close()
        else:
            writer.write(reply)

    came, end = _play(at_dot, 5 * UNANSWERED)
    answered = "accepted" if reply.startswith(b"2") else "failed"
    assert (came, end.stopped) == (Counter({"in_doubt": 5 * (UNANSWERED - 1), answered: 5}), "done")


def test_a_probe_that_is_lost_keeps_the_relay_down_and_one_that_is_answered_ends_it() -> None:
    refusals = Refusals()
    came, end = _play(_close, 1, probe=True, refusals=refusals)
    assert (came, end.stopped) == (Counter(in_doubt=1), "relay_down")
    for _ in range(UNANSWERED):
        refusals.lost(probe=False)
    came, end = _play(lambda _, w: w.write(b"250 2.0.0 Ok\r\n"), 1, probe=True, refusals=refusals)
    assert (came, end.stopped, refusals.unanswered) == (Counter(accepted=1), "done", 0)
    came, end = _play(_close, 1, probe=True, probes="domain", refusals=refusals)  # that says nothing of the relay
    assert (came, end.stopped) == (Counter(in_doubt=1), "done")


def test_what_is_lost_while_this_process_may_not_be_the_owner_any_more_says_nothing_of_the_relay() -> None:
    """It slept: the server waited for it, and closed."""
    refusals, asleep = Refusals(), False

    def at_dot(_: int, writer: asyncio.StreamWriter) -> None:
        nonlocal asleep
        asleep = True
        writer.close()

    came, end = _play(at_dot, 3, seconds=2, alive=lambda: not asleep, refusals=refusals)
    assert (came, end.stopped, refusals.unanswered) == (Counter(in_doubt=1, not_begun=2), "expired", 0)


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize(
    ("mail", "stopped", "detail"),
    [
        (
            b"553 5.7.1 <b@bore.example>: Sender address rejected: not owned by user x\r\n",
            "domain_refused",
            "domain: 553",
        ),
        (b"550 5.1.8 Bad sender\r\n", "domain_refused", "domain: 550 5.1.8 Bad sender"),
        (b"554 5.7.1 Client host blocked\r\n", "relay_down", "refused: 554"),
        (b"530 5.7.0 Authentication required\r\n", "relay_down", "refused: 530"),
    ],
)
def test_whom_a_server_refuses_at_mail_ends_the_run_and_nobody_was_begun(
    mail: bytes, stopped: str, detail: str, connections: int
) -> None:
    came, end = _play(lambda *_: None, 20, mail, connections=connections)
    assert (came, end.stopped) == (Counter(not_begun=20), stopped)
    assert (end.detail or "").startswith(detail)


def test_a_relay_that_takes_other_domains_refuses_by_policy_what_is_from_this_one_alone() -> None:
    refusals = Refusals()
    refusals.accepted("p@x.example", "other.example")
    refusals.refused("q@y.example", again=False, sender="bore.example")
    came, end = _play(lambda _, w: w.write(b"554 5.7.1 DMARC\r\n"), 20, refusals=refusals)
    assert end.stopped == "domain_refused"
    assert came.keys() == {"deferred", "not_begun"}
    came, end = _play(lambda _, w: w.write(b"554 5.7.1 DMARC\r\n"), 1, probe=True, probes="domain", refusals=refusals)
    assert (came, end.stopped, end.detail) == (Counter(deferred=1), "domain_refused", "domain: 554 5.7.1 DMARC")


VERIFY = "554 Message rejected: Email address is not verified. The following identities failed the check: "


@pytest.mark.parametrize(
    ("identities", "people", "end"),
    [
        ("b@bore.example", 20, ("not_begun", "domain_refused")),
        ("bore.example, r0@x.example", 20, ("not_begun", "domain_refused")),
        ("r0@x.example", 1, ("deferred", "done")),  # in the sandbox
    ],
)
def test_whose_identity_ses_has_not_verified_says_whose_matter_it_is(
    identities: str, people: int, end: tuple[str, str]
) -> None:
    said = f"{VERIFY}{identities}\r\n".encode()
    came, drained = _play(lambda _, w: w.write(said), people)
    assert (came, drained.stopped) == (Counter({end[0]: people}), end[1])
    assert end[1] == "done" or identities in (drained.detail or "")
