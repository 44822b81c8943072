from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.link import Link, read_click
from schemas.template.engine import parse_html
from schemas.template.errors import TemplateError
from schemas.template.links import MAX_LINKS, MAX_TOGETHER, TOKEN, links_of, tracked

URL = "https://t.bore.example"
NAMED = "c.1.2.0.260202.0123456789abcdef"
ROW: dict[str, Any] = {
    "account": "a b/ñ?&!#%", "city": "São Paulo", "path": "x/y z", "url": "https://u.example/", "host": "h.example",
    "items": [{"id": 7, "note": "a/b"}, {"id": "8!", "note": "é"}], "word": "w", TOKEN: NAMED,
}  # fmt: skip


class Read(HTMLParser):
    """The links and pictures of an HTML text, and everything else."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.rest: list[Any] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(reversed(attrs))
        if (given.get("src") or "").startswith(f"{URL}/t/o/"):
            self.rest.append("pixel")
            return
        self.links += [given["href"] or ""] if "href" in given else []
        self.rest.append((tag, sorted((k, v or "") for k, v in given.items() if k != "href")))

    def handle_endtag(self, tag: str) -> None:
        self.rest.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.rest.append(data)

    def handle_comment(self, data: str) -> None:
        self.rest.append(re.sub(r'href="[^"]*"', "", data))


def render(html: str, row: dict[str, Any] | None = None) -> str:
    return parse_html(html, measured=True).compiled().render(ROW if row is None else row)


def leads(link: str, links: tuple[Link, ...]) -> str:
    """Where a URL of the tracker leads; any other leads where it says."""
    if not link.startswith(f"{URL}/"):
        return link
    path, _, query = link.removeprefix(f"{URL}/t/c/").partition("?")
    named = read_click(path)
    assert named is not None
    assert named[0] == NAMED
    target = links[named[1] - 1].target(query)
    assert target is not None
    return target


ATTRIBUTES = st.sampled_from(
    ["", ' class="x"', " data-x='<a href=\"https://no.example/\">'", ' id=q title="{{ word }}"']
)
HREFS = st.sampled_from([
    "https://x.example/", "http://x.example:8080/a/b?c=d#e", "https://x.example", "https://x.example?q={{ account }}",
    "https://x.example/{{ path }}/b", "https://x.example/a?b={{ account }}&amp;c={{ city }}#{{ word }}",
    "https://x.example/{{ nobody | default('p/q ') }}?{{ none | d(5) }}", "{{ url }}", "https://{{ host }}/x",
    "https://x.example{{ path }}", "mailto:{{ word }}@x.example", "#top", "/there", "", "tel:+1",
    "https://x.example/{% if word %}a{% endif %}", "https://x.example/?{{ account | upper }}", "ftp://x.example/",
    "https://x.example/&#47;{{ path }}", "https://x.example/&num;{{ path }}?{{ path }}",
    "https://x.example&#x2f;{{ city }}",
    "https://a@x.example/", "https://x.example/{{ word }}-{{ word }}?{{ word }}{{ city }}",
])  # fmt: skip
LINKS = st.builds("<a{0}{2}{1}{2}{3}>to</a>".format, st.just(" href="), HREFS, st.sampled_from("\"'"), ATTRIBUTES)
PLAIN = st.sampled_from([
    "<p>", "</p>", "text & more", '<!-- <a href="https://no.example/"> -->', "<style>a{}</style>", "<br/>", "{# no #}",
    "{{ word }}", "<b title='>'>", "\n", "{%- if word -%} x {%- endif %}", "{% raw %}{{ x }}{% endraw %}", "</body>",
    """<script>'<a href="https://no.example/">'</script>""",
    '<!--[if mso]><v:rect href="https://ms.example/"></v:rect><![endif]-->',
])  # fmt: skip
BODIES = st.recursive(
    st.lists(LINKS | PLAIN, max_size=5).map("".join),
    lambda inner: st.sampled_from([
        "{{% if word %}}{0}{{% else %}}{0}{{% endif %}}", "{{% for item in items %}}{0}{{{{ item.id }}}}{{% endfor %}}",
        "<div>{0}</div>", "{{% with x = 1 %}}{0}{{% endwith %}}", "{{% set kept %}}{0}{{% endset %}}{{{{ kept }}}}",
        "{{% filter string %}}{0}{{% endfilter %}}",
    ]).flatmap(lambda shape: inner.map(shape.format)),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(BODIES, st.booleans())
def test_a_tracked_template_says_the_same_and_leads_to_the_same_places(html: str, opens: bool) -> None:
    links = links_of(html)
    made = tracked(html, links, URL, opens=opens)
    plain, changed = Read(render(html)), Read(render(made))
    assert [leads(link, links) for link in changed.links] == plain.links
    assert [one for one in changed.rest if one != "pixel"] == plain.rest
    assert changed.rest.count("pixel") <= int(opens)
    assert "https://no.example/" not in str(links)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([
    "<", ">", "a", " ", "href", "=", '"', "'", "https://x.example/", "{{ word }}", "{% if word %}", "{% endif %}", "{#",
    "#}", "{%", "%}", "{{", "}}", "<!--", "-->", "<a ", "</a>", "&amp;", "&", "<script>", "</script>", "{% raw %}",
    "{% endraw %}", "\n", "{%- set x -%}", "{% endset %}", "<a href=", "\U000f0001", "é", "/", "<body>", "</body>",
]), max_size=30).map("".join))  # fmt: skip
@example("<a href='https://x.example/")
@example("<a href=https://x.example/><a href='")
def test_any_soup_is_tracked_or_left_alone(html: str) -> None:
    links = links_of(html)
    made = tracked(html, links, URL, opens=True)
    assert made.count(f"/t/c/{{{{ {TOKEN} }}}}-") == len(links)
    try:
        render(html)
    except TemplateError:
        return
    assert render(made).count(f"{URL}/t/o/{NAMED}.gif") == made.count("/t/o/")


@pytest.mark.parametrize(
    ("href", "leads_to"),
    [
        ("https://x.example/?a=1&amp;b=2", "https://x.example/?a=1&b=2"),
        ("https://x.example/?a=1&b=2", "https://x.example/?a=1&b=2"),
        ("https://x.example/?a=1&copy=2&section=3", "https://x.example/?a=1&copy=2&section=3"),
        ("https://x.example/&#x2F;&#46;", "https://x.example//."),
        ("  https://x.example/\n a\tb ", "https://x.example/%20ab"),
        ("https://x.example/ñ ?q=“a”", "https://x.example/%C3%B1%20?q=%E2%80%9Ca%E2%80%9D"),
        ("HTTPS://Börse.example:8443/A", "https://xn--brse-5qa.example:8443/A"),
        ("https://x.example/100%/%41", "https://x.example/100%/%41"),
        ("http://10.0.0.1/x", "http://10.0.0.1/x"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://x.example/a\u00a0b", "https://x.example/a%C2%A0b"),
    ],
)
def test_a_link_is_read_as_browsers_read_it(href: str, leads_to: str) -> None:
    assert [link.parts for link in links_of(f'<a href="{href}">x</a>')] == [(leads_to,)]
    if not re.search(r"[ \t\n]", href):
        assert [link.parts for link in links_of(f"<a href={href}>x</a>")] == [(leads_to,)]


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://x.example/?a&amp">x</a>',
        '<a href="https://x.example/?a&amp;&#38">x</a>',
        '<a href="https://x.example\\\\@y.example/">x</a>',
        '<a href="https://user@x.example/">x</a>',
        '<a href="https://x.example:{{ word }}/">x</a>',
        '<a href="https://x.example{{ word }}/">x</a>',
        '<a href="//x.example/">x</a>',
        '<a href="https://[::1]/">x</a>',
        '<a href="https://ñ..example/">x</a>',
        '<a href="https://x.example/{{ word | safe }}">x</a>',
        '<a href="https://x.example/{{ word | e }}">x</a>',
        '<a href="https://x.example/{{ word | urlencode }}">x</a>',
        '<a href="https://x.example/{{ word ~ 1 }}">x</a>',
        '<a href="https://x.example/{{ word.upper() }}">x</a>',
        '<a href="https://x.example/{# no #}">x</a>',
        '<a href="https://x.example/" data-no-track>x</a>',
        '<a SES:no-track href="https://x.example/">x</a>',
        '{% set word = "a"|safe %}<a href="https://x.example/{{ word }}">x</a>',
        '{% for word in items|map("e") %}<a href="https://x.example/{{ word }}">x</a>{% endfor %}',
        '{% for x in items|map("e") %}{% for z in x %}<a href="https://x.example/?{{z}}">x</a>{% endfor %}{% endfor %}',
        '{% macro m(word) %}<a href="https://x.example/">{{ word }}</a>{% endmacro %}{{ m(1) }}',
        '{% with a = word|safe %}<a href="https://x.example/{{ a }}">x</a>{% endwith %}',
        '{% for w in items|map("e") %}<a href="https://x.example/?{{ loop.previtem | d(1) }}">x</a>{% endfor %}',
        '{% block b %}<a href="https://x.example/">x</a>{% endblock %}{{ self.b() | replace("x", "y") }}',
        '<a {% if word %}data-no-track{% endif %} href="https://x.example/">x</a>',
        '<a href="https://x.example/O&#39;Brien/{{ word }}">x</a>',
        '<a href="https://x.example/&quest;q={{ word }}">x</a>',
        '<a href="https://x.example&sol;{{ word }}">x</a>',
        '<a href="https://x.example/a\fb">x</a>',
        '<a href="https://x.example/&#1;">x</a>',
        '<a href="http\u017f://x.example/">x</a>',
        '<a\u00a0href="https://x.example/">x</a>',
        '<xmp><a href="https://x.example/"></xmp>',
        '<script></script-x><a href="https://x.example/"></script>',
        f'<a href="https://x.example/{{{{ a{".b" * 2400} }}}}">x</a>',
        '<link href="https://x.example/">',
        '<textarea><a href="https://x.example/"></textarea>',
        '{% raw %}<a href="https://x.example/">{% endraw %}',
        f'<a href="https://x.example/{"x" * 5000}">x</a>',
    ],
)
def test_what_is_better_not_touched_stays_as_it_is(html: str) -> None:
    assert links_of(html) == ()
    assert tracked(html, (), URL, opens=False) == html


def test_links_in_loops_carry_what_they_had() -> None:
    html = (
        "{% for item in items %}"
        '<a href="https://x.example/{{ item.note }}?i={{ loop.index }}&amp;n={{ item["id"] }}">x</a>'
        '{% for c in item.note %}<a href="https://x.example/?{{ c }}">x</a>{% endfor %}{% endfor %}'
    )
    links = links_of(html)
    said = Read(render(tracked(html, links, URL, opens=False))).links
    assert [leads(link, links) for link in said] == Read(render(html)).links
    assert said[0] == f"{URL}/t/c/{NAMED}-1?a%2Fb!1!7"
    assert links[0].written == 'https://x.example/{{ item.note }}?i={{ loop.index }}&n={{ item["id"] }}'


@pytest.mark.parametrize(
    "piece",
    [
        "{%- if word -%} x {%- endif -%}",
        "{ {{- word -}} }",
        "{ {%- if word %}x{% endif %}",
        "{\n{#- no -#} }",
        "<!--[if !mso]><!-->",
        "<!--<![endif]-->",
        "<xmp></xmp>",
        "{{- word -}}",
        "{#- no -#}",
        "{%- raw -%}x{%- endraw -%}",
    ],
)
def test_a_brace_before_jinja_that_strips_space_stays_a_brace(piece: str) -> None:
    html = f'<style>p {{ {piece} }} {{\n{piece} }}</style><a href="https://x.example/">x</a>'
    made = tracked(html, links_of(html), URL, opens=True)
    assert made.count(TOKEN) == 2
    assert [one for one in Read(render(made)).rest if one != "pixel"] == Read(render(html)).rest


@pytest.mark.parametrize(
    "wrap",
    [
        "<!--[if mso]>{0}<![endif]-->",
        "<!--[IF mso]><p>{0}</p><![endif]-->{0}",
        "<!--[if !mso]><!-->{0}<!--<![endif]-->",
    ],
)
@given(st.text(st.characters(codec="utf-8")))
@example("a b/ñ?&!#%")
def test_links_for_outlook_carry_what_they_had(wrap: str, word: str) -> None:
    html = wrap.format('<v:rect href="https://x.example/{{ w }}?a={{ w }}&amp;b={{ w }}"></v:rect>')
    links, row = links_of(html), {"w": word, TOKEN: NAMED}
    assert len(links) == wrap.count("{0}")
    was = re.findall('href="([^"]*)"', render(html, row))
    now = re.findall('href="([^"]*)"', render(tracked(html, links, URL, opens=False), row))
    assert [leads(unescape(one), links) for one in now] == [unescape(one) for one in was]


def test_a_query_that_is_not_the_links_leads_nowhere() -> None:
    (link,) = links_of('<a href="https://x.example/{{ path }}/?q={{ word }}">x</a>')
    assert link.target("a!b") == "https://x.example/a/?q=b"
    assert (
        link.target("..//evil.example!%0d%0aSet-Cookie:x&y")
        == "https://x.example/..//evil.example/?q=%0D%0ASet-Cookie%3Ax%26y"
    )
    for query in ("", "a", "a!b!c"):
        assert link.target(query) is None
    (plain,) = links_of('<a href="https://x.example/">x</a>')
    assert (plain.target(""), plain.target("a")) == ("https://x.example/", None)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_whatever_a_value_is_the_link_leads_where_it_led(a: str, b: str) -> None:
    html = '<a href="https://x.example/{{ a }}/c?q={{ b }}">x</a>'
    links, row = links_of(html), {"a": a, "b": b, TOKEN: NAMED}
    (was,) = Read(render(html, row)).links
    (now,) = Read(render(tracked(html, links, URL, opens=False), row)).links
    assert leads(now, links) == was


@given(st.text(st.sampled_from("/\\@:?#%0dDaA2eE5cC!. \r\n\t\x00é\ud83d&=;"), max_size=14) | st.text())
@example("\ud83d")
@example("%0d%0aSet-Cookie:x")
def test_whatever_a_query_says_its_link_leads_to_its_own_host(query: str) -> None:
    for end in ("/{{ a }}", "//{{ a }}", "?{{ a }}", "#{{ a }}", "/@{{ a }}:/"):
        (link,) = links_of(f'<a href="https://x.example:8{end}">x</a>')
        target = link.target(query)
        if target is not None:
            assert re.fullmatch("[!-~]+", target)
            assert urlsplit(target).netloc == "x.example:8"


def test_a_link_is_read_back_as_it_was_written() -> None:
    for link in links_of('<a href="https://x.example/{{ path }}/?q={{ word }}">x</a>'):
        assert Link.decode(link.encode()) == link
        assert json.loads(link.encode())["places"] == ["path", "query"]


@pytest.mark.parametrize(
    ("html", "before"),
    [
        ("<p>x</p></body></html>", "</body>"),
        ("<p>x</p>", ""),
        ("{% if word %}<p>x</p></body>{% endif %}<br>", ""),
        ("<!-- </body> --><p></p></BODY>\n", "</BODY>"),
        ("</body><p></body>", "</body>"),
        ("<p></body><!--[if mso]></body><![endif]-->", "</body><!--[if"),
        ("<!--[if mso]></body><![endif]--><p>", ""),
        ("<!--[if !mso]><!--><p></body><!--<![endif]-->", "</body>"),
        ("<p></body><textarea>", "</body>"),
    ],
)
def test_the_pixel_stands_at_the_end(html: str, before: str) -> None:
    made = tracked(html, (), URL, opens=True)
    pixel = re.search(rf'<img src="{URL}/t/o/{{{{ {TOKEN} }}}}\.gif"[^>]*>', made)
    assert pixel is not None
    assert made.replace(pixel[0], "") == html
    assert made.rpartition(pixel[0])[2].startswith(before)


def test_what_may_be_empty_or_no_html_has_no_pixel() -> None:
    for html in (
        "",
        "Hola {{ word }}",
        "{% if word %}<p>x</p>{% endif %}",
        "\U000f0001<p>",
        "<p><textarea>",
        "<p><b title='>",
        "<p><!-- ",
    ):
        assert tracked(html, (), URL, opens=True) == html


def test_other_links_than_the_campaigns_are_left_alone() -> None:
    html = '<a href="https://x.example/">x</a><a href="https://y.example/">y</a>'
    links = links_of(html)
    assert tracked(html, links[:1], URL, opens=False) == html
    assert tracked(html, links[::-1], URL, opens=False) == html


def test_what_has_no_number_is_no_click() -> None:
    assert read_click(f"{NAMED}-200") == (NAMED, 200)
    for text in (
        "",
        "-1",
        NAMED,
        f"{NAMED}-",
        f"{NAMED}-0",
        f"{NAMED}-01",
        f"{NAMED}-x",
        f"{NAMED}-12345",
        f"{NAMED}-１",
    ):
        assert read_click(text) is None


def test_links_beyond_the_last_number_stay_as_they_are() -> None:
    html = '<a href="https://x.example/">x</a>' * (MAX_LINKS + 5)
    made = tracked(html, links_of(html), URL, opens=False)
    assert made.count(TOKEN) == MAX_LINKS
    assert made.count("https://x.example/") == 5


@pytest.mark.parametrize("end", ["é" * 670, "{{ a | d('" + "x" * 2000 + "') }}"])
def test_the_links_of_the_largest_template_fit_into_a_record_with_it(end: str) -> None:
    html = f'<a href="https://x.example/{end}">x</a>' * 100
    links = links_of(html)
    assert 0 < sum(len(link.encode()) for link in links) < MAX_TOGETHER * 1.1
    made = tracked(html, links, URL, opens=False)
    assert made.count(TOKEN) == len(links) < 100
    assert made.endswith(html[-2000:])
