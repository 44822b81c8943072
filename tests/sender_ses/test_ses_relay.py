"""The SES relay against an HTTP server on this machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import botocore.session
import pytest
from pydantic import ValidationError
from ses_world import ACCOUNT, Answer, SesServer, envelope, error, raw, settings
from waiting import eventually

from sender.relays import RelayDown, make_relay
from sender.ses.relay import SesRelay
from sender.smtp.outcomes import Outcome
from streams.settings import RelaySettings

ERRORS = botocore.session.get_session().get_service_model("sesv2").operation_model("SendEmail").error_shapes
T = TypeVar("T")


def using(these: RelaySettings, do: Callable[[SesRelay], Awaitable[T]], now: Callable[[], float] | None = None) -> T:
    async def main() -> T:
        relay = SesRelay(these) if now is None else SesRelay(these, now)
        try:
            return await do(relay)
        finally:
            await relay.close()

    return asyncio.run(main())


async def one(relay: SesRelay) -> Outcome:
    connection = await relay.open()
    try:
        return await connection.send(envelope())
    finally:
        await connection.close()


def test_a_message_goes_out_as_it_is_under_its_name(server: SesServer) -> None:
    found = using(settings(server.url, configuration_set="rampa-events"), one)
    [body] = server.sent
    assert (found.kind, found.code, found.provider_id) == ("accepted", 250, "010001900000001-000000")
    assert raw(body) == envelope().content
    assert body["FromEmailAddress"] == "hi@bore.example"
    assert body["Destination"] == {"ToAddresses": ["ana@example.com"]}
    assert body["ConfigurationSetName"] == "rampa-events"
    assert {tag["Name"]: tag["Value"] for tag in body["EmailTags"]} == {
        "rampa_campaign": "c_d1", "rampa_batch": "2", "rampa_index": "5", "rampa_round": "3",
        "rampa_day": "2026-02-28",
    }  # fmt: skip


def test_what_ses_says_with_half_a_surrogate_can_be_written(server: SesServer) -> None:
    server.answer = lambda _: error("MessageRejected", 400, "no such user \ud83d")
    found = using(settings(server.url), one)
    assert found.text.encode() == b"MessageRejected: no such user ?"


def test_the_page_of_a_proxy_fits_into_a_record(server: SesServer) -> None:
    server.answer = lambda _: error("MessageRejected", 400, "<p>" * 1_000_000)
    assert len(using(settings(server.url), one).text) < 5_000


def test_without_a_configuration_set_none_is_named(server: SesServer) -> None:
    using(settings(server.url), one)
    assert "ConfigurationSetName" not in server.sent[0]


def test_connections_send_at_the_same_time(server: SesServer) -> None:
    together = threading.Barrier(4, timeout=10)

    def answer(_: object) -> Answer:
        together.wait()  # breaks unless four calls are there at once
        return Answer(200, {"MessageId": "x"})

    server.answer = answer

    async def four(relay: SesRelay) -> list[Outcome]:
        connections = [await relay.open() for _ in range(4)]
        return await asyncio.gather(*(c.send(envelope(i)) for i, c in enumerate(connections)))

    assert [o.kind for o in using(settings(server.url), four)] == ["accepted"] * 4


@pytest.mark.parametrize("shape", ERRORS, ids=lambda s: s.name)
def test_errors_of_the_service_model_come_through(server: SesServer, shape: botocore.model.Shape) -> None:
    status = shape.metadata["error"]["httpStatusCode"]
    server.answer = lambda _: error(shape.name, status, "Some words.")
    found = using(settings(server.url), one)
    assert found.kind in {"throttled", "relay_down", "refused", "failed"}
    assert found.text == f"{shape.name}: Some words."
    assert len(server.sent) == 1  # nothing is tried again behind our back


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_botocore_tries_nothing_again(server: SesServer, status: int) -> None:
    server.answer = lambda _: Answer(status)
    assert using(settings(server.url), one).kind in {"throttled", "lost_after", "transient"}
    assert len(server.sent) == 1


@pytest.mark.parametrize("close", ["late", "half"])
def test_a_connection_lost_after_the_request_leaves_the_message_in_doubt(server: SesServer, close: str) -> None:
    server.answer = lambda _: Answer(200, {"MessageId": "x"}, close=close)
    assert using(settings(server.url), one).kind == "lost_after"
    assert len(server.sent) == 1


def test_a_reply_that_is_none_leaves_the_message_in_doubt(server: SesServer) -> None:
    server.answer = lambda _: Answer(200, {})
    assert using(settings(server.url), one).kind == "lost_after"


def test_a_connection_lost_while_the_request_is_written_is_a_clean_retry(server: SesServer) -> None:
    server.early = True

    async def big(relay: SesRelay) -> Outcome:
        return await (await relay.open()).send(envelope(content=b"Subject: x\r\n\r\n" + b"x" * 20 * 10**6))

    assert using(settings(server.url), big).kind == "lost_before"


def test_a_reply_that_never_comes_leaves_the_message_in_doubt(
    server: SesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    server.answer = lambda _: Answer(200, {"MessageId": "x"}, wait=done)

    async def impatient(relay: SesRelay) -> Outcome:
        connection = await relay.open()
        api = connection._api
        api._client.meta.events.register(  # the settings allow no such hurry
            "before-send.sesv2.SendEmail", lambda request, **_: request.context.update(read_timeout=0.3)
        )
        return await connection.send(envelope())

    try:
        found = using(settings(server.url), impatient)
    finally:
        done.set()
    assert found.kind == "lost_after"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_server_that_is_not_there_is_a_relay_that_is_down() -> None:
    with pytest.raises(RelayDown) as down:
        using(settings(f"http://127.0.0.1:{free_port()}"), one)
    assert down.value.reason == "connect"


def test_a_server_that_goes_away_is_no_recipients_failure(server: SesServer) -> None:
    async def later(relay: SesRelay) -> tuple[Outcome, bool]:
        connection = await relay.open()
        server.stop()
        assert relay._api is not None
        relay._api.close()  # as after idling
        found = await connection.send(envelope())
        return found, connection.usable

    found, usable = using(settings(server.url), later)
    assert found.kind == "relay_down"
    assert not usable


def test_without_credentials_the_relay_is_down(server: SesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(RelayDown, match="credentials") as down:
        using(settings(server.url), one)
    assert down.value.reason == "auth"


def test_without_a_region_or_with_an_unknown_profile_the_settings_are_to_blame(server: SesServer) -> None:
    for these in (RelaySettings(type="ses"), settings(server.url, profile="nobody")):
        with pytest.raises(RelayDown, match=r"region|nobody") as down:
            using(these, one)
        assert down.value.reason == "settings"


def test_session_tokens_are_sent(server: SesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    using(settings(server.url), one)
    assert {headers["X-Amz-Security-Token"] for _, headers, _ in server.requests} == {"a-session-token"}


def test_a_profile_names_credentials_and_region(
    server: SesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[mail]\naws_access_key_id = AKIAMAIL\naws_secret_access_key = s\n")
    (tmp_path / "config").write_text("[profile mail]\nregion = eu-west-1\n")
    using(settings(server.url, profile="mail", region=None), one)
    for _, headers, _ in server.requests:
        assert "AKIAMAIL/" in headers["Authorization"]
        assert "/eu-west-1/ses/" in headers["Authorization"]


def test_the_account_is_asked_for_its_limits_now_and_then(server: SesServer) -> None:
    now = [0.0]

    async def opened(relay: SesRelay) -> list[int]:
        counts = []
        for at in (0.0, 1.0, 59.0, 61.0):
            now[0] = at
            await asyncio.gather(*(relay.open() for _ in range(3)))
            counts.append(server.asked())
        limits = await relay.account()
        assert limits == relay.limits
        assert (limits.per_second, limits.per_day, limits.sent_last_day) == (14.0, 50000.0, 1234.0)
        return counts

    assert using(settings(server.url), opened, lambda: now[0]) == [1, 1, 1, 2]


def test_an_account_that_may_not_send_is_a_relay_that_is_down_until_it_may(server: SesServer) -> None:
    async def again(relay: SesRelay) -> Outcome:
        server.account = Answer(200, ACCOUNT | {"SendingEnabled": False})
        with pytest.raises(RelayDown, match="paused"):
            await relay.open()
        server.account = Answer(200, ACCOUNT)
        return await one(relay)

    assert using(settings(server.url), again).kind == "accepted"


def test_after_a_refusal_of_the_account_it_is_asked_again(server: SesServer) -> None:
    async def refused(relay: SesRelay) -> None:
        server.answer = lambda _: error("AccountSuspendedException", 400, "")
        assert (await one(relay)).kind == "relay_down"
        await relay.open()

    using(settings(server.url), refused)
    assert server.asked() == 2


def test_after_a_refusal_of_one_of_its_domains_the_account_is_not_asked(server: SesServer) -> None:
    async def refused(relay: SesRelay) -> Outcome:
        server.answer = lambda _: error("MailFromDomainNotVerifiedException", 400, "")
        found = await one(relay)
        await relay.open()
        return found

    found = using(settings(server.url), refused)
    assert (found.kind, found.reason) == ("relay_down", "domain")
    assert server.asked() == 1


def test_who_may_send_need_not_be_allowed_to_read_the_account(server: SesServer) -> None:
    for answer in (
        error("AccessDeniedException", 403, "User is not authorized to perform: ses:GetAccount"),
        error("TooManyRequestsException", 429, "Rate exceeded"),
    ):
        server.account = answer
        assert using(settings(server.url), one).kind == "accepted"
    with pytest.raises(RelayDown, match="Rate exceeded") as down:
        using(settings(server.url), SesRelay.account)
    assert down.value.throttled


def test_wrong_credentials_are_a_relay_that_is_down(server: SesServer) -> None:
    server.account = error("UnrecognizedClientException", 403, "The security token included in the request is invalid.")
    with pytest.raises(RelayDown, match="security token") as down:
        using(settings(server.url), one)
    assert down.value.reason == "auth"
    assert "very-secret" not in str(down.value)


def test_an_address_outside_ascii_is_refused_before_the_wire(server: SesServer) -> None:
    async def one_of_ana(relay: SesRelay) -> Outcome:
        return await (await relay.open()).send(envelope(to="añá@example.com"))

    found = using(settings(server.url), one_of_ana)
    assert (found.kind, found.reason) == ("failed", "policy")
    assert server.sent == []


def test_a_closed_connection_sends_nothing(server: SesServer) -> None:
    async def closed(relay: SesRelay) -> Outcome:
        connection = await relay.open()
        await connection.close()
        await connection.close()
        assert not connection.usable
        return await connection.send(envelope())

    assert using(settings(server.url), closed).kind == "lost_before"
    assert server.sent == []


def test_a_cancelled_send_leaves_the_connection_unusable(server: SesServer) -> None:
    done = threading.Event()
    server.answer = lambda _: Answer(200, {"MessageId": "x"}, wait=done)

    async def cancelled(relay: SesRelay) -> bool:
        connection = await relay.open()
        task = asyncio.create_task(connection.send(envelope()))
        await asyncio.to_thread(eventually, lambda: server.sent)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done.set()
        return connection.usable

    assert using(settings(server.url), cancelled) is False


def test_settings_of_an_ses_relay() -> None:
    these = RelaySettings.model_validate({"type": "ses"})
    assert (these.rate, these.connections) == (14.0, 10)
    assert RelaySettings.model_validate({"type": "ses", "rate": "90/s"}).rate == 90.0
    for wrong in ({"username": "AKIA"}, {"configuration_set": "a b"}, {"endpoint_url": "nonsense"}):
        with pytest.raises(ValidationError):
            RelaySettings.model_validate({"type": "ses", **wrong})


def test_the_registry_knows_ses(server: SesServer) -> None:
    assert isinstance(make_relay(settings(server.url)), SesRelay)
