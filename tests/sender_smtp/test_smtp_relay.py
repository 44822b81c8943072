"""How a session begins, or does not: addresses, TLS, greeting, AUTH."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import traceback
from typing import Any

import pytest
from certificates import Certificates
from smtp_wire import envelope, relay, scripted, talk

from sender.relays import make_relay
from sender.smtp.dialogue import Timeouts
from sender.smtp.errors import RelayDown
from sender.smtp.relay import TlsPlan, tls_plan
from simulator.rules import Drop, LimitConnections, Reject
from simulator.server import MailboxSimulator
from simulator.settings import Settings
from streams.settings import RelaySettings

PASSWORD = "s3cret&pass"


def test_tls_goes_by_port_unless_it_is_set() -> None:
    assert tls_plan("auto", 465) == TlsPlan(implicit=True)
    assert tls_plan("auto", 587) == TlsPlan(starttls=True, required=True)
    assert tls_plan("auto", 25) == TlsPlan(starttls=True, required=False)
    assert tls_plan("starttls", 2525) == TlsPlan(starttls=True, required=True)
    assert tls_plan("implicit", 2465) == TlsPlan(implicit=True)
    assert tls_plan("none", 465) == TlsPlan()


def _down(simulator_settings: Settings | None = None, rules: Any = (), **settings: Any) -> RelayDown:
    async def run() -> None:
        async with MailboxSimulator(rules, settings=simulator_settings or Settings()) as simulator:
            connection = await relay(simulator.port, **settings).open()
            await connection.close()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    return caught.value


def _up(simulator_settings: Settings, **settings: Any) -> Any:
    """The one message that the server took in a session with these settings."""

    async def run() -> Any:
        async with MailboxSimulator(settings=simulator_settings) as simulator:
            connection = await relay(simulator.port, **settings).open()
            assert (await connection.send(envelope())).kind == "accepted"
            await connection.close()
            return simulator.messages[0]

    return asyncio.run(run())


def _tls(certificates: Certificates, which: str = "localhost", **more: Any) -> Settings:
    return Settings(tls_certificate=getattr(certificates, which), tls_key=certificates.key, **more)


@pytest.mark.parametrize("mode", ["implicit", "starttls", "auto"])
def test_the_certificate_is_checked_against_the_name_though_the_address_was_chosen(
    certificates: Certificates, mode: str
) -> None:
    server = _tls(certificates, implicit_tls=mode == "implicit")
    assert _up(server, tls=mode, ca_file=certificates.authority, ip_family="4").tls


@pytest.mark.parametrize("mode", ["implicit", "starttls", "auto"])
def test_a_certificate_of_another_name_is_refused(certificates: Certificates, mode: str) -> None:
    down = _down(
        _tls(certificates, "elsewhere", implicit_tls=mode == "implicit"), tls=mode, ca_file=certificates.authority
    )
    assert down.reason == "tls"
    assert "Hostname mismatch" in down.text
    assert "localhost" in down.text


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_an_authority_that_is_not_known_is_refused(certificates: Certificates, mode: str) -> None:
    down = _down(_tls(certificates, implicit_tls=mode == "implicit"), tls=mode)
    assert down.reason == "tls"
    assert "ca_file" in down.text


def test_starttls_that_was_stripped_is_refused() -> None:
    down = _down(tls="starttls", username="u", password=PASSWORD)
    assert down.reason == "tls"
    assert "does not offer STARTTLS" in down.text


def test_starttls_that_is_refused_is_no_reason_to_go_on_in_the_clear() -> None:
    async def run() -> None:
        async with scripted(talk(b"220 hi", b"250-hi\r\n250 STARTTLS", b"454 4.7.0 TLS not available")) as port:
            await relay(port).open()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    assert (caught.value.reason, caught.value.code) == ("tls", 454) or caught.value.throttled


def test_tls_1_1_is_refused(certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.localhost, certificates.key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def run() -> None:
        server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=context)
        try:
            port = server.sockets[0].getsockname()[1]
            await relay(port, tls="implicit", ca_file=certificates.authority).open()
        finally:
            server.close()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    assert caught.value.reason == "tls"


def test_a_ca_file_that_is_missing_is_said() -> None:
    down = _down(tls="starttls", ca_file="no-such.pem")
    assert down.reason == "settings"
    assert "no-such.pem" in down.text


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_user_is_logged_in(certificates: Certificates, encrypted: bool) -> None:
    users: dict[str, Any] = {"users": {"bore": PASSWORD}, "require_auth": True}
    server = _tls(certificates, **users) if encrypted else Settings(**users)
    assert _up(server, username="bore", password=PASSWORD, ca_file=certificates.authority).user == "bore"


def test_a_wrong_password_is_said_once_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[bytes] = []
    told = base64.b64encode(f"\0bore\0{PASSWORD}".encode())

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            lines.append(line)
            if line.startswith(b"EHLO"):
                writer.write(b"250-hi\r\n250 AUTH LOGIN PLAIN\r\n")
            elif line.startswith(b"AUTH LOGIN"):
                writer.write(b"504 5.5.4 not that one\r\n")
            else:  # a server that repeats what it was told
                writer.write(b"535 5.7.8 bad: " + told + b" aka " + PASSWORD.encode() + b"\r\n")

    async def run() -> None:
        async with scripted(script) as port:
            await relay(port, username="bore", password=PASSWORD).open()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    assert (caught.value.reason, caught.value.code) == ("auth", 535)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value)
    assert PASSWORD not in shown
    assert told.decode() not in shown
    assert sum(line.startswith(b"AUTH PLAIN") for line in lines) == 1


def test_a_password_that_auth_cannot_carry_is_not_shown() -> None:
    down = _down(Settings(users={"u": "x"}), username="u", password="\udce9\r\nnot sent")
    assert down.reason == "auth"
    assert "not sent" not in str(down)


def test_a_server_without_auth_is_said() -> None:
    assert _down(username="u", password=PASSWORD).reason == "auth"


@pytest.mark.parametrize("at", ["connect", "helo", "auth"])
def test_a_refusal_of_the_session_is_the_relays_not_a_recipients(at: Any) -> None:
    rule = Reject(at=at, code=554, enhanced="5.7.1", text="go away")
    down = _down(Settings(users={"u": PASSWORD}), [rule], username="u", password=PASSWORD)
    assert (down.code, down.throttled) == (554, False)
    assert down.reason in {"greeting", "auth"}
    assert "5.7.1 go away" in down.text


def test_a_refusal_in_any_encoding_can_be_written_into_a_record() -> None:
    async def run() -> None:
        async with scripted(talk("554 5.7.1 nicht m\xf6glich".encode("latin-1"))) as port:
            await relay(port).open()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    assert str(caught.value).encode() == b"greeting: 554 5.7.1 nicht m?glich"


def test_too_many_connections_is_told_apart() -> None:
    down = _down(rules=[LimitConnections(most=1, code=421), Reject(at="helo", code=421, enhanced="4.7.0", text="busy")])
    assert (down.reason, down.code, down.throttled) == ("busy", 421, True)


HELLO = b"220 mail.example", b"250-mail.example\r\n250-STARTTLS\r\n250 AUTH PLAIN"


@pytest.mark.parametrize(
    ("said", "settings", "reason", "throttled"),
    [
        ((*HELLO, b"421 4.7.0 too many log-ins, closing"), {"tls": "none"}, "busy", True),
        ((*HELLO, b"454 4.7.0 temporary authentication failure"), {"tls": "none"}, "auth", False),
        ((*HELLO, b""), {"tls": "none"}, "connect", False),
        ((*HELLO, b"334-"), {"tls": "none"}, "connect", False),
        ((*HELLO, b"220-"), {"tls": "starttls"}, "connect", False),
        ((b"220-",), {"tls": "implicit"}, "tls", False),
    ],
    ids=["421", "454", "lost in AUTH", "silent in AUTH", "silent in STARTTLS", "no TLS"],
)
def test_what_breaks_off_in_tls_or_auth_is_no_word_about_certificates_or_credentials(
    said: tuple[bytes, ...], settings: dict[str, Any], reason: str, throttled: bool
) -> None:
    async def run() -> None:
        async with scripted(talk(*said)) as port:
            quick = Timeouts(connect=5, greeting=1, command=1, message=1)
            await relay(port, timeouts=quick, username="u", password=PASSWORD, **settings).open()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    assert (caught.value.reason, caught.value.throttled) == (reason, throttled)


def test_a_server_that_closes_at_once_is_down() -> None:
    assert _down(rules=[Drop(at="connect")]).reason == "greeting"


def test_a_port_where_nobody_listens_is_down() -> None:
    async def run() -> None:
        async with scripted(talk(b"")) as port:
            pass
        await relay(port).open()

    with pytest.raises(RelayDown) as caught:
        asyncio.run(run())
    assert caught.value.reason == "connect"
    assert "127.0.0.1" in caught.value.text


def test_a_name_that_does_not_resolve_is_down() -> None:
    assert _down(host="no-such-host.invalid").reason == "address"


def test_plain_text_where_tls_is_meant_says_what_to_try() -> None:
    down = _down(tls="implicit")
    assert down.reason == "tls"
    assert "starttls" in down.text


def test_a_source_address_is_used() -> None:
    seen: list[str] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        await talk(b"220 hi", b"250 hi", b"221 bye")(reader, writer)

    async def run() -> None:
        async with scripted(script) as port:
            await (await relay(port, source_ip="127.0.0.7").open()).close()

    asyncio.run(run())
    assert seen == ["127.0.0.7"]


@pytest.mark.parametrize("source_ip", ["::1", "not an address", "192.0.2.1"])
def test_a_source_address_that_does_not_fit_is_said(source_ip: str) -> None:
    down = _down(source_ip=source_ip, ip_family="4")
    assert down.reason == "settings"
    assert f"source_ip {source_ip}" in down.text.replace("'", "")


def test_the_first_address_that_answers_is_taken() -> None:
    assert _up(Settings(), ip_family="any").recipients == ("anna@example.com",)  # ::1, where nobody listens, too


def test_the_name_in_the_greeting_is_the_one_that_was_set() -> None:
    lines: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        lines.append(await reader.readline())
        writer.write(b"502 5.5.1 what is EHLO?\r\n")
        lines.append(await reader.readline())
        writer.write(b"250 hi\r\n")
        await reader.readline()
        writer.write(b"221 bye\r\n")

    async def run() -> None:
        async with scripted(script) as port:
            await (await relay(port, helo="mail.bore.example").open()).close()

    asyncio.run(run())
    assert lines == [b"EHLO mail.bore.example\r\n", b"HELO mail.bore.example\r\n"]


def test_a_relay_type_that_cannot_send_is_said() -> None:
    with pytest.raises(RelayDown, match="'pigeon' cannot send"):
        make_relay(RelaySettings.model_construct(type="pigeon"))  # type: ignore[arg-type]
