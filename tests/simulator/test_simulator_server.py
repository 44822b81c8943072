"""The simulator on real sockets: clients of others, drops, delays, limits, TLS, AUTH."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest
import uvloop
from simulator_wire import MAIL, MESSAGE, RCPT, SECONDS, WHOLE, Wire

from simulator.answers import Taken
from simulator.errors import StartError
from simulator.rules import Drop, LimitConnections, Reject, Rule, Slow
from simulator.server import MailboxSimulator
from simulator.settings import Settings

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Loop = Callable[[], asyncio.AbstractEventLoop]


def run(work: Callable[[], Awaitable[None]], loop: Loop = uvloop.new_event_loop) -> None:
    """Runs a test's coroutine on a loop of its own."""

    async def all_of_it() -> None:
        async with asyncio.timeout(3 * SECONDS):
            await work()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(all_of_it())


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  (the server's figures have no event)
            await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def trusting(cert: Path) -> ssl.SSLContext:
    """A client's context that trusts this certificate and checks names."""
    return ssl.create_default_context(cafile=cert)


@LOOPS
def test_a_pipelined_conversation_cut_anywhere_is_answered_in_order(loop: Loop) -> None:
    async def work() -> None:
        async with MailboxSimulator() as simulator, Wire(simulator) as wire:
            await wire.greet()
            sent = MAIL + RCPT + b"RCPT TO:<bounce@x.example>\r\nDATA\r\n"
            assert await wire.ask(sent, 4) == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354"]
            for byte in MESSAGE + b".\r\n" + MAIL:
                wire.writer.write(bytes([byte]))
                await wire.writer.drain()
            assert await wire.ask(RCPT, 3) == ["250 2.6.0", "250 2.1.0", "250 2.1.5"]
            assert [one.body for one in simulator.messages] == [MESSAGE]

    run(work, loop)


def test_clients_of_others_are_content() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@bore.example", "josé@mailbox.example", "Año"
    message.set_content("Señor,\n.a line with a dot\n..two\n.\n")

    async def work() -> None:
        async with MailboxSimulator() as simulator:
            await aiosmtplib.send(message, hostname="127.0.0.1", port=simulator.port, start_tls=False)
            await asyncio.to_thread(by_smtplib, simulator.port)
            first, second = simulator.messages
            assert first.recipients == ("josé@mailbox.example",)
            assert second.recipients == ("b@x.example", "c@x.example")
            assert b"\r\n.a line with a dot\r\n..two\r\n.\r\n" in second.body

    def by_smtplib(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
            refused = client.sendmail(
                "a@bore.example",
                ["b@x.example", "bounce+550-5.1.1@x.example", "c@x.example"],
                b"Subject: x\r\n\r\n.a line with a dot\r\n..two\r\n.\r\n",
            )
            assert refused == {"bounce+550-5.1.1@x.example": (550, b"5.1.1 No such user here")}
            assert client.verify("anna")[0] == 252

    run(work)


@LOOPS
@pytest.mark.parametrize(
    ("rule", "replies", "kept"),
    [
        (Drop(at="connect"), 0, 0),
        (Drop(at="connect", when="after"), 1, 0),
        (Drop(at="helo"), 1, 0),
        (Drop(at="mail"), 2, 0),
        (Drop(at="rcpt"), 3, 0),
        (Drop(at="data"), 4, 0),
        (Drop(at="data", when="after"), 5, 0),
        (Drop(at="message"), 5, 0),
        (Drop(at="message", keep=True), 5, 1),
        (Drop(at="message", when="after"), 6, 1),
    ],
)
def test_the_stream_ends_at_the_stage_and_no_reply_too_many_comes(
    rule: Drop, replies: int, kept: int, loop: Loop
) -> None:
    async def work() -> None:
        async with MailboxSimulator([rule]) as simulator, Wire(simulator) as wire:
            got = 0
            for line in [b"", b"EHLO client\r\n", MAIL, RCPT, b"DATA\r\n", MESSAGE + b".\r\n"]:
                wire.writer.write(line)
                if not await wire.reply():
                    break
                got += 1
            assert got == replies
            assert await wire.to_the_end() == b""
            assert len(simulator.messages) == kept
            await until(lambda: simulator.stats.open_connections == 0)

    run(work, loop)


@LOOPS
def test_a_reset_is_a_reset(loop: Loop) -> None:
    async def work() -> None:
        rule = Drop(at="message", how="reset", keep=True)
        async with MailboxSimulator([rule]) as simulator, Wire(simulator) as wire:
            await wire.greet()
            await wire.ask(MAIL + RCPT + b"DATA\r\n", 3)
            wire.writer.write(MESSAGE + b".\r\n")
            with pytest.raises(ConnectionResetError):
                await wire.to_the_end()
            assert len(simulator.messages) == 1

    run(work, loop)


def test_one_connection_in_three_is_closed_before_data_is_answered() -> None:
    async def work() -> None:
        async with MailboxSimulator([Drop(at="data", every_connection=3)]) as simulator:
            lost = []
            for number in range(1, 10):
                try:
                    await aiosmtplib.send(
                        MESSAGE, sender="a@b.example", recipients=["c@d.example"],
                        hostname="127.0.0.1", port=simulator.port, start_tls=False,
                    )  # fmt: skip
                except aiosmtplib.SMTPServerDisconnected:
                    lost.append(number)
            assert lost == [3, 6, 9]
            assert len(simulator.messages) == 6

    run(work)


@LOOPS
def test_a_slow_stage_holds_its_reply_back_and_then_all_goes_on(loop: Loop) -> None:
    async def work() -> None:
        rules: list[Rule] = [Slow(at="connect", milliseconds=50), Slow(at="message", milliseconds=300)]
        async with MailboxSimulator(rules) as simulator, Wire(simulator) as wire:
            await wire.greet()
            assert await wire.ask(MAIL + RCPT + b"DATA\r\n", 3) == ["250 2.1.0", "250 2.1.5", "354"]
            assert await wire.ask(MESSAGE + b".\r\n" + MAIL, 2) == ["250 2.6.0", "250 2.1.0"]
            assert time.time() - simulator.messages[0].at >= 0.29  # the loop's timers count in milliseconds

    run(work, loop)


def test_a_client_that_leaves_during_a_delay_does_no_harm() -> None:
    async def work() -> None:
        async with MailboxSimulator([Slow(at="mail", milliseconds=100)]) as simulator:
            async with Wire(simulator) as wire:
                await wire.greet()
                wire.writer.write(MAIL)
                await wire.writer.drain()
            await until(lambda: simulator.stats.open_connections == 0)
            async with Wire(simulator) as wire:
                await wire.greet()
                assert await wire.ask(MAIL) == ["250 2.1.0"]

    run(work)


def test_connections_beyond_the_limit_are_refused_and_counted() -> None:
    async def work() -> None:
        rule = LimitConnections(most=2, name="two at most")
        async with MailboxSimulator([rule]) as simulator:
            async with Wire(simulator) as one, Wire(simulator) as two:
                await one.greet()
                await two.greet()
                async with Wire(simulator) as three:
                    assert (await three.reply())[:3] == "421"
                    assert await three.to_the_end() == b""
            await until(lambda: simulator.stats.open_connections == 0)
            async with Wire(simulator) as four:
                await four.greet()
            figures = simulator.stats.snapshot()
            assert (figures["connections"], figures["peak_connections"]) == (4, 3)
            assert figures["rules"] == {"two at most": 1}

    run(work)


def test_an_idle_client_is_told_421_and_closed() -> None:
    async def work() -> None:
        async with MailboxSimulator(settings=Settings(idle_seconds=0.2)) as simulator, Wire(simulator) as wire:
            await wire.greet()
            assert (await wire.to_the_end())[:9] == b"421 4.4.2"

    run(work)


def test_at_its_end_the_server_says_421_to_those_between_commands() -> None:
    async def work() -> None:
        simulator = MailboxSimulator()
        await simulator.__aenter__()
        async with Wire(simulator) as wire, Wire(simulator) as in_data:
            await wire.greet()
            await in_data.greet()
            await in_data.ask(MAIL + RCPT + b"DATA\r\n", 3)
            await simulator.__aexit__()
            assert (await wire.to_the_end())[:9] == b"421 4.3.2"
            assert await in_data.to_the_end() == b""

    run(work)


@LOOPS
def test_a_client_that_does_not_read_its_replies_is_not_read_either(loop: Loop) -> None:
    async def work() -> None:
        async with MailboxSimulator() as simulator, Wire(simulator) as wire:
            await wire.greet()
            count = 100_000
            wire.writer.write(b"HELP\r\n" * count + b"QUIT\r\n")
            replies = await wire.to_the_end()
            assert replies.count(b"214 ") == count
            assert replies.endswith(b"221 2.0.0 Bye\r\n")
            await until(lambda: simulator.stats.open_connections == 0)

    run(work, loop)


@LOOPS
def test_the_server_ends_although_a_client_never_reads(loop: Loop) -> None:
    async def work() -> None:
        simulator = MailboxSimulator()
        await simulator.__aenter__()
        async with Wire(simulator) as wire:
            await wire.greet()
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport as well
            wire.writer.write(b"HELP\r\n" * 100_000)
            await until(lambda: simulator.held_up == 1)
            began = time.monotonic()
            await simulator.__aexit__()
            assert time.monotonic() - began < 5
            await until(lambda: simulator.stats.open_connections == 0)
            wire.writer.transport.abort()

    run(work, loop)


def test_a_message_that_cannot_be_stored_is_not_answered() -> None:
    class FullDisk:
        def take(self, message: Taken, number: int) -> None:
            raise OSError(f"disk full at message {number} of {len(message.body)} octets")

        def close(self) -> None:
            pass

    async def work() -> None:
        async with MailboxSimulator(stores=[FullDisk()]) as simulator, Wire(simulator) as wire:
            await wire.greet()
            wire.writer.write(WHOLE)
            assert b"2.6.0" not in await wire.to_the_end()
            assert (simulator.stats.messages, simulator.stats.store_errors) == (0, 1)

    run(work)


def test_a_port_in_use_is_named() -> None:
    async def work() -> None:
        async with MailboxSimulator() as first:
            with pytest.raises(StartError, match=f"127.0.0.1:{first.port}"):
                async with MailboxSimulator(port=first.port):
                    pass

    run(work)


@LOOPS
def test_starttls_checks_out_and_forgets_what_was_said(certificate: tuple[Path, Path], loop: Loop) -> None:
    cert, key = certificate
    settings = Settings(tls_certificate=cert, tls_key=key, require_tls=True)

    async def work() -> None:
        async with MailboxSimulator(settings=settings) as simulator:
            async with Wire(simulator) as wire:
                await wire.reply()
                wire.writer.write(b"EHLO client\r\n")
                assert "250 STARTTLS\r\n" in await wire.reply()
                assert await wire.ask(MAIL) == ["530 5.7.0"]
                assert await wire.ask(b"STARTTLS\r\n") == ["220 2.0.0"]
                await wire.writer.start_tls(trusting(cert), server_hostname="localhost")
                assert await wire.ask(MAIL) == ["503 5.5.1"]
                wire.writer.write(b"EHLO client\r\n")
                assert "STARTTLS" not in await wire.reply()
                assert await wire.ask(WHOLE + b"STARTTLS\r\n", 5) == [
                    "250 2.1.0", "250 2.1.5", "354", "250 2.6.0", "503 5.5.1",
                ]  # fmt: skip
            await aiosmtplib.send(
                MESSAGE, sender="a@b.example", recipients=["c@d.example"], hostname="localhost",
                port=simulator.port, start_tls=True, tls_context=trusting(cert),
            )  # fmt: skip
            assert [one.tls for one in simulator.messages] == [True, True]

    run(work, loop)


@LOOPS
def test_implicit_tls_speaks_tls_at_once(certificate: tuple[Path, Path], loop: Loop) -> None:
    cert, key = certificate
    settings = Settings(tls_certificate=cert, tls_key=key, implicit_tls=True)

    async def work() -> None:
        async with MailboxSimulator([Drop(at="mail", every_connection=2)], settings=settings) as simulator:
            for number in (1, 2):
                sending = aiosmtplib.send(
                    MESSAGE, sender="a@b.example", recipients=["c@d.example"], hostname="localhost",
                    port=simulator.port, use_tls=True, tls_context=trusting(cert),
                )  # fmt: skip
                if number == 1:
                    await sending
                else:
                    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
                        await sending
            assert [one.tls for one in simulator.messages] == [True]

    run(work, loop)


def test_a_failed_handshake_leaves_the_server_well(certificate: tuple[Path, Path]) -> None:
    settings = Settings(tls_certificate=certificate[0], tls_key=certificate[1])

    async def work() -> None:
        async with MailboxSimulator(settings=settings) as simulator:
            async with Wire(simulator) as wire:
                await wire.greet()
                await wire.ask(b"STARTTLS\r\n")
                wire.writer.write(b"this is no TLS\r\n")
                await wire.to_the_end()
            await until(lambda: simulator.stats.open_connections == 0)
            async with Wire(simulator) as wire:
                await wire.greet()

    run(work)


def test_tls_files_that_do_not_fit_are_named(certificate: tuple[Path, Path]) -> None:
    async def work() -> None:
        settings = Settings(tls_certificate=certificate[1], tls_key=certificate[0])
        with pytest.raises(StartError, match=r"key\.pem"):
            async with MailboxSimulator(settings=settings):
                pass

    run(work)


def b64(text: str) -> bytes:
    """One line of an AUTH exchange."""
    return base64.b64encode(text.encode()) + b"\r\n"


USERS = Settings(users={"anna": "secret"}, tokens={"anna": "token"}, require_auth=True)


@pytest.mark.parametrize(
    ("lines", "answered"),
    [
        ([b"AUTH PLAIN " + b64("\0anna\0secret")], ["235 2.7.0"]),
        ([b"AUTH PLAIN\r\n", b64("\0anna\0secret")], ["334", "235 2.7.0"]),
        ([b"AUTH PLAIN " + b64("\0anna\0wrong")], ["535 5.7.8"]),
        ([b"AUTH PLAIN " + b64("\0bert\0secret")], ["535 5.7.8"]),
        ([b"AUTH PLAIN " + b64("anna")], ["501 5.5.2"]),
        ([b"AUTH PLAIN !!!\r\n"], ["501 5.5.2"]),
        ([b"AUTH PLAIN\r\n", b"*\r\n"], ["334", "501 5.7.0"]),
        ([b"AUTH LOGIN\r\n", b64("anna"), b64("secret")], ["334", "334", "235 2.7.0"]),
        ([b"AUTH LOGIN " + b64("anna"), b64("wrong")], ["334", "535 5.7.8"]),
        ([b"AUTH XOAUTH2 " + b64("user=anna\x01auth=Bearer token\x01\x01")], ["235 2.7.0"]),
        ([b"AUTH XOAUTH2 " + b64("user=anna\x01auth=Bearer old\x01\x01"), b"\r\n"], ["334", "535 5.7.8"]),
        ([b"AUTH CRAM-MD5\r\n"], ["504 5.5.4"]),
        ([b"AUTH\r\n"], ["501 5.5.4"]),
    ],
)
def test_auth_lets_in_who_knows_the_secret(lines: list[bytes], answered: list[str]) -> None:
    async def work() -> None:
        async with MailboxSimulator(settings=USERS) as simulator, Wire(simulator) as wire:
            await wire.greet()
            assert await wire.ask(MAIL) == ["530 5.7.0"]
            assert [(await wire.ask(line))[0] for line in lines] == answered
            if answered[-1] == "235 2.7.0":
                assert await wire.ask(b"AUTH PLAIN\r\n" + WHOLE, 5) == [
                    "503 5.5.1", "250 2.1.0", "250 2.1.5", "354", "250 2.6.0",
                ]  # fmt: skip
                assert simulator.messages[0].user == "anna"
            else:
                assert await wire.ask(MAIL) == ["530 5.7.0"]

    run(work)


def test_auth_by_a_client_of_others_and_a_rule_that_refuses_it() -> None:
    async def work() -> None:
        rule = Reject(at="auth", code=454, enhanced="4.7.0", limit=2)  # the client tries PLAIN and LOGIN
        async with MailboxSimulator([rule], settings=USERS) as simulator:
            for expected in (454, 235):
                client = aiosmtplib.SMTP(hostname="127.0.0.1", port=simulator.port, start_tls=False)
                await client.connect()
                try:
                    code = (await client.login("anna", "secret")).code
                except aiosmtplib.SMTPAuthenticationError as error:
                    code = error.code
                assert code == expected
                await client.quit()

    run(work)


def test_auth_may_need_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    settings = Settings(tls_certificate=cert, tls_key=key, users={"a": "b"}, auth_needs_tls=True)

    async def work() -> None:
        async with MailboxSimulator(settings=settings) as simulator, Wire(simulator) as wire:
            await wire.greet()
            assert await wire.ask(b"AUTH PLAIN " + b64("\0a\0b")) == ["538 5.7.11"]
            await wire.ask(b"STARTTLS\r\n")
            await wire.writer.start_tls(trusting(cert), server_hostname="localhost")
            wire.writer.write(b"EHLO client\r\n")
            assert "AUTH PLAIN LOGIN" in await wire.reply()
            assert await wire.ask(b"AUTH PLAIN " + b64("\0a\0b")) == ["235 2.7.0"]

    run(work)
