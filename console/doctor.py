"""`rampa doctor`: one check after another, each with what to do."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from console.access import Access, kafka_of, password_place, settings_of
from console.clock import clock_of
from console.errors import ConsoleError
from schemas.records import InstallationRecord
from schemas.topics import INSTALLATION, all_topics
from schemas.words import counted
from streams.admin import check_topics
from streams.clients import Kafka, wait_for_broker
from streams.errors import StreamsError
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it stands (`ok`, `warning`, `failed`), and what to do."""

    name: str
    state: str
    detail: str
    todo: str = ""

    def plain(self) -> dict[str, str]:
        return asdict(self)


def examine(config: Path | None) -> Iterator[Check]:
    """All checks, in the order in which one needs the other."""
    yield _versions()
    try:
        settings = settings_of(config)
    except ConsoleError as e:
        yield Check("settings", "failed", str(e), "correct them; `rampa init` writes a commented example")
        return
    have = f"{counted(len(settings.relays), 'relay')}, {counted(len(settings.domains), 'sending domain')}"
    yield Check("settings", "ok", have)
    if not settings.domains:
        yield Check("domains", "warning", "no sending domain is set", 'add [relays.main] and [domains."your.domain"]')
    yield from _domains(settings)
    yield _disk(settings)
    if not settings.planner.roots and settings.kafka.bootstrap != "embedded":
        detail = "whoever may write to campaign.requests can have any file mailed that the planner can read"
        yield Check("roots", "warning", detail, 'name the directories: [planner] roots = ["recipients"]')
    yield from _kafka(settings)
    for name in sorted(settings.relays):
        yield _relay(settings, name)


def _versions() -> Check:
    names = ("rampa", "confluent-kafka", "faust-streaming", "aiosmtplib", "pydantic", "boto3")
    found = ", ".join(f"{n} {version(n)}" for n in names)
    return Check("versions", "ok", f"Python {sys.version.split()[0]}, {found}, {ssl.OPENSSL_VERSION}")


def _domains(settings: Settings) -> Iterator[Check]:
    """What a domain's mail needs of its settings: a message is signed, as the sender would."""
    from schemas.template.errors import SettingsProblem
    from sender.signing import return_path_of, signer_of

    for name, domain in sorted(settings.domains.items()):
        todo = f'correct [domains."{name}"], then start the sender again; until then its mail waits, nobody fails'
        try:
            return_path_of(settings, name)
            sign = signer_of(settings, name)
        except SettingsProblem as e:
            yield Check(f"domain {name}", "failed", str(e), todo)
            continue
        if sign is not None and domain.dkim is not None:
            sign(f"From: x@{name}\r\n\r\n".encode(), datetime.now(UTC))
            place = f"{domain.dkim.selector}._domainkey.{name}"
            yield Check(f"domain {name}", "ok", f"its DKIM key signs; the public half belongs in the DNS at {place}")


def _disk(settings: Settings) -> Check:
    settings.data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data).free / 1e9
    state = "ok" if free > 1 else "warning"
    return Check(
        "data", state, f'"{settings.data}" has {free:.1f} GB free', "" if free > 1 else "make room: at least 1 GB"
    )


def _kafka(settings: Settings) -> Iterator[Check]:
    try:
        kafka = kafka_of(settings)
        started = time.monotonic()
        wait_for_broker(kafka, 5)
    except ConsoleError as e:
        yield Check("kafka", "failed", str(e), "start it with `rampa up`")
        return
    except StreamsError as e:
        yield Check("kafka", "failed", str(e), "start the brokers, or correct [kafka] in the settings")
        return
    yield Check("kafka", "ok", f"{kafka.bootstrap} answers in {(time.monotonic() - started) * 1000:.0f} ms")
    yield from _topics(settings, kafka)


def _topics(settings: Settings, kafka: Kafka) -> Iterator[Check]:
    records = (
        Access(settings, kafka).newest(INSTALLATION, InstallationRecord) if _has_installation(settings, kafka) else {}
    )
    if not records:
        yield Check(
            "topics", "failed", "this installation has not been started yet", "run `rampa topics create` or `rampa up`"
        )
        return
    record = next(iter(records.values()))
    try:
        check_topics(kafka, all_topics(), record.partitions, settings.kafka.topic_prefix)
    except StreamsError as e:
        yield Check("topics", "failed", str(e), "see the message")
    else:
        yield Check("topics", "ok", f"{len(all_topics())} topics, {record.partitions} partitions each")
    if settings.kafka.partitions != record.partitions:
        detail = f"the settings say {settings.kafka.partitions}, the first start recorded {record.partitions}"
        yield Check("partitions", "warning", detail, f"set kafka.partitions = {record.partitions}; keys do not move")
    clock = clock_of(record)
    detail = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC, speed {clock.speed:g}"
    if clock.speed != settings.clock.speed:
        yield Check(
            "clock", "warning", f"{detail}; the settings say {settings.clock.speed:g}", "the first start's speed holds"
        )
    else:
        yield Check("clock", "ok", detail)


def _has_installation(settings: Settings, kafka: Kafka) -> bool:
    names = kafka.admin().list_topics(timeout=10).topics
    return settings.kafka.topic_prefix + INSTALLATION.name in names


def _relay(settings: Settings, name: str) -> Check:
    from sender.relays import make_relay

    relay = settings.relays[name]
    if lacks := relay.lacks:
        return Check(f"relay {name}", "failed", lacks, f"set it: {password_place(name)}")
    places = {"smtp": f"{relay.host}:{relay.port}", "ses": f"SES {relay.endpoint_url or relay.region or ''}".strip()}
    where = places.get(relay.type, str(relay.path or ""))

    async def session() -> str:
        async with asyncio.timeout(20):
            made = make_relay(relay)
            connection = await made.open()
            await connection.close()
        limits = getattr(made, "limits", None)  # of an account that says them
        return f"; its account: {limits.words}" if limits is not None else ""

    return _tried(f"relay {name}", where, lambda: asyncio.run(session()))


def _tried(name: str, where: str, action: Callable[[], str]) -> Check:
    try:
        more = action()
    except Exception as e:  # noqa: BLE001 - whatever is wrong with a relay is what the operator must see
        text = str(e) or type(e).__name__
        todo = "check host, port, tls, username and password of this relay"
        if "source_ip" in text:
            todo = "set source_ip of this relay to an address of this host (`ip address` lists them), or leave it out"
        return Check(name, "failed", f"{where}: {text}", todo)
    return Check(name, "ok", f"{where} accepts a session{more}".strip())
