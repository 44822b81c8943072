"""What a template may not do, and how it is stopped."""

from __future__ import annotations

import time

import pytest

from schemas.template.budget import MAX_OUTPUT, MAX_SECONDS, MAX_STEPS, Budget
from schemas.template.errors import RowError, TemplateError
from sender.message.parts import CompiledPart, compile_html, derive_text


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ x.__init__.__globals__ }}",
        "{% if x._secret %}{% endif %}",
        "{% include 'other' %}",
        "{% import 'other' as o %}",
        "{% extends 'other' %}",
        "{{ x | _value('a', true) }}",
        "{{ x | nofilter }}",
        "{{ x is notest }}",
        "{% endless %}",
        "{{ x",
        "{{ x.y( }}",
        "{% if x %}",
        "{{ " + "(" * 5000 + "x" + ")" * 5000 + " }}",
    ],
)
def test_a_template_is_refused_before_anything_is_sent(source: str) -> None:
    with pytest.raises(TemplateError, match="template, html"):
        compile_html(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''|attr('__class__') }}",
        "{{ x['__cl' ~ 'ass__'] }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ rows.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% for i in rows recursive %}{{ loop(rows) }}{{ loop(rows) }}{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "{% set s %}{% for i in range(90000) %}" + "x" * 99 + "{% endfor %}{% endset %}{{ s | length }}",
        "{% for i in range(90000) %}{{ x * 100 }}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=999999999) }}",
        "{{ x | center(999999999) }}",
        "{{ x.ljust(999999999) }}",
        "{{ x | indent(999999999) }}",
        "{{ rows | batch(999999999, 'x') | list }}",
        "{{ rows | slice(999999999) | list }}",
        "{{ range(90000) | join('x' * 9000) }}",
        "{{ ('x' * 9000).join(range(90000) | map('string')) }}",
        "{{ ('a' * 90000).replace('a', 'b' * 90000) }}",
        "{{ range(90000) | map('center', 9000) | list | length }}",
        "{{ x.nothing }}",
        "{{ 1 / 0 }}",
        "{{ x() }}",
        "{{ x + 1 }}",
        "{{ rows[99] }}",
    ],
)
def test_a_row_is_refused_soon_and_with_little_memory(source: str) -> None:
    part = compile_html(source)
    began = time.process_time()
    with pytest.raises(RowError):
        part.render({"x": "text", "rows": [1, 2, 3]})
    assert time.process_time() - began < 2 * MAX_SECONDS


def test_a_text_part_of_ones_own_html_has_the_same_limits() -> None:
    with pytest.raises(RowError, match="endless"):
        derive_text("{% for i in range(9999) %}{% for j in range(9999) %}<p>x{% endfor %}{% endfor %}").render({})


def test_what_people_write_works() -> None:
    source = (
        "{{ name | upper }} {{ name.title() }} {{ '%05.1f' | format(price) }} {{ '{:>6}'.format(3) }} {{ 3 * 'ab' }} "
        "{{ rows | join(', ') }} {{ rows | map('string') | join('-') }} {{ '/'.join(['a', 'b']) }} {{ rows | sum }} "
        "{{ name | replace('a', 'b') }} {{ 'x' ~ name ~ 1 }} {{ (rows | first) + 1 }} {{ 7 % 4 }} {{ 2 ** 10 }} "
        "{% for r in rows %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% else %}none{% endfor %} "
        "{% macro b(t) %}<b>{{ t }}</b>{% endmacro %}{{ b('&') }} {% set s %}[{{ name }}]{% endset %}{{ s }}"
    )
    rendered = compile_html(source).render({"name": "ana", "price": 2.5, "rows": [1, 2]})
    assert rendered == ("ANA Ana 002.5      3 ababab 1, 2 1-2 a/b 3 bnb xana1 2 3 1024 1/2,2/2 <b>&amp;</b> [ana]")


def _rendered(part: CompiledPart, **row: object) -> str:
    return part.render(row)


def test_a_budget_is_of_one_rendering() -> None:
    part = compile_html("{% for i in range(n) %}x{% endfor %}")
    for _ in range(3):
        assert len(_rendered(part, n=60_000)) == 60_000


def test_a_budget_ends_by_steps_size_or_time() -> None:
    now = 100.0
    budget = Budget(lambda: now)
    for _ in range(MAX_STEPS):
        budget.step()
    with pytest.raises(RowError, match="turns"):
        budget.step()
    budget.begin()
    budget.write(MAX_OUTPUT)
    with pytest.raises(RowError, match="characters"):
        budget.write(1)
    budget.begin()
    budget.step()
    now += MAX_SECONDS + 0.1
    with pytest.raises(RowError, match=r"more than 0\.5 s"):
        budget.step()
