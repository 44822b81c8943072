"""What one message costs: compiled, by the template engine, signed, and by `EmailMessage` and Jinja2.

A multipart message of 4 KB with six variables, some of them several times, for recipients half of whom have a
name or city outside ASCII. CPU microseconds a message: the least of several rounds, on one core. Results go to
bench/results/messages.json.

    python bench/messages.py [--messages 2000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jinja2
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from schemas.campaign import Campaign, RecipientSource, ResolvedSchedule, ResolvedTemplate, SourceFingerprint
from schemas.message_name import MessageName
from schemas.request import Tracking
from schemas.strategy import Step, Strategy
from schemas.template.links import links_of
from sender.message.compile import compile_message
from sender.message.dkim import signer

RESULTS = Path(__file__).parent / "results" / "messages.json"
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
KEY = bytes(range(32))
NAMES = ("Ann", "José", "Mary-Jane", "Oluwaseun", "Li", "Zoë", "Bob", "François")
COMPANIES = ("Acme & Sons", "Blue River Ltd", "Café du Nord", "O'Neill Partners", "Delta Works")
CITIES = ("Leeds", "Zürich", "Porto", "Lyon", "Gdańsk", "Cork")
SUBJECT = "Hi {{ first_name }}, the spring catalogue is open"
SHOP = "https://shop.northwind.example"
LONG = (
    "New this year: a hedging collection grown in our own nursery, root-wrapped on the day it leaves us, and a seed "
    "range that is tested in three climates before we list it. Every order over £40 is planted against with a native "
    "tree, and you can see where on the map in your account."
)
TEXT = f"""Hi {{{{ first_name }}}},

It’s been a busy spring and we wanted {{{{ company }}}} to hear about it first.
The catalogue for {{{{ city }}}} opens today.

See the catalogue: {SHOP}/c?for={{{{ account }}}}
Read the planting guide: {SHOP}/guide?for={{{{ account }}}}

{LONG}

You get this because {{{{ email }}}} is on our list. Your balance is {{{{ balance }}}}.
"""
CELL = '<tr><td style="padding:16px 24px;font-size:15px;line-height:22px">'
HTML = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Spring news for {{{{ company }}}}</title></head>
<body style="margin:0;padding:0;background:#f4f4f2;font-family:Arial,Helvetica,sans-serif">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0">
{CELL}<img src="{SHOP}/logo.png" width="160" height="40" alt="Northwind"></td></tr>
{CELL}<h1 style="font-size:22px;color:#234d20">Hi {{{{ first_name }}}}, spring is here</h1>
<p>It’s been a busy spring and we wanted {{{{ company }}}} to hear about it first. The catalogue for {{{{ city }}}}
opens today: 214 plants, 38 tools and a new range of peat-free compost.</p></td></tr>
{CELL}<a href="{SHOP}/c?for={{{{ account }}}}" style="background:#234d20;color:#fff">See the catalogue</a></td></tr>
{CELL}<a href="{SHOP}/visit?for={{{{ account }}}}&amp;city={{{{ city }}}}">Book a visit</a></td></tr>
{CELL}{LONG}</td></tr>
{CELL}{LONG}</td></tr>
{CELL}You get this because {{{{ email }}}} is on our list. Your balance is {{{{ balance }}}}.</td></tr>
</table></body></html>
"""
COLUMNS = ("email", "first_name", "company", "city", "account", "balance", "unused")


def rows(n: int) -> list[list[object]]:
    """Recipients, as a batch has them."""
    return [
        [f"user{i}@mail{i % 50}.example", NAMES[i % 8], COMPANIES[i % 5], CITIES[i % 6], f"c42-{i:07}x", i * 3, ""]
        for i in range(n)
    ]


def campaign(html: str, *, tracked: bool = False) -> Campaign:
    """The campaign, all decided."""
    step = Step(day=1, daily_limit=None, batch_size=500)
    return Campaign(
        campaign_id="spring", name="Spring", content_hash="0" * 64, created_at=NOW, relay="main",
        from_email="news@northwind.example", from_name="Northwind", sending_domain="northwind.example",
        template=ResolvedTemplate(subject=SUBJECT, html=html, text=TEXT),
        source=RecipientSource(fingerprint=SourceFingerprint(kind="inline", size=1, changed="")),
        schedule=ResolvedSchedule(start_at=NOW, timezone="UTC"), tracking=Tracking(opens=tracked, clicks=tracked),
        links=links_of(html) if tracked else (),
        strategy=Strategy(name="batch", type="batch", steps=(step,), intervals_minutes=(0,)),
    )  # fmt: skip


Make = Callable[[list[object], int], bytes]


def compiled(html: str = HTML, key: Any = None, *, tracked: bool = False) -> Make:
    """Ours."""
    sign = None
    if key is not None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        sign = signer("northwind.example", "r1", pem)
    message = compile_message(
        campaign(html, tracked=tracked), key=KEY, tracker="https://t.northwind.example", sign=sign
    )
    filling = message.bind(COLUMNS, "spring", 7, 0, NOW.date())
    return lambda row, index: filling(row, index, NOW).content


def by_name() -> Make:
    """Ours, from a mapping."""
    message = compile_message(campaign(HTML), key=KEY, tracker="https://t.northwind.example")
    return lambda row, i: (
        message.fill(dict(zip(COLUMNS, row, strict=True)), MessageName("spring", 7, i), NOW.date(), NOW).content
    )


def email_message() -> Make:
    """What a mailer in Python usually does: Jinja2, compiled once, and an `EmailMessage` for each recipient."""
    plain, escaping = jinja2.Environment(autoescape=False), jinja2.Environment(autoescape=True)  # noqa: S701
    subject, text, html = plain.from_string(SUBJECT), plain.from_string(TEXT), escaping.from_string(HTML)

    def make(row: list[object], index: int) -> bytes:
        given = dict(zip(COLUMNS, row, strict=True))
        message = EmailMessage(policy=SMTP)
        message["Date"] = format_datetime(NOW)
        message["Message-ID"] = f"<spring.7.{index}.0@northwind.example>"
        message["From"] = "Northwind <news@northwind.example>"
        message["To"] = given["email"]
        message["Subject"] = subject.render(given)
        message["List-Unsubscribe"] = f"<https://t.northwind.example/u/spring.7.{index}.0>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(text.render(given))
        message.add_alternative(html.render(given), subtype="html")
        return message.as_bytes()

    return make


def measure(make: Make, table: list[list[object]], rounds: int) -> float:
    """CPU microseconds a message, the least of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for index, row in enumerate(table):
            make(row, index)
        best = min(best, time.process_time() - began)
    return best / len(table) * 1e6


def main() -> None:
    """Measures each way, prints and writes the results."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--messages", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=9)
    options = p.parse_args()
    conditional = HTML.replace("<p>It’s", "{% if balance > 100 %}<p>Thank you!</p>{% endif %}<p>It’s")
    ways: list[tuple[str, Make, int]] = [
        ("compiled, rows in columns", compiled(), 1),
        ("compiled, rows by name", by_name(), 1),
        ("compiled, links and a pixel tracked", compiled(tracked=True), 1),
        ("a template with a condition", compiled(conditional), 10),
        ("compiled, signed ed25519-sha256", compiled(key=ed25519.Ed25519PrivateKey.generate()), 10),
        ("compiled, signed rsa-sha256 (2048)", compiled(key=rsa.generate_private_key(65537, 2048)), 20),
        ("EmailMessage and Jinja2", email_message(), 40),
    ]
    table = rows(options.messages)
    results: list[dict[str, Any]] = []
    for name, make, share in ways:
        took = measure(make, table[: max(20, len(table) // share)], options.rounds)
        results.append({"name": name, "octets": len(make(table[2], 2)), "microseconds": round(took, 1)})
        print(json.dumps(results[-1]))
    ours, theirs = results[0]["microseconds"], results[-1]["microseconds"]
    document = {
        "python": platform.python_version(),
        "results": results,
        "times_faster_than_EmailMessage": round(theirs / ours),
        "targets": {"compiled_microseconds": 15},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
