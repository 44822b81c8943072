"""What is wrong with templates, and what they need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.templates import problems
from planner.variables import required, required_in
from schemas.campaign import ResolvedTemplate
from schemas.template.errors import TemplateError
from sender.message.template import compile_template

DOUBLED = "{% set n = namespace(s='a b') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
PIECES = (
    "<p>", "</p>", "<script>", "</script>", "<a href='", "'>", "<!--", "-->", " a ", "{{ x }}", "{{ x._y }}", "{{ x",
    "{% if x %}", "{% else %}", "{% endif %}", "{% for i in x %}", "{% endfor %}", "{{ x|nosuch }}", "{# c #}",
    "{% include 'a' %}", "{{ x['__y'] }}", "{{ x|_value }}", "{% raw %}", "{% endraw %}", "{% set x = 1 %}", "}}", "{",
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("a\n{{ x", 2, "unexpected end"),
        ("a\n\n{% if x %}", 3, "Unexpected end"),
        ("{{ x | nosuch }}", 1, "nosuch"),
        ("{{ x is nosuch }}", 1, "nosuch"),
        ("\n{{ ''.__class__.__mro__ }}", 2, "underscore"),
        ("{{ x['__class__'] }}", 1, "underscore"),
        ("{{ x | attr('__class__') }}", 1, "underscore"),
        ("{{ x | map(attribute='_y') | list }}", 1, "underscore"),
        ("{% include 'other' %}", 1, "include"),
        ("{% extends 'other' %}", 1, "include"),
        ("{% import 'other' as o %}", 1, "include"),
        ("{% for i in range(1000000000) %}x{% endfor %}", 1, "range"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", 1, "macro"),
        ("{% for a in x recursive %}{{ loop(a) }}{% endfor %}", 1, "macro"),
        ("{% for a in x %}{% for b in x %}{% for c in x %}.{% endfor %}{% endfor %}{% endfor %}", 1, "nested"),
        ("{{ 'x' * 1000000000 }}", 1, "repeating"),
        ("{{ 9 ** 99999999 }}", 1, "repeating"),
        ("{{ amount * 1000000 }}", 1, "repeating"),
        ("{{ 'x' | center(1000000000) }}", 1, "width"),
        ("{{ 'x' | indent(width=1000000000) }}", 1, "width"),
        ("{{ '%0999999999d' % 5 }}", 1, "width"),
        ("{{ '%999999999s' | format(x) }}", 1, "width"),
        ("{{ '{:>999999999}'.format(x) }}", 1, "width"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_its_line(source: str, line: int, says: str) -> None:
    found = problems(ResolvedTemplate(subject="ok", html=source))
    assert [p.field for p in found][:1] == ["template.html"]
    assert found[0].problem.startswith(f"line {line}: ")
    assert says in found[0].problem


def test_a_template_that_is_too_long_is_refused() -> None:
    assert "larger" in problems(ResolvedTemplate(subject="x", text="y" * 256 * 1024 + "z"))[0].problem


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% for i in range(9999) %}{% for j in range(9999) %}.{% endfor %}{% endfor %}", "turns"),
        (DOUBLED + "{{ n.s | length }}", "characters"),
        (
            DOUBLED.replace("99", "18") + "{% for i in range(9999) %}{{ n.s|title|length }}{% endfor %}",
            "takes more than",
        ),
        ("{% for i in range(9999) %}" + "x" * 999 + "{% endfor %}", "longer"),
        ("{{ x['__cl' ~ 'ass__'] }}", "unsafe"),
        ("{% macro o() %}{{ p() }}{% endmacro %}{% macro p() %}{{ o() }}{% endmacro %}{{ o() }}", "without end"),
    ],
)
def test_a_template_that_nobody_could_be_mailed_by_is_refused(source: str, says: str) -> None:
    (found, *_) = problems(ResolvedTemplate(subject="ok", html=source, text="ok"), "fallback.template")
    assert found.field == "fallback.template.html"
    assert "cannot be filled in" in found.problem
    assert says in found.problem


def test_a_loop_over_what_a_row_has_may_be_long() -> None:
    source = "{% for i in range(n|int) %}{% for j in items %}{{ j.x / n }}{% endfor %}{% endfor %}"
    assert problems(ResolvedTemplate(subject="ok", html=source)) == []


def test_html_that_makes_no_text_part_is_refused_unless_there_is_one() -> None:
    html = "<b title='{% if x %}'>a{% endif %}</b>"
    assert [p.field for p in problems(ResolvedTemplate(subject="x", html=html))] == ["template.text"]
    assert problems(ResolvedTemplate(subject="x", html=html, text="y")) == []


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.booleans())
def test_what_the_planner_takes_the_sender_compiles(source: str, with_text: bool) -> None:
    template = ResolvedTemplate(subject="s", html=source, text="t" if with_text else None)
    found = problems(template)
    try:
        compile_template(template)
    except TemplateError:
        assert found


def test_a_usual_template_has_no_problems() -> None:
    source = "{{ '%.2f' | format(a) }} {{ '100%' }} {{ '%05d' % 7 }} {{ x | truncate(300) }}"
    source += "{% for d in debts %}{{ d.amount|round(2) }} {{ loop.index * 2 }}{% endfor %}"
    source += "{% macro m(a) %}<b>{{ a }}</b>{% endmacro %}{{ m(x) }}"
    source += "{% if vip %}{{ x|default('y') }}{% endif %}"
    assert problems(ResolvedTemplate(subject="{{ a }} x", html=source, text=source)) == []


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("{{ a }} {{ b|upper }}", {"a", "b"}),
        ("{{ a|default('x') }} {{ b|d('x')|upper }}", set()),
        ("{{ a|upper|default('x') }}", {"a"}),
        ("{{ a|default('x') }} {{ a }}", {"a"}),
        ("{{ a|default(b) }}", {"b"}),
        ("{{ a.x|default('y') }}", {"a"}),
        ("{% if a %}x{% endif %}", {"a"}),
        ("{% if a is defined %}{{ a }}{% endif %}", set()),
        ("{% if a is defined %}{{ a }}{% else %}{{ a }}{% endif %}", {"a"}),
        ("{% if a is undefined %}x{% else %}{{ a }}{% endif %}", set()),
        ("{% if a is not defined %}x{% else %}{{ a }}{% endif %}", set()),
        ("{% if a is defined and a %}{{ a }}{{ b }}{% endif %}", {"b"}),
        ("{% if a is undefined or not a %}x{% else %}{{ a }}{% endif %}", set()),
        ("{% if a is defined or b is defined %}{{ a }}{% endif %}", {"a"}),
        ("{% if x %}1{% elif a is defined %}{{ a }}{% elif b %}2{% endif %}", {"x", "b"}),
        ("{{ a if a is defined else 'x' }}", set()),
        ("{{ a if b else c }}", {"a", "b", "c"}),
        ("{% for d in debts %}{{ d.x }}{% endfor %}", {"debts"}),
        ("{{ lipsum() }}", {"lipsum"}),
        ("{% set t = a %}{{ t }}", {"a"}),
        ("{% for i in range(3) %}{{ loop.index }}{% endfor %}", set()),
        ("{{ 'a' if not (a is undefined) else '' }}{# {{ z }} #}", set()),
    ],
)
def test_a_variable_is_needed_unless_the_template_guards_it(source: str, needed: set[str]) -> None:
    assert required_in(source) == needed


def test_all_parts_count_and_the_address_is_always_there() -> None:
    template = ResolvedTemplate(subject="{{ a }}", html="{{ b }} {{ email }}", text="{{ c }}")
    assert required(template) == {"a", "b", "c"}
