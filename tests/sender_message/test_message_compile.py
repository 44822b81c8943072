"""Whole messages, read back by a parser that is not ours."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from letters import DAY, KEY, NOON, campaign, content, display_name, letter, read

from schemas.message_name import MessageName, message_tokens
from schemas.template.errors import RowError, TemplateError
from sender.message.compile import compile_message
from sender.message.headers import mailbox_header, one_line
from sender.message.preview import preview

# Any script, emoji, separators; no surrogates, which UTF-8 has not.
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
LINE = TEXT.filter(lambda text: not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text))


def test_a_message_has_the_headers_that_it_needs() -> None:
    message = read(letter(reply_to="ayuda@bore.example", unsubscribe="https://t.bore.example/"))
    assert message["From"] == "Bore <cobros@bore.example>"
    assert message["To"] == "anna@example.com"
    assert message["Reply-To"] == "ayuda@bore.example"
    assert message["Subject"] == "Hola Ana"
    assert parsedate_to_datetime(message["Date"]) == NOON
    assert message["Message-ID"].startswith("<cobranza-2026-02.7.3.0.260202.")
    assert message["Message-ID"].endswith("@bore.example>")
    assert message["MIME-Version"] == "1.0"
    assert re.fullmatch(r"cobranza-2026-02:batch:main:r[0-9a-f]{10}", message["Feedback-ID"])
    assert message.get_content_type() == "multipart/alternative"
    assert [one.get_content_type() for one in message.iter_parts()] == ["text/plain", "text/html"]
    assert content(message, "html") == "<p>Hola Ana</p>"
    assert content(message, "plain") == "Hola Ana\n"
    assert len(set(message.keys())) == len(message.keys())


def test_one_click_unsubscribing_needs_an_https_url() -> None:
    message = read(letter(tracker="https://t.bore.example"))
    token = message_tokens("cobranza-2026-02", 7, 0, DAY, KEY)(3).url
    assert message["List-Unsubscribe"] == (
        f"<https://t.bore.example/u/{token}>, <mailto:cobros@bore.example?subject=unsubscribe%20{token}>"
    )
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert read(letter(tracker="http://localhost:8081"))["List-Unsubscribe-Post"] is None
    without = read(letter(reply_to="ayuda@bore.example"))
    assert without["List-Unsubscribe"].startswith("<mailto:ayuda@bore.example?")
    assert without["List-Unsubscribe-Post"] is None


def test_the_same_name_and_row_give_the_same_bytes() -> None:
    compiled = compile_message(campaign())
    row = {"email": "anna@example.com", "first_name": "Ana"}
    name = MessageName("cobranza-2026-02", 7, 3)
    once = compiled.fill(row, name, DAY, NOON)
    assert compiled.fill(row, name, DAY, NOON) == once
    assert compile_message(campaign()).fill(row, name, DAY, NOON) == once
    others = [replace(name, index=4), replace(name, batch_number=8), replace(name, round=1)]
    assert len({compiled.fill(row, other, DAY, NOON).message_id for other in [*others, name]}) == 4
    assert compiled.fill(row, name, DAY, NOON + timedelta(days=1)).message_id == once.message_id
    assert compiled.fill(row, name, DAY + timedelta(days=1), NOON).message_id != once.message_id


COMPILED = {
    text: compile_message(campaign(subject="{{ subject }}", html="<p>x {{ body|safe }}</p>", text=text))
    for text in (None, "{{ body }} {{ first_name }}")
}


@given(LINE)
def test_any_name_in_from_is_read_back(name: str) -> None:
    octets = mailbox_header("From", "a@bore.example", one_line(name, "the name")) + b"\r\n"
    assert display_name(octets) == name.strip()
    assert all(len(line) <= 78 for line in octets.split(b"\r\n"))


@settings(max_examples=150, deadline=None)
@given(LINE, TEXT, st.sampled_from([None, "{{ body }} {{ first_name }}"]))
def test_what_is_read_is_what_was_written(subject: str, body: str, text: str | None) -> None:
    row = {"email": "anna@example.com", "first_name": "Ana", "subject": subject, "body": body}
    envelope = COMPILED[text].fill(row, MessageName("c", 1, 1), DAY, NOON)
    message = read(envelope)
    assert message["Subject"] == subject.strip()
    written = re.sub(r"\r\n?", "\n", body)
    assert content(message, "html") == f"<p>x {written}</p>"
    if text is not None:
        assert content(message, "plain") == f"{written} Ana"
    assert_fit_for_a_wire(envelope.content)


def assert_fit_for_a_wire(octets: bytes) -> None:
    assert octets.isascii()
    assert octets.endswith(b"\r\n")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    lines = octets.split(b"\r\n")
    assert max(map(len, lines)) <= 200  # bodies 76; only a Message-ID or a link cannot be folded
    assert not any(line.startswith(b".") for line in lines)


@pytest.mark.parametrize(
    "value",
    ["A" * 10_000, "ñ" * 10_000, "名" * 10_000, "👩‍👩‍👧 " * 2000, "word " * 2000, '"quoted" \\ (comment), <x@y>;',
     "=?utf-8?q?x?="],
)  # fmt: skip
def test_long_and_odd_names_fit(value: str) -> None:
    envelope = letter({"first_name": value}, from_name=value[:900])
    message = read(envelope)
    assert message["Subject"] == f"Hola {value}".strip()
    assert display_name(envelope.content) == value[:900].strip()
    assert message["From"].addresses[0].addr_spec == "cobros@bore.example"
    assert_fit_for_a_wire(envelope.content)


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x00"])
def test_no_value_begins_a_header_of_its_own(break_: str) -> None:
    with pytest.raises(RowError, match="line break"):
        letter({"first_name": f"Ana{break_}Bcc: everybody@example.com"})
    with pytest.raises(RowError, match="control character"):
        letter({"email": f"anna@example.com{break_}Bcc: everybody@example.com"})
    with pytest.raises(RowError, match="line break"):
        letter(from_name=f"Bore{break_}Bcc: everybody@example.com")


def test_a_line_break_in_a_body_is_text() -> None:
    message = read(letter({"first_name": "Ana\r\nBcc: x"}, subject="Hola", text="{{ first_name }}"))
    assert message["Bcc"] is None
    assert content(message, "plain") == "Ana\nBcc: x"


@pytest.mark.parametrize(
    ("address", "on_the_wire", "smtputf8"),
    [
        ("anna@example.com", "anna@example.com", False),
        ("Anna.B+x@EXAMPLE.com", "Anna.B+x@example.com", False),
        ("anna@bücher.example", "anna@xn--bcher-kva.example", False),
        ("anna@例え.example", "anna@xn--r8jz45g.example", False),
        ("josé@bücher.example", "josé@xn--bcher-kva.example", True),
        ('"anna b"@example.com', '"anna b"@example.com', False),
    ],
)
def test_international_addresses(address: str, on_the_wire: str, smtputf8: bool) -> None:
    envelope = letter({"email": address})
    assert (envelope.rcpt_to, envelope.smtputf8) == (on_the_wire, smtputf8)
    if not smtputf8:
        assert read(envelope)["To"].addresses[0].addr_spec == on_the_wire
    else:
        assert f"To: {on_the_wire}\r\n".encode() in envelope.content


@pytest.mark.parametrize(
    "address",
    ["", "anna", "@example.com", "anna@", "a b@example.com", "a@b@example.com", "anna@ex ample.com", "a..b@example.com",
     "a" * 65 + "@example.com", "anna@-x-.example", "anna@" + "x" * 64 + ".example", "<anna@example.com>",
     "anna@xn--zzzzzzz99.example", "an\udce9a@example.com"],
)  # fmt: skip
def test_what_is_no_address_is_an_error_of_its_row(address: str) -> None:
    with pytest.raises(RowError, match=r"address|e-mail"):
        letter({"email": address})


def test_a_row_that_lacks_a_variable_says_which() -> None:
    compiled = compile_message(campaign(html="<p>{{ company }}</p>"))
    name = MessageName("c", 1, 0)
    with pytest.raises(RowError, match=r"^lacks the variable company$"):
        compiled.fill({"email": "anna@example.com", "first_name": "Ana"}, name, DAY, NOON)
    with pytest.raises(RowError, match=r"^lacks the variable company$"):
        compiled.fill({"email": "anna@example.com", "first_name": "Ana", "company": None}, name, DAY, NOON)
    whole = {"email": "anna@example.com", "first_name": "Ana", "company": ""}
    assert compiled.fill(whole, name, DAY, NOON).rcpt_to == "anna@example.com"


def test_a_default_stands_in_for_what_is_lacking_or_null() -> None:
    rows: list[dict[str, object]] = [{}, {"nick": None}]
    for row in rows:
        assert read(letter(row, subject='Hola {{ nick | default("amigo") }}'))["Subject"] == "Hola amigo"


def test_one_rows_error_leaves_the_next_untouched() -> None:
    compiled = compile_message(campaign(html="{% for i in range(n) %}{% for j in range(n) %}.{% endfor %}{% endfor %}"))
    name = MessageName("c", 1, 0)
    with pytest.raises(RowError, match="endless"):
        compiled.fill({"email": "a@example.com", "first_name": "A", "n": 90_000}, name, DAY, NOON)
    fine = compiled.fill({"email": "a@example.com", "first_name": "A", "n": 3}, name, DAY, NOON)
    assert content(read(fine), "html") == "........."


def test_text_alone_is_one_part() -> None:
    message = read(letter(html=None, text="Hola {{ first_name }}\n.\nfrom\n"))
    assert message.get_content_type() == "text/plain"
    assert content(message, "plain") == "Hola Ana\n.\nfrom\n"


def test_html_without_words_goes_alone() -> None:
    message = read(letter(html='<img src="https://x.example/a.png">'))
    assert message.get_content_type() == "text/html"


def test_the_preview_is_what_is_read() -> None:
    template = campaign(html="<p>{{ first_name }}</p>").template
    assert preview(template, {"first_name": "A & B"}) == (
        "Subject: Hola A & B\n\n--- text\nA & B\n\n--- html\n<p>A &amp; B</p>\n"
    )
    with pytest.raises(RowError, match="first_name"):
        preview(template, {})


def test_a_template_that_cannot_be_used_says_where() -> None:
    with pytest.raises(TemplateError, match=r"template, html, line 3: .*unexpected") as caught:
        compile_message(campaign(html="<p>\n\n{{ first_name + }}"))
    assert (caught.value.part, caught.value.line) == ("html", 3)
    with pytest.raises(TemplateError, match=r"template, subject, line 1"):
        compile_message(campaign(subject="{% if x %}"))
    with pytest.raises(TemplateError, match=r"template, text, line 2: No filter named 'nofilter'"):
        compile_message(campaign(text="x\n{{ x | nofilter }}"))
