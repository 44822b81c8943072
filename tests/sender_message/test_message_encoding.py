"""`{{ name }}` is encoded for where it stands, and a part in words is made of the HTML."""

from __future__ import annotations

from contextlib import suppress
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.template.context import HtmlScanner, Place, TextScanner
from schemas.template.errors import TemplateError
from sender.message.bodies import quoted_printable, shorter
from sender.message.parts import compile_html, compile_text, derive_text

NASTY = "a&b <i> \"c\" 'd'/é?#%"
QUERY = "a%26b%20%3Ci%3E%20%22c%22%20%27d%27%2F%C3%A9%3F%23%25"
PATH = QUERY.replace("%2F", "/")
ESCAPED = "a&amp;b &lt;i&gt; &#34;c&#34; &#39;d&#39;/é?#%"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("<p>{{ v }}</p>", ESCAPED),
        ('<p title="{{ v }}">', ESCAPED),
        ('<a href="https://x.example/?a=1&amp;q={{ v }}">', QUERY),
        ("<a href='https://x.example/?q={{ v }}&z'>", QUERY),
        ("<a href=https://x.example/?q={{ v }}>", QUERY),
        ('<A HREF = "https://x.example/?q={{ v }}">', QUERY),
        ('<img src="https://x.example/{{ v }}/a.png">', PATH),
        ('<img src="/{{ v }}.png">', PATH),
        ('<a href="https://x.example/#{{ v }}">', QUERY),
        ('<a href="mailto:a@x.example?subject={{ v }}">', QUERY),
        ('<a href="{{ v }}">', ESCAPED),
        ('<a href="https://{{ v }}/">', ESCAPED),
        ('<a href="{{ base }}?q={{ v }}">', QUERY),
        ('<a href="{% if t %}https://a.example/?q={% else %}https://b.example/?q={% endif %}{{ v }}">', QUERY),
        ('<a href="https://x.example/{% if t %}?q={{ v }}{% endif %}">', QUERY),
        ('<a href="https://x.example/?q=1" title="{{ v }}">', ESCAPED),
        ('<a href="https://x.example/?q=1">{{ v }}</a>', ESCAPED),
        ("<p>see https://x.example/?q={{ v }} now</p>", QUERY),
        ("<p>see https://x.example/?q=1 {{ v }}</p>", ESCAPED),
        ('<td style="background: url(https://x.example/?q={{ v }})">', QUERY),
        ('<a href="?q={{ v | urlencode }}">', QUERY.replace("%2F", "/")),
        ('<a href="?q={{ v | safe }}">', NASTY),
        ("<p>{{ v | safe }}</p>", NASTY),
        ("<p>{{ v | e }}</p>", ESCAPED),
        ("<!-- <a href='?q= --><p>{{ v }}</p>", ESCAPED),
        ("<script>var a = '<a href=\"?q=';</script><p>{{ v }}</p>", ESCAPED),
        ("a < b ? {{ v }}", ESCAPED),
        ("{% for i in [1, 2] %}<a href='?{{ i }}={{ v }}'>{% endfor %}", QUERY),
    ],
)
def test_a_value_in_html_is_encoded_for_its_place(template: str, value: str) -> None:
    rendered = compile_html(template).render({"v": NASTY, "t": True, "base": "https://x.example/"})
    assert value in rendered
    if value != NASTY:
        assert NASTY not in rendered


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ v }}", NASTY),
        ("https://x.example/?q={{ v }}", QUERY),
        ("https://x.example/{{ v }} ", PATH),
        ("(https://x.example/?a={{ a }}&q={{ v }})", QUERY),
        ("https://x.example/?q=1\n{{ v }}", NASTY),
        ("what? {{ v }}", NASTY),
    ],
)
def test_a_value_in_text_is_plain_but_in_a_url(template: str, value: str) -> None:
    assert value in compile_text("text", template).render({"v": NASTY, "a": "a b"})


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "a"
        self.found += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")))
def test_whatever_the_value_a_browser_reads_it_back(value: str) -> None:
    part = compile_html('<a href="https://x.example/?a=1&amp;q={{ v }}&amp;z=2">{{ v }}</a>')
    links = _Links()
    links.feed(part.render({"v": value}))
    links.close()
    assert links.words == value
    query = parse_qs(urlsplit(links.found[0]).query, keep_blank_values=True)
    assert query == {"a": ["1"], "q": [value], "z": ["2"]}
    assert len(links.found) == 1


@given(st.text(alphabet="<>/!-=\"' ahref?#:tps.xscript\n", max_size=80))
def test_the_scanners_take_any_text(text: str) -> None:
    for scanner in (HtmlScanner(), TextScanner()):
        scanner.feed(text)
        twin = scanner.copy()
        assert isinstance(scanner.value(), Place)
        scanner.feed(text)
        assert isinstance(twin.value(), Place)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>Hola</h1><p>One\n two</p><p>Three</p>", "Hola\n\nOne two\n\nThree\n"),
        ("one<br>two<br/>three", "one\ntwo\nthree\n"),
        ("<ul><li>a</li><li>b</li></ul><ol><li>c<li>d</ol>", "- a\n- b\n\n1. c\n2. d\n"),
        ('<a href="https://x.example/?a=1&amp;b={{ v }}">this</a>.', "this (https://x.example/?a=1&b=A%26B).\n"),
        ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/\n"),
        ('<a href="{{ v }}">{{ v }}</a>', "A&B\n"),
        ('<a href="mailto:a@x.example">a@x.example</a>', "a@x.example\n"),
        ('<a href="https://x.example/"><img src="b.png" alt="Pay"></a>', "Pay (https://x.example/)\n"),
        ('<a href="https://x.example/"><img src="b.png"></a>', "https://x.example/\n"),
        ("&lt;b&gt; &amp; &eacute; &#123;&#123; v }}", "<b> & é {{ v }}\n"),
        ("<head><title>T</title><style>p {}</style></head><body><p>{{ v }}</p></body>", "A&B\n"),
        ('<div style="display:none">hidden {{ nothing }}</div><div>seen</div>', "seen\n"),
        ("<p>Hi</p>{% if t %}<p>VIP</p>{% endif %}<p>Bye</p>", "Hi\n\nVIP\n\nBye\n"),
        ("<p>Hi</p>{% if not t %}<p>VIP</p>{% endif %}<p>Bye</p>", "Hi\n\nBye\n"),
        ("Dear {% if t %}Ms{% else %}Mr{% endif %} {{ v }}", "Dear Ms A&B\n"),
        ("<ul>\n{% for i in n %}\n<li>{{ i }}</li>\n{% endfor %}\n</ul><p>end</p>", "- 1\n- 2\n\nend\n"),
        ("{% for i in n %}{{ i }}<br>{% endfor %}end", "1\n2\nend\n"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
        ("<pre>a\n  b</pre>", "a\n  b\n"),
        ("{# no #}<p>{{- v -}}</p>{% raw %}{{ v }}{% endraw %}", "A&B\n\n{{ v }}\n"),
        ("<p>{{ v | e }} {{ v | safe }}</p>", "A&B A&B\n"),
        ('<p class="{% if t %}a{% endif %}">x</p>', "x\n"),
        ("{% set w = v %}<p>{{ w }}</p>", "A&B\n"),
        ("", ""),
    ],
)
def test_html_becomes_readable_text(html: str, text: str) -> None:
    compile_html(html)
    assert derive_text(html).render({"v": "A&B", "t": True, "n": [1, 2]}) == text


@given(st.text(alphabet="<>/aplibr =\"'&;{}%#x \n", max_size=60))
def test_any_html_that_compiles_gives_a_text_or_says_that_it_does_not(html: str) -> None:
    with suppress(TemplateError):
        compile_html(html)
        derive_text(html)


@given(st.binary(max_size=400) | st.text(alphabet=". =\té\n", max_size=400).map(str.encode))
def test_quoted_printable_is_read_back(octets: bytes) -> None:
    import quopri

    lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    quoted = quoted_printable(lines)
    assert quopri.decodestring(quoted).rstrip(b"\r\n") == lines.rstrip(b"\r\n")
    assert all(len(line) <= 76 and not line.startswith(b".") for line in quoted.split(b"\r\n"))


def test_the_shorter_encoding_is_taken() -> None:
    assert shorter(["Hola, ñ"]) == "quoted-printable"
    assert shorter(["こんにちは" * 20]) == "base64"
