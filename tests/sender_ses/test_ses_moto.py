"""The SES relay against moto, which plays SES over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer
from moto.ses.models import ses_backends
from ses_world import envelope, settings

from sender.ses.relay import SesRelay
from sender.smtp.outcomes import Outcome

MOTO_ACCOUNT = "123456789012"


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    ses_backends[MOTO_ACCOUNT]["us-east-1"].reset()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def send(endpoint: str) -> list[Outcome]:
    async def main() -> list[Outcome]:
        relay = SesRelay(settings(endpoint))
        try:
            relay._asked = relay._clock()  # moto has no GetAccount
            connections = [await relay.open() for _ in range(4)]
            return await asyncio.gather(*(c.send(envelope(i)) for i, c in enumerate(connections)))
        finally:
            await relay.close()

    return asyncio.run(main())


def test_messages_of_a_verified_domain_are_taken_as_they_are(endpoint: str) -> None:
    client = boto3.client("sesv2", endpoint_url=endpoint, region_name="us-east-1")
    client.create_email_identity(EmailIdentity="bore.example")
    client.close()
    found = send(endpoint)
    taken = ses_backends[MOTO_ACCOUNT]["us-east-1"].sent_messages
    assert [o.kind for o in found] == ["accepted"] * 4
    assert {o.provider_id for o in found} == {m.id for m in taken}
    assert {m.raw_data.encode() for m in taken} == {envelope().content}
    assert {(m.source, *m.destinations) for m in taken} == {("hi@bore.example", "ana@example.com")}


def test_a_domain_that_is_not_verified_is_refused(endpoint: str) -> None:
    found = send(endpoint)
    assert {o.kind for o in found} <= {"relay_down", "failed"}
    assert "MessageRejected" in found[0].text
    assert ses_backends[MOTO_ACCOUNT]["us-east-1"].sent_messages == []
