"""Pipes over real sockets: asyncio and uvloop, clear and encrypted, to the simulator and to Postfix's smtp-sink."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from certificates import Certificates
from pipe_world import EVERYTHING, ListFeed, letters
from smtp_wire import QUICK, relay, scripted

from sender.smtp.errors import RelayDown
from sender.smtp.feed import Ending
from sender.smtp.learned import Mode
from sender.smtp.pipeline import MessagePipe
from sender.smtp.relay import SmtpRelay
from sender.smtp.watch import Patience
from sender.smtp.wire import Outgoing
from simulator.rules import Drop, LimitMessages
from simulator.server import MailboxSimulator
from simulator.settings import Settings
from streams.settings import RelaySettings

OFFERS = {
    Mode.LOCK_STEP: Settings(pipelining=False),
    Mode.PIPELINING: Settings(),
    Mode.CHUNKING: Settings(chunking=True),
}
each_mode = pytest.mark.parametrize("mode", list(Mode))
PLENTY: dict[str, Any] = {"messages_per_connection": 10_000}


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


async def send(to: SmtpRelay, messages: Sequence[Outgoing], *, stop: bool = True) -> tuple[MessagePipe, ListFeed]:
    """One pipe, until it is gone; it is stopped when nothing is left."""
    feed = ListFeed(messages)
    gone = asyncio.Event()
    pipe = await to.open_pipe(feed)

    def over() -> None:
        if stop and not feed.waiting:
            pipe.stop()

    feed.on_ended, feed.on_lost = lambda _: over(), gone.set
    pipe.kick()
    async with asyncio.timeout(20):
        await gone.wait()
    return pipe, feed


def _to(simulator: MailboxSimulator, **settings: Any) -> SmtpRelay:
    return relay(simulator.port, **(PLENTY | settings))


def _addressed(*addresses: str) -> list[Outgoing]:
    made = letters(len(addresses))
    for message, address in zip(made, addresses, strict=True):
        message.rcpt_to = address
    return made


@each_mode
@pytest.mark.parametrize("tls", ["none", "implicit", "starttls"])
def test_a_session_opened_and_encrypted_by_aiosmtplib_goes_on_as_a_pipe(
    run: Callable[[Coroutine[Any, Any, Any]], Any], certificates: Certificates, mode: Mode, tls: str
) -> None:
    offered = OFFERS[mode].model_dump()
    if tls != "none":
        offered |= {
            "tls_certificate": certificates.localhost, "tls_key": certificates.key, "implicit_tls": tls == "implicit",
            "users": {"me": "secret"}, "require_auth": True,
        }  # fmt: skip
    account = {} if tls == "none" else {"username": "me", "password": "secret", "ca_file": certificates.authority}
    messages = [*letters(60), Outgoing("big@bore.example", "big@example.com", b"line\r\n" * 50_000)]

    async def go() -> None:
        async with MailboxSimulator(settings=Settings.model_validate(offered)) as simulator:
            pipe, feed = await send(_to(simulator, tls=tls, **account), messages)
            assert pipe.mode is mode
            assert {outcome.kind for _, outcome in feed.ends} == {"accepted"}
            assert feed.endings == [Ending("finished")]
            taken = [(message.sender, message.recipients, message.body) for message in simulator.messages]
            assert taken == [(m.mail_from, (m.rcpt_to,), m.content) for m in messages]
            assert {message.tls for message in simulator.messages} == {tls != "none"}

    run(go())


@each_mode
def test_refusals_among_good_ones_are_told_apart(run: Callable[[Coroutine[Any, Any, Any]], Any], mode: Mode) -> None:
    addresses = [
        "a@example.com", "bounce+550-5.1.1+a@example.com", "b@example.com", "reject+554-5.7.1+a@example.com",
        "defer+450-4.7.1+a@example.com", "defer+452-4.2.2+b@example.com", "c@example.com",
        "bounce+550-5.1.1+b@example.com",
    ]  # fmt: skip

    async def go(anyway: bool) -> None:
        offered = OFFERS[mode].model_copy(update={"answer_354_without_recipients": anyway})
        async with MailboxSimulator(settings=offered) as simulator:
            _, feed = await send(_to(simulator), _addressed(*addresses))
            assert feed.kinds() == [
                "accepted", "failed", "accepted", "refused", "throttled", "transient", "accepted", "failed",
            ]  # fmt: skip
            assert [(m.sender, m.recipients[0]) for m in simulator.messages] == [
                ("b0@bore.example", "a@example.com"),
                ("b2@bore.example", "b@example.com"),
                ("b6@bore.example", "c@example.com"),
            ]
            assert simulator.stats.connections == 1

    run(go(anyway=False))
    run(go(anyway=True))


@each_mode
@pytest.mark.parametrize(
    ("where", "kind"),
    [("rcpt", "lost_before"), ("data", "lost_before"), ("message", "lost_after"), ("kept", "lost_after")],
)
def test_a_connection_that_is_dropped_leaves_doubt_only_after_the_body(
    run: Callable[[Coroutine[Any, Any, Any]], Any], mode: Mode, where: str, kind: str
) -> None:
    async def go() -> None:
        async with MailboxSimulator(settings=OFFERS[mode]) as simulator:
            _, feed = await send(
                _to(simulator), _addressed("a@example.com", f"drop+{where}+a@example.com", "b@example.com")
            )
            kinds = feed.kinds()
            assert kinds[0] == "accepted"
            assert kinds[1] == (kind if mode is not Mode.CHUNKING else "lost_after")
            assert set(kinds[2:]) <= {"lost_before" if mode is not Mode.CHUNKING else "lost_after"}
            assert feed.endings[0].kind == "closed"

    run(go())


def test_a_354_whose_connection_is_already_closed_is_a_clean_retry(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-hi\r\n250 PIPELINING\r\n")
        for _ in range(3):
            await reader.readline()
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")  # it and the end of the stream in one segment

    async def go() -> None:
        async with scripted(script) as port:
            for _ in range(20):
                _, feed = await send(relay(port), letters(1))
                assert feed.kinds() == ["lost_before"]
                assert feed.begun == []

    run(go())


def test_replies_that_lie_unread_when_the_server_has_closed_count(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    async def play() -> ListFeed:
        ours, server = socket.socketpair()
        feed, answered, over = ListFeed(letters(3)), asyncio.Event(), asyncio.Event()
        feed.on_ended, feed.on_lost = lambda _: answered.set(), over.set
        _, pipe = await asyncio.get_running_loop().create_connection(
            lambda: MessagePipe(feed, EVERYTHING, Mode.CHUNKING, patience=Patience(), most=100), sock=ours
        )
        pipe.kick()
        taken = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.6.0 Taken\r\n"
        server.sendall(taken)
        async with asyncio.timeout(30):
            await answered.wait()
            assert pipe.on_wire == 2
            server.sendall(taken + b"250 2.0.0 Ok\r\n" + taken)
            server.close()
            feed.waiting += letters(5)[3:]
            pipe.kick()  # before the loop has read
            await over.wait()
        return feed

    feed = run(play())
    assert feed.kinds() == ["accepted"] * 3
    assert len(feed.waiting) == 2


async def _send_all(to: SmtpRelay, messages: Sequence[Outgoing]) -> tuple[list[Mode], Counter[str], list[Outgoing]]:
    """Pipe after pipe, with clean retries: (the modes in turn, how messages ended, those in doubt)."""
    modes: list[Mode] = []
    doubt: list[Outgoing] = []
    ends, waiting = Counter[str](), list(messages)
    while waiting:
        assert len(modes) < 200
        pipe, feed = await send(to, waiting)
        modes.append(pipe.mode)
        waiting = [m for m, o in feed.ends if o.kind in ("lost_before", "transient", "throttled")] + feed.waiting
        ends.update(o.kind for m, o in feed.ends)
        doubt += [m for m, o in feed.ends if o.kind == "lost_after"]
    return modes, ends, doubt


@pytest.mark.parametrize("per_connection", [1, 10_000])
def test_the_meetups_181_are_all_accepted_and_none_twice(
    run: Callable[[Coroutine[Any, Any, Any]], Any], per_connection: int
) -> None:
    """The server closes one connection in thirty before it answers DATA, or after thirty messages each."""

    async def go() -> None:
        rule = Drop(at="data", every_connection=30) if per_connection == 1 else LimitMessages(most=30, close=True)
        async with MailboxSimulator([rule]) as simulator:
            modes, ends, _ = await _send_all(_to(simulator, messages_per_connection=per_connection), letters(181))
            seen = Counter(message.recipients for message in simulator.messages)
            assert (len(seen), set(seen.values())) == (181, {1})
            assert ends == {"accepted": 181, "lost_before": 6}
            assert set(modes) == {Mode.PIPELINING}, "a network that fails is no reason to mistrust the relay"

    run(go())


def test_a_relay_that_ends_sessions_under_chunks_gets_them_one_by_one_from_then_on(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    async def go() -> None:
        rules = [LimitMessages(most=10, close=True)]
        async with MailboxSimulator(rules, settings=OFFERS[Mode.CHUNKING]) as simulator:
            modes, _, doubt = await _send_all(_to(simulator), letters(100))
            assert modes[:3] == [Mode.CHUNKING, Mode.CHUNKING, Mode.PIPELINING]
            assert set(modes[2:]) == {Mode.PIPELINING}
            taken = {message.recipients[0] for message in simulator.messages}
            assert len(taken) + len(doubt) == 100
            assert len(doubt) <= 2 * 8

    run(go())


def _clumsy(drops: str) -> Any:
    """A server that offers PIPELINING and throws away what came ahead (`drops`: after `DATA`, or any command)."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        body = False
        while data := await reader.read(65536):
            if body:
                if b"\r\n.\r\n" in data:
                    body = False
                    writer.write(b"250 2.0.0 taken\r\n")
                    if drops == "any":
                        continue
                    data = data.partition(b"\r\n.\r\n")[2]
                else:
                    continue
            for line in data.splitlines()[: 1 if drops == "any" else None]:
                verb = line[:4].upper()
                if verb == b"DATA":
                    body = True
                says = {b"EHLO": b"250-hi\r\n250 PIPELINING\r\n", b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
                writer.write(says.get(verb, b"250 ok\r\n"))

    return script


def test_a_server_that_offers_pipelining_and_cannot_is_talked_to_one_command_at_a_time(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    async def go() -> None:
        async with scripted(_clumsy("any")) as port:
            settings = RelaySettings(port=port, host="localhost", ip_family="4", helo="client.example", **PLENTY)
            to = SmtpRelay(settings, QUICK, Patience.of(0.05))
            modes, ends, doubt = await _send_all(to, letters(10))
            assert modes == [Mode.PIPELINING, Mode.PIPELINING, Mode.LOCK_STEP]
            assert ends["accepted"] == 10
            assert doubt == []
            assert "PIPELINING: timeout" in to.learned.why

    run(go())


def test_a_body_that_is_larger_than_every_buffer_goes_through(run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    big = [Outgoing("a@b.example", f"r{n}@example.com", b"0123456789\r\n" * 500_000, token=n) for n in range(6)]

    async def go() -> None:
        async with MailboxSimulator(settings=OFFERS[Mode.CHUNKING]) as simulator:
            _, feed = await send(_to(simulator), big)
            assert feed.kinds() == ["accepted"] * 6
            assert [len(message.body) for message in simulator.messages] == [6_000_000] * 6

    run(go())


def test_xoauth2_logs_in_with_a_token_that_is_never_shown() -> None:
    async def go() -> None:
        offered = Settings(tokens={"me": "token-123"}, require_auth=True)
        async with MailboxSimulator(settings=offered) as simulator:
            good = _to(simulator, tls="none", auth="xoauth2", username="me", password="token-123")
            _, feed = await send(good, letters(2))
            assert feed.kinds() == ["accepted"] * 2
            bad = _to(simulator, tls="none", auth="xoauth2", username="me", password="token-456")
            with pytest.raises(RelayDown) as caught:
                await bad.open_pipe(ListFeed([]))
            assert caught.value.reason == "auth"
            assert "456" not in str(caught.value)

    asyncio.run(go())


@pytest.mark.parametrize("which", ["elsewhere", "unknown"])
def test_a_pipe_is_not_opened_where_the_certificate_is_not_good(certificates: Certificates, which: str) -> None:
    async def go() -> None:
        certificate = certificates.localhost if which == "unknown" else certificates.elsewhere
        offered = Settings(tls_certificate=certificate, tls_key=certificates.key)
        trust = {} if which == "unknown" else {"ca_file": certificates.authority}
        async with MailboxSimulator(settings=offered) as simulator:
            with pytest.raises(RelayDown) as caught:
                await _to(simulator, tls="starttls", **trust).open_pipe(ListFeed([]))
            assert caught.value.reason == "tls"

    asyncio.run(go())


@contextmanager
def sink(*options: str) -> Iterator[int]:
    """Postfix's own receiver; gives its port."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program, "smtp-sink is missing: run `make packages`"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    process = subprocess.Popen([program, *user, *options, f"127.0.0.1:{port}", "100"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        assert process.poll() is None, "smtp-sink did not start"
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_postfix_takes_what_is_pipelined_each_under_its_own_envelope(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        directory.chmod(0o777)
        with sink("-d", f"{directory}/m.") as port:
            pipe, feed = run(send(relay(port, **PLENTY), letters(200)))
        assert pipe.mode is Mode.PIPELINING
        assert feed.kinds() == ["accepted"] * 200
        seen = set()
        for file in directory.iterdir():
            text = file.read_text()
            (number,) = re.findall(r"^Subject: (\d+)$", text, re.MULTILINE)
            assert f"X-Mail-Args: <b{number}@bore.example>" in text
            assert f"X-Rcpt-Args: <r{number}@example.com>" in text
            assert text.rstrip("\n").endswith("\n\nHola\n.dot")
            seen.add(number)
        assert len(seen) == 200


@pytest.mark.parametrize(
    ("options", "first", "ending"),
    [
        (("-q", "MAIL"), "lost_before", "closed"),
        (("-q", "RCPT"), "lost_before", "closed"),
        (("-q", "DATA"), "lost_before", "closed"),
        (("-q", "."), "lost_after", "closed"),
        (("-Q", "RCPT"), "throttled", "busy"),
        (("-Q", "."), "throttled", "busy"),
        (("-r", "RCPT"), "transient", "finished"),
        (("-f", "RCPT", "-B", "550 5.1.1 Nobody"), "failed", "finished"),
        (("-f", "DATA", "-B", "550 5.7.1 No"), "refused", "finished"),
        (("-f", ".", "-B", "550 5.7.1 No"), "refused", "finished"),
        (("-p",), "accepted", "finished"),
        (("-e",), "accepted", "finished"),
        (("-L",), "", ""),
    ],
)
def test_postfixs_ways_of_saying_no_are_understood(options: tuple[str, ...], first: str, ending: str) -> None:
    with sink(*options) as port:
        if not first:
            with pytest.raises(RelayDown):
                asyncio.run(send(relay(port, **PLENTY), letters(3)))
            return
        _, feed = asyncio.run(send(relay(port, **PLENTY), letters(3)))
    assert (feed.kinds()[0], feed.endings[0].kind) == (first, ending)
    if ending == "finished":
        assert set(feed.kinds()) == {first}
