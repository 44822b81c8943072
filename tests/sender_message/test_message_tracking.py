"""Tracked links and the pixel: the fast way, the slow way and `email.message` make the same bytes."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import slow_reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from letters import DAY, KEY, NOON, campaign, content, read
from slow_reference import Piece, source, values

from schemas.link import read_click
from schemas.message_name import MessageName, message_tokens, parse_url_token
from schemas.request import Tracking
from schemas.template.errors import TemplateError
from schemas.template.links import TOKEN, links_of
from sender.message.compile import CompiledMessage, compile_message
from sender.message.envelope import Envelope
from sender.message.headers import date_header

URL = "https://t.bore.example"
NAME = MessageName("cobranza-2026-02", 7, 3, 1)
EMAIL = "anna.b+x@example.com"
FIXED = {"From": "Bore <cobros@bore.example>", "Feedback-ID": "cobranza-2026-02:batch:main:r39a9a849c1"}
HTML: list[Piece] = [
    "<body><p>Hola ", ("a", "html"), '</p><a href="https://x.example/ñ?a=1&amp;q=', ("c", "query"), '">pay</a>',
    ("a", "html"), " <a href='https://x.example/", ("c", "path"), "/", ("a", "path"), "#x'>see</a>",
    "<a href=https://x.example>\n.all</a>" + "é" * 9 + "x" * 70 + "</body></html>\n",
]  # fmt: skip
PIXEL: list[Piece] = [
    f'<img src="{URL}/t/o/', (TOKEN, "path"),
    '.gif" width="1" height="1" alt="" style="display:block;border:0;width:1px;height:1px">',
]  # fmt: skip
TRACKED: list[Piece] = [
    "<body><p>Hola ", ("a", "html"), f'</p><a href="{URL}/t/c/', (TOKEN, "path"), "-1?", ("c", "query"), '">pay</a>',
    ("a", "html"), f" <a href='{URL}/t/c/", (TOKEN, "path"), "-2?", ("c", "query"), "!", ("a", "query"), "'>see</a>",
    f"<a href={URL}/t/c/", (TOKEN, "path"), "-3>\n.all</a>" + "é" * 9 + "x" * 70, *PIXEL, "</body></html>\n",
]  # fmt: skip
VALUES = st.text(st.characters(codec="utf-8"), max_size=90)


def compiled(html: str, *, opens: bool = True, clicks: bool = True, **changes: Any) -> CompiledMessage:
    given_ = {"subject": "Hola"} | changes
    made = campaign(html=html, links=links_of(html), tracking=Tracking(opens=opens, clicks=clicks), **given_)
    return compile_message(made, key=KEY, tracker=f"{URL}/")


def merged(pieces: list[Piece]) -> list[Piece]:
    """Neighbouring texts as one, as the template has them."""
    out: list[Piece] = []
    for one in pieces:
        if isinstance(one, str) and out and isinstance(out[-1], str):
            out[-1] += one
        else:
            out.append(one)
    return out


def slowly(made: CompiledMessage, row: dict[str, object], name: MessageName = NAME) -> Envelope:
    tokens = message_tokens(name.campaign_id, name.batch_number, name.round, DAY, KEY)
    return made.fill_slowly(row, tokens(name.index), date_header(NOON))


BOTH = compiled(source(HTML), text="Hola")


@settings(max_examples=120, deadline=None)
@given(VALUES, VALUES)
@example("Ana", "Leeds")
@example("a b/c?d&e!", "x" * 80)
def test_a_tracked_message_is_the_same_in_three_ways(a: str, c: str) -> None:
    row: dict[str, object] = {"email": EMAIL, "a": a, "c": c}
    filled = BOTH.fill(row, NAME, DAY, NOON)
    assert filled == slowly(BOTH, row)
    token = message_tokens(NAME.campaign_id, NAME.batch_number, NAME.round, DAY, KEY)(NAME.index).url
    html = values(merged(TRACKED), {**row, TOKEN: token}, html=True)
    reference = slow_reference.message(FIXED, "Hola", ["Hola"], html, row, NAME, DAY, NOON, BOTH.boundary)
    assert filled.content.split(b"\r\n") == reference.split(b"\r\n")
    assert not re.search(rb"(?m)^\.", filled.content)


def test_links_and_pixel_take_the_fast_way() -> None:
    assert BOTH.letter is not None
    tokens = message_tokens(NAME.campaign_id, NAME.batch_number, NAME.round, DAY, KEY)(NAME.index)
    made = BOTH.letter.core(("email", "a", "c"))([EMAIL, "Ana", "Leeds"], tokens, date_header(NOON))
    assert made == BOTH.fill({"email": EMAIL, "a": "Ana", "c": "Leeds"}, NAME, DAY, NOON)


@pytest.mark.parametrize("campaign_id", ["c", "a..b.", "A_9-" * 25])
@pytest.mark.parametrize("wrap", ["{}", "{{% for once in [1] %}}{}{{% endfor %}}", "{{% if a %}}{}{{% endif %}}"])
def test_each_url_says_its_message_and_where_it_leads(campaign_id: str, wrap: str) -> None:
    html = f"<p>.</p>{wrap.format(source(HTML))}"
    made = compiled(html, campaign_id=campaign_id)
    name = MessageName(campaign_id, 7, 12, 1)
    row: dict[str, object] = {"email": EMAIL, "a": "Ana María", "c": "x/y&z"}
    filled = made.fill(row, name, DAY, NOON)
    assert filled == slowly(made, row, name)
    seen = content(read(filled), "html")
    urls = [one.replace("%3D", "=") for one in re.findall(rf"{URL}/t/c/([^\"'> ]+)", seen)]
    assert len(urls) == 3
    links, leads = links_of(html), []
    for url in urls:
        path, _, query = url.partition("?")
        token, number = read_click(path) or ("", 0)
        found = parse_url_token(token, [KEY])
        assert found is not None
        assert (found.name, found.day) == (name, DAY)
        leads.append(links[number - 1].target(query))
    assert leads == [
        "https://x.example/%C3%B1?a=1&q=x%2Fy%26z", "https://x.example/x/y%26z/Ana%20Mar%C3%ADa#x", "https://x.example",
    ]  # fmt: skip
    assert seen.count("/t/o/") == 1


@pytest.mark.parametrize(("opens", "clicks"), [(True, False), (False, True), (False, False)])
def test_what_a_campaign_does_not_want_is_not_there(opens: bool, clicks: bool) -> None:
    row: dict[str, object] = {"email": EMAIL, "a": "Ana", "c": "Leeds"}
    seen = content(read(compiled(source(HTML), opens=opens, clicks=clicks).fill(row, NAME, DAY, NOON)), "html")
    assert (seen.count("/t/o/"), seen.count("/t/c/")) == (int(opens), 3 * clicks)


def test_the_text_part_has_the_links_as_they_were_written() -> None:
    html = '<p>Hola</p><a href="https://x.example/?q={{ c }}">pay</a>'
    message = read(compiled(html).fill({"email": EMAIL, "c": "a b"}, NAME, DAY, NOON))
    assert "pay (https://x.example/?q=a%20b)" in content(message, "plain")
    assert f"{URL}/t/c/" in content(message, "html")


def test_a_row_cannot_say_whose_link_it_is() -> None:
    row: dict[str, object] = {"email": EMAIL, "a": "Ana", "c": "Leeds", TOKEN: "c.1.2.0.260202.0123456789abcdef"}
    clean = {name: value for name, value in row.items() if name != TOKEN}
    assert BOTH.fill(row, NAME, DAY, NOON) == BOTH.fill(clean, NAME, DAY, NOON)
    looping = compiled("{% for x in [1] %}<a href='https://x.example/'>x</a>{% endfor %}")
    row["first_name"] = clean["first_name"] = "Ana"
    assert looping.fill(row, NAME, DAY, NOON) == looping.fill(clean, NAME, DAY, NOON)


@pytest.mark.parametrize(
    "use", ["{{ %s }}", "{{ %s | default(1) }}", "{%% if %s %%}x{%% endif %%}", "{%% set %s = 1 %%}x"]
)
def test_a_template_cannot_ask_for_the_token(use: str) -> None:
    for part in ("subject", "html", "text"):
        with pytest.raises(TemplateError, match="tracking needs"):
            compile_message(campaign(**{part: f"<p>{use % TOKEN}</p>"}), key=KEY)


def test_links_that_are_not_the_planned_ones_are_sent_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    html = '<p>x</p><a href="https://x.example/">x</a>'
    other = campaign(html=html, links=links_of(html.replace("x.example", "y.example")), tracking=Tracking())
    with caplog.at_level(logging.WARNING):
        made = compile_message(other, key=KEY, tracker=URL)
    assert "it was planned with others" in caplog.text
    seen = content(read(made.fill({"email": EMAIL, "first_name": "Ana"}, NAME, DAY, NOON)), "html")
    assert '<a href="https://x.example/">' in seen
    assert "/t/o/" in seen


def test_without_a_tracker_nothing_is_tracked() -> None:
    html = source(HTML)
    made = compile_message(campaign(html=html, links=links_of(html), tracking=Tracking()), key=KEY)
    row: dict[str, object] = {"email": EMAIL, "a": "Ana", "c": "Leeds", "first_name": "Ana"}
    assert b"/t/" not in made.fill(row, NAME, DAY, NOON).content
