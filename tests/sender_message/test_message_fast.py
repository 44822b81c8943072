"""The fast way, the slow way and `email.message` make the same bytes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import slow_reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from letters import DAY, KEY, NOON, campaign, content, read
from slow_reference import Piece, source, values

from schemas.message_name import MessageName, message_tokens
from schemas.template.errors import RowError
from sender.message.compile import CompiledMessage, compile_message
from sender.message.envelope import Envelope
from sender.message.headers import date_header
from sender.message.parts import CompiledPart, compile_html, compile_text, derive_text

SUBJECT: list[Piece] = ["Hola ", ("a", "text"), ", lo nuevo de ", ("b", "default"), "!"]
TEXT: list[Piece] = [
    ("a", "text"), " hola:\n\n.. ", ("b", "default"), "\n.", ("c", "text"), ".\nhttps://x.example/", ("c", "path"),
    "?q=", ("a", "query"), " \n" + "La carta es larga, y sigue y sigue hasta que no cabe ", ("c", "text"),
    " palabras y más. " * 8, ("n", "text"), ("a", "e"),
]  # fmt: skip
HTML: list[Piece] = [
    '<p title="', ("a", "html"), '">100% ', ("a", "html"), " & ", ("b", "default"), "</p>\n<a href='https://x.example/?q=",
    ("c", "query"), "&amp;n=", ("n", "query"), "'>" + "x" * 67, ("c", "safe"), "</a>" + "\n.eé" * 9 + "<b>" * 30,
    ("c", "html"), "\n",
]  # fmt: skip
NAME = MessageName("cobranza-2026-02", 7, 3, 1)
EMAIL = "anna.b+x@example.com"
FIXED = {"From": "Bore <cobros@bore.example>", "Feedback-ID": "cobranza-2026-02:batch:main:r39a9a849c1"}

WORDS = st.text(st.sampled_from("ab .,\t='\"<&?%é名👩 xyzxyzxyz"), max_size=200)
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=120), WORDS, st.sampled_from(["", ".", "..", " x ", "-1"])
)
LINES = VALUES.map(lambda text: re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "", text))


def _compiled(**parts: Any) -> CompiledMessage:
    made = compile_message(campaign(**parts), key=KEY, tracker="https://t.bore.example")
    assert made.letter is not None
    return made


BOTH = _compiled(subject=source(SUBJECT), html=source(HTML), text=source(TEXT))
ALONE = _compiled(subject=source(SUBJECT), html=None, text=source(TEXT))
DERIVED = _compiled(subject=source(SUBJECT), html=f"<h1>{source(HTML)}</h1><p>{{{{ b | default('.') }}}}</p>")
SPRING = "春の花が咲きました。" * 40
ASIAN = _compiled(
    subject="{{ a }}様", html=f"<p>{{{{ a }}}}様、{SPRING}{{{{ c }}}}</p>{{{{ a }}}}", text=f"{SPRING}\n{{{{ a }}}}\n"
)


def slowly(made: CompiledMessage, row: dict[str, object]) -> Envelope:
    """The same message without the fast way."""
    tokens = message_tokens(NAME.campaign_id, NAME.batch_number, NAME.round, DAY, made.key)
    return made.fill_slowly(row, tokens(NAME.index), date_header(NOON))


def fast(made: CompiledMessage, row: dict[str, object]) -> Envelope | None:
    """The message by the fast way alone; None: the row needs the slow one."""
    assert made.letter is not None
    tokens = message_tokens(NAME.campaign_id, NAME.batch_number, NAME.round, DAY, made.key)
    return made.letter.core(tuple(row))(list(row.values()), tokens(NAME.index), date_header(NOON))


def row_of(a: object, b: object, c: object, n: object) -> dict[str, object]:
    return {"x": "unused", "a": a, "c": c, "email": EMAIL, "b": b, "n": n}


@settings(max_examples=120, deadline=None)
@given(LINES, LINES | st.none(), VALUES, st.integers() | st.floats(allow_nan=False) | st.booleans())
@example("Ana", "Acme", "Leeds", 1)
@example("José", "Müller y Cía.", "名" * 8, 1)
@example("é" * 12, "é" * 13, "\xa0é", 1)
@example("A" * 10_000, "名" * 10_000, ". " * 5000, 0)
@example("Many, many; words, " * 9 + "end", None, "x", 1)
@example("x" * 64 + " y", None, "x", 1)
@example("Ana\u2028", "\x85", "\ufdd0\U000f0000", 0)
def test_three_ways_one_message(a: str, b: str | None, c: str, n: object) -> None:
    row = row_of(a, b, c, n)
    said = "".join(values(SUBJECT, row, html=False))
    subject = re.sub(r"[\x01-\x1f\x7f-\x9f\u2028\u2029]", " ", said).strip()
    text, html = values(TEXT, row, html=False), values(HTML, row, html=True)
    for made, of_html in ((BOTH, html), (ALONE, None)):
        quickly = fast(made, row)
        assert quickly is not None
        assert quickly == slowly(made, row) == made.fill(row, NAME, DAY, NOON)
        reference = slow_reference.message(FIXED, subject, text, of_html, row, NAME, DAY, NOON, made.boundary)
        assert quickly.content.split(b"\r\n") == reference.split(b"\r\n")
        assert quickly.dotless
        assert not re.search(rb"(?m)^\.", quickly.content)
        assert max(map(len, quickly.content.split(b"\r\n"))) <= 110
        written = content(read(quickly), "plain")
        assert written.removesuffix("\n") == "".join(re.sub(r"\r\n?", "\n", one) for one in text).removesuffix("\n")


@settings(max_examples=60, deadline=None)
@given(LINES, LINES | st.none(), VALUES, st.integers() | st.lists(st.integers(), max_size=2))
@example("Ana", "Acme", "Leeds", 1)
@example("Ana", "", " Leeds", 1)
def test_a_text_made_of_the_html_is_the_engines(a: str, b: str | None, c: str, n: object) -> None:
    row = row_of(a, b, c, n)
    filled = DERIVED.fill(row, NAME, DAY, NOON)
    assert filled == slowly(DERIVED, row)
    assert DERIVED.template.text is not None
    given_ = {name: value for name, value in row.items() if value is not None}
    said = DERIVED.template.text.render(given_)
    assert "".join(DERIVED.template.text.split(given_).pieces) == said
    assert content(read(filled), "plain").rstrip("\n") == re.sub(r"\r\n?", "\n", said).rstrip("\n")


def test_a_text_made_of_the_html_takes_the_fast_way() -> None:
    assert fast(DERIVED, row_of("Ana", "Acme & Sons", "Leeds", 1)) is not None


def test_a_text_that_cannot_be_prepared_takes_the_slow_way() -> None:
    half = campaign(html="<p>{{ first_name }} \ud800</p>")
    message = compile_message(half)
    filled = message.fill({"email": EMAIL, "first_name": "Ana"}, MessageName(half.campaign_id, 7, 3), DAY, NOON)
    assert b"<p>Ana ?</p>" in filled.content.replace(b"=\r\n", b"")


@settings(max_examples=60, deadline=None)
@given(LINES, VALUES)
@example("Ana", "Leeds")
def test_base64_is_the_same_both_ways(a: str, c: str) -> None:
    row: dict[str, object] = {"email": EMAIL, "a": a, "c": c}
    filled = fast(ASIAN, row)
    assert filled is not None
    assert filled == slowly(ASIAN, row)
    assert filled.content.count(b"Content-Transfer-Encoding: base64") >= 1
    assert all(len(line) <= 110 and not line.startswith(b".") for line in filled.content.split(b"\r\n"))
    escaped, last = values([("c", "html"), ("a", "html")], row, html=True)
    written = content(read(filled), "html")
    assert written.endswith(re.sub(r"\r\n?", "\n", escaped) + "</p>" + re.sub(r"\r\n?", "\n", last))


PARTS: list[tuple[str, CompiledPart]] = [
    (one, part)
    for one in (
        "{{ v }}", "{{ v | e }}", "{{ v | safe }} x", "<a href='?q={{ v | urlencode }}'>{{ v|e|safe }}",
        "{{ v | default('&') }}", "{{ v | d('&') | e }}", "{{ v | forceescape }}", "{{ v | safe | forceescape }}",
        "<a href='/{{ v }}?{{ v|e }}'>", "{{ '<' }}{{ v }}",
        "{{ v | default(7) }} {{ v | default('a b') | urlencode }}", "{% raw %}{{ v }}{% endraw %}{# no #}{{- v -}} .",
    )
    for part in (compile_html(one), compile_text("text", one), derive_text("<p>x" + one + "</p>"))
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(VALUES | st.none() | st.booleans() | st.floats() | st.integers() | st.lists(VALUES, max_size=2))
@example(None)
@example("A&B <i> \"c\" 'd'/é?#%")
def test_what_needs_no_engine_is_what_the_engine_makes(v: object) -> None:
    row = {} if v is None else {"v": v}
    for one, part in PARTS:
        assert part.pieces is not None, one
        try:
            said = part.render(row)
        except RowError as e:
            with pytest.raises(RowError, match=re.escape(str(e))):
                part.split(row)
        else:
            assert "".join(part.split(row).pieces) == said


@pytest.mark.parametrize(
    ("html", "simple"),
    [
        ("<p>Hola</p>", True),
        ("<p>{{ a }} {{ b | default('x') }}</p>", True),
        ("<p>{% if a %}x{% endif %}</p>", True),
        ("<p>{% for c in a %}x{% endfor %}</p>", False),
        ("<p>{{ a | upper }}</p>", False),
        ("<p>{{ a.b }}</p>", False),
        ("<p>{{ a ~ 'x' }}</p>", False),
        ("<p>{{ range }}</p>", False),
        ("<p>{{ a | default(b) }}</p>", False),
        ("<p>{{ a | default('x', true) }}</p>", False),
        ("{{ a }}", False),
    ],
)
def test_simple_templates_take_the_fast_way(html: str, simple: bool) -> None:
    made = compile_message(campaign(html=html))
    row: dict[str, object] = {
        "email": EMAIL,
        "first_name": "Ana",
        "a": {"b": "7"} if "a.b" in html else "Ana",
        "b": "8",
    }
    assert made.fill(row, NAME, DAY, NOON) == slowly(made, row)


CONDITIONS = [
    "a", "not a", "n > 3", "n >= 3 and a", "a == 'Ana' or n < 0", "a != c", "c in ['x', 'Leeds']", "c not in ('x', 7)",
    "b is defined", "b is undefined or n", "b | default('') == ''", "not (b | d(5)) or a", "n <= 2.5", "true", "a == a",
    "'n' in a", "b",
]  # fmt: skip
BRANCHES = [
    (one, part)
    for one in CONDITIONS
    for source_ in [
        f"x {{% if {one} %}}<p>yes {{{{ a }}}}</p>{{% elif n %}}{{{{ c }}}}{{% else %}}no{{% endif %}} {{{{ c }}}}",
        f"{{% if a %}}<ul>{{% if {one} %}}<li>{{{{ n }}}}</li>{{% endif %}}</ul>{{% endif %}}z",
    ]
    for part in (compile_html(source_), compile_text("text", source_), derive_text(source_))
]


@settings(max_examples=60, deadline=None)
@given(
    LINES | st.sampled_from(["Ana", "x", ""]), st.none() | LINES, st.sampled_from(["Leeds", "x", "", "ñ & o"]),
    st.integers(-1, 4) | st.booleans() | st.sampled_from(["7", 3.5]),
)  # fmt: skip
@example("Ana", None, "Leeds", 4)
def test_conditions_that_need_no_engine_are_answered_as_it_answers(a: str, b: object, c: str, n: object) -> None:
    row = {name: value for name, value in row_of(a, b, c, n).items() if value is not None}
    for one, part in BRANCHES:
        assert part.pieces is not None, one
        try:
            said = part.render(row)
        except RowError as e:
            with pytest.raises(RowError, match=re.escape(str(e))):
                part.split(row)
        else:
            assert "".join(part.split(row).pieces) == said


@settings(max_examples=60, deadline=None)
@given(LINES, LINES | st.none(), VALUES, st.integers(-1, 4))
@example("Ana", None, "Leeds", 4)
@example("José", "Acme & Sons", ".", 0)
def test_every_branch_is_the_same_both_ways(a: str, b: str | None, c: str, n: int) -> None:
    row = row_of(a, b, c, n)
    for made in BRANCHING:
        quickly = made.fill(row, NAME, DAY, NOON)
        assert quickly == slowly(made, row)
        assert not re.search(rb"(?m)^\.", quickly.content)
        read(quickly)
    tame = row_of("Ana", b if b is None else "Acme", "Leeds", n)
    for made in BRANCHING:
        assert fast(made, tame) == slowly(made, tame)


BRANCHING = [
    _compiled(
        subject=f"{{% if n > 2 %}}{source(SUBJECT)}{{% else %}}Hola{{% endif %}}",
        html=f"{{% if b is defined %}}{source(HTML)}{{% elif n %}}<p>.</p>{{% else %}}<b>{SPRING}</b>{{% endif %}}."
        "{{ a }}",
        text=text,
    )
    for text in (None, f"{{% if n %}}{source(TEXT)}{{% endif %}}", "Hola")
]


def test_more_variants_than_are_kept_are_made_all_the_same() -> None:
    ifs = "".join(f"{{% if v{i} %}}<p>{i} {{{{ a }}}}</p>{{% endif %}}" for i in range(9))
    made = compile_message(campaign(subject="x", html="<p>.</p>" + ifs))
    columns = ["email", "a", *(f"v{i}" for i in range(9))]
    filling = made.bind(columns, NAME.campaign_id, NAME.batch_number, NAME.round, DAY)
    for bits in range(0, 512, 5):
        cells = [EMAIL, "Ana", *(bits >> i & 1 for i in range(9))]
        assert filling(cells, NAME.index, NOON) == slowly(made, dict(zip(columns, cells, strict=True)))


def test_a_template_with_loops_says_the_same() -> None:
    row = row_of("Ana & José", None, "León, 'x' y \"z\"", 5)
    parts = {"subject": SUBJECT, "html": HTML, "text": TEXT}
    said = {name: f"{{% for once in [1] %}}{source(pieces)}{{% endfor %}}" for name, pieces in parts.items()}
    wrapped = compile_message(campaign(**said), key=KEY, tracker="https://t.bore.example")
    assert wrapped.letter is None
    one, other = read(wrapped.fill(row, NAME, DAY, NOON)), read(BOTH.fill(row, NAME, DAY, NOON))
    assert one.items() == other.items()
    assert [content(one, subtype) for subtype in ("plain", "html")] == [content(other, s) for s in ("plain", "html")]


@pytest.mark.parametrize("made", [BOTH, compile_message(campaign(html="{% if a %}{{ a }}{% endif %}x"))])
def test_rows_in_columns_give_what_rows_by_name_give(made: CompiledMessage) -> None:
    row = row_of("Ana", None, "Leeds", 2) | {"first_name": "Ana"}
    columns = list(reversed(list(row)))
    filling = made.bind(columns, NAME.campaign_id, NAME.batch_number, NAME.round, DAY)
    cells = [row[name] for name in columns]
    assert filling(cells, NAME.index, NOON) == made.fill(row, NAME, DAY, NOON)
    tomorrow = NOON + timedelta(days=1)
    assert filling(cells, NAME.index, tomorrow) == made.fill(row, NAME, DAY, tomorrow)
    assert filling([*cells, "too many"], NAME.index, NOON) == made.fill(row, NAME, DAY, NOON)
    with pytest.raises(RowError, match="address"):
        filling(cells[:2], NAME.index, NOON)


def test_each_campaign_id_has_its_message() -> None:
    row = row_of("Ana", "Acme", "Leeds", 1)
    for campaign_id in ("a..b.", "a", "A_9-" * 20):
        filled = BOTH.fill(row, MessageName(campaign_id, 1, 2), DAY, NOON)
        tokens = message_tokens(campaign_id, 1, 0, DAY, KEY)
        assert filled == BOTH.fill_slowly(row, tokens(2), date_header(NOON))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"a": "Ana\r\nBcc: x@example.com"}, "the subject holds a line break"),
        ({"a": None}, "lacks the variable a"),
        ({"email": None}, "lacks an e-mail address"),
        ({"email": "anna"}, "'anna' is not an address"),
        ({"email": "anna@" + "a." * 130 + "example"}, "254 octets"),
        ({"email": 5}, "lacks an e-mail address"),
        ({"c": "x" * 600_000}, "longer than 1,000,000 characters"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_both_ways(changes: dict[str, object], problem: str) -> None:
    row = row_of("Ana", "Acme", "Leeds", 1) | changes
    with pytest.raises(RowError, match=problem) as quickly:
        BOTH.fill(row, NAME, DAY, NOON)
    with pytest.raises(RowError) as slow:
        slowly(BOTH, row)
    assert str(quickly.value) == str(slow.value)


def test_a_message_knows_its_size() -> None:
    filled = BOTH.fill(row_of("Ana", "Acme", "Leeds", 1), NAME, DAY, NOON)
    assert filled.size == len(filled.content)
    assert not filled.exceeds(filled.size)
    assert filled.exceeds(filled.size - 1)
    assert not filled.exceeds(0)


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9._~+=&%é-]{1,40}@[A-Za-z0-9._~@-]{1,40}", fullmatch=True))
@example("ana.lopez+x@mailbox.example.com")
@example(".ana@mailbox.example")
@example("a" * 60 + "@b.example")
@example("a" * 62 + "@b.example")
def test_an_address_in_a_url_is_percent_encoded_the_same_both_ways(address: str) -> None:
    row = row_of(address, address, address, 1)
    for made in ADDRESSED:
        assert made.fill(row, NAME, DAY, NOON) == slowly(made, row)


ADDRESSED = [
    _compiled(subject="Hola", html=html, text=text)
    for html, text in (
        ("<p>.</p><a href='https://x.example/?who={{ a }}'>x</a> {{ a }} <a href='/{{ a }}/{{ b }}'>{{ c }}</a>", None),
        ("<a href='?q={{ a }}&r={{ a | default('x') }}'>z</a><i title='{{ a }}'>.</i>", "see /?q={{ a }} {{ a }}."),
    )
]
