"""No template, however it is written, keeps a process busy for long before it is refused or compiled."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from schemas.template.context import MAX_TAIL, HtmlScanner, Place, TextScanner
from schemas.template.engine import MAX_SOURCE_BYTES, MAX_TOKENS, parse_derived, parse_html, parse_text
from schemas.template.errors import TemplateError

BIG = MAX_SOURCE_BYTES - 100


def filled(piece: str, before: str = "", after: str = "") -> str:
    return before + piece * ((BIG - len(before) - len(after)) // len(piece)) + after


@pytest.mark.parametrize(
    "source",
    [
        filled("A", "<img src='data:image/png;base64,", "'>"),
        filled("A", "<script>", "</script>"),
        filled("<", "<script>"),
        filled("x"),
        filled("<b "),
        filled(" a=b", "<b", ">"),
        filled("<!--"),
        filled("<ul><li>"),
        filled("&"),
        filled("{{a}}"),
        filled("~a", "{{a", "}}"),
        "{{a~a}}" * (MAX_TOKENS // 5 - 10),
        "{% if a %}" * 500 + "{% endif %}" * 500,
        filled("{"),
    ],
    ids=lambda source: source[:9],
)
def test_compiling_ends_soon(source: str) -> None:
    began = time.process_time()
    for parse in (parse_html, parse_derived, lambda text: parse_text("text", text)):
        with suppress(TemplateError):
            parse(source).compiled()
    assert time.process_time() - began < 12  # a fifth of that is usual; the worst of them once took minutes


def test_a_template_is_refused_that_is_too_long_to_compile() -> None:
    with pytest.raises(TemplateError, match="larger than 256 KB"):
        parse_html("x" * (MAX_SOURCE_BYTES + 1))
    with pytest.raises(TemplateError, match="more than 5,000 words"):
        parse_text("subject", "{{ a }}" * MAX_TOKENS)
    assert parse_html("{{ a }}" * (MAX_TOKENS // 5)).compiled().render({"a": 1}) == "1" * (MAX_TOKENS // 5)


@pytest.mark.parametrize("long", ["a" * 3 * MAX_TAIL, "a/" * 2 * MAX_TAIL, "é" * 2 * MAX_TAIL])
def test_a_value_far_into_a_long_url_still_stands_in_it(long: str) -> None:
    for url, place in ((f"https://h/?q={long}", Place.QUERY), (f"https://h/{long}", Place.PATH)):
        text = TextScanner()
        text.feed("See " + url)
        assert text.value() is place
        html = HtmlScanner()
        html.feed(f'<a href="{url}')
        assert html.value() is place
        html.feed('">' + long + " ")
        assert html.value() is Place.PLAIN


def test_taking_many_characters_at_once_is_taking_one_after_the_other() -> None:
    source = "<p class=\"x\" href='/a?b'>a<b> https://x/y?z <!-- > --> <script>if (a<b) {}</script> <a href=/q?"
    at_once, one_by_one = HtmlScanner(), HtmlScanner()
    at = 0
    for end in range(1, len(source) + 1):
        one_by_one.feed(source[end - 1])
        if end % 3 == 0 or end == len(source):
            at_once.feed(source[at:end])
            at = end
            assert at_once.copy().value() is one_by_one.copy().value(), source[:end]
