"""A readable text part out of an HTML template: a template again, whose variables stay plain.

Jinja's `{{ }}` and `{% %}` are carried through as single characters, the HTML round them is read by
`html.parser`, and the pieces are put back where they stood. Paragraphs are parted by an empty line, list
items begin with `- ` (or their number), links become `text (url)`, images their `alt`, entities
characters. Scripts, styles, the head, and what is hidden are left out; statements (`{% %}`) between tags
are always kept, so that what begins also ends.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from jinja2 import Environment

_FIRST = 0xF0000
"""Placeholders are characters of plane 15, private use: n stands for the n-th piece of Jinja."""
_HELD = re.compile(f"[{chr(_FIRST)}-{chr(0xFFFFD)}]")
_STEP = 16 * 1024
_MAX_UNCLOSED = 100
"""At its end `html.parser` reads what is not closed again from each `<` on."""
_MAX_INDENT = 8
"""Lists within lists that are shown as such."""
_GAP = {"p": 2, "h1": 2, "h2": 2, "h3": 2, "h4": 2, "h5": 2, "h6": 2, "ul": 2, "ol": 2, "table": 2, "blockquote": 2,
        "pre": 2, "dl": 2, "figure": 2, "hr": 2, "div": 1, "li": 1, "tr": 1, "dt": 1, "dd": 1, "section": 1,
        "article": 1, "header": 1, "footer": 1, "form": 1, "center": 1, "tbody": 1, "thead": 1, "body": 1}  # fmt: skip
"""Line ends round an element."""
_SILENT = frozenset(["script", "style", "head", "title", "template", "noscript", "object", "svg", "select"])
_VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"])


def text_template(html: str, environment: Environment) -> str:
    """The source of a text template that says what the HTML template `html` says.

    Raises jinja2.TemplateSyntaxError as parsing `html` would, and ValueError when it has too many expressions, or a
    long end that is in a tag or comment which is never closed.
    """
    pieces: list[str] = []
    held = "".join(_hold(html, environment, pieces))
    reader = _Reader(pieces)
    for start in range(0, len(held), _STEP):  # so that what is not closed is looked at once a step, not once a tag
        reader.feed(held[start : start + _STEP])
    if reader.rawdata.count("<") > _MAX_UNCLOSED:
        raise ValueError("a tag or comment at its end is not closed")
    reader.close()
    escaped = _escape("".join(reader.out).strip())
    return _HELD.sub(lambda m: pieces[ord(m[0]) - _FIRST], escaped)


def tidy(text: str) -> str:
    """A rendered text without the empty lines and trailing spaces that branches not taken left behind."""
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    text = re.sub(r"(?<=\S) {2,}(?=\S)", " ", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" if text.strip() else ""


def _hold(source: str, environment: Environment, pieces: list[str]) -> list[str]:
    """The source with each piece of Jinja as one character; comments are dropped."""
    out: list[str] = []
    inside: list[str] = []
    comment = False
    for _, kind, value in environment.lexer.tokeniter(source, None):
        if kind == "data" and not inside:
            out.append(_HELD.sub("", value))
        elif kind.startswith("comment"):
            comment = kind != "comment_end"
        elif not comment and not kind.startswith("raw"):
            inside.append(value)
            if kind in ("variable_end", "block_end"):
                if len(pieces) > 60_000:
                    raise ValueError("the template has more than 60,000 expressions")
                # Without whitespace control: the spaces round it are ours now.
                pieces.append(re.sub(r"^(\{[{%])[-+]|[-+]([%}]\})$", r"\1\2", "".join(inside)))
                out.append(chr(_FIRST + len(pieces) - 1))
                inside = []
    return out


def _escape(text: str) -> str:
    """Braces that came out of the HTML are text, not Jinja."""
    return re.sub(r"\{(?=[{%#\U000F0000-\U000FFFFD])|(?<=[\U000F0000-\U000FFFFD])\{", '{{ "{" }}', text)


class _Reader(HTMLParser):
    def __init__(self, pieces: list[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._pieces = pieces
        self._gap = 0
        """Line ends that are due before what follows."""
        self._given = 3
        """Line ends that were written since the last words; a text begins as if there were enough."""
        self._branches: list[int] = []
        """`_given` where each open statement began."""
        self._space = False
        self._silent: list[str] = []
        self._lists: list[int | None] = []
        self._loops = 0
        self._links: list[tuple[str, int]] = []
        self._pre = 0

    # -- what html.parser calls ----------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in reversed(attrs)}
        if self._silent:
            if tag == self._silent[-1]:
                self._silent.append(tag)
            return
        if tag not in _VOID and (tag in _SILENT or _is_hidden(given)):
            self._silent.append(tag)
            return
        self._gap = max(self._gap, _GAP.get(tag, 0))
        self._begin(tag, given)

    def _begin(self, tag: str, given: dict[str, str]) -> None:
        if tag == "br":
            self._gap += 1
        elif tag == "hr":
            self._say("-" * 20)
            self._gap = 2
        elif tag == "img":
            self.handle_data(given.get("alt", ""))
        elif tag in ("td", "th"):
            self._space = True
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._say("  " * min(len(self._lists) - 1, _MAX_INDENT) + self._bullet())
        elif tag == "pre":
            self._pre += 1
        elif tag == "a":
            self._links.append((given.get("href", "").strip(), len(self.out)))

    def handle_endtag(self, tag: str) -> None:
        if self._silent:
            if tag == self._silent[-1]:
                self._silent.pop()
            return
        if tag == "a" and self._links:
            self._end_link()
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "pre":
            self._pre = max(0, self._pre - 1)
        self._gap = max(self._gap, _GAP.get(tag, 0))

    def handle_data(self, data: str) -> None:
        for part in re.split(f"({_HELD.pattern})", data):
            if _HELD.fullmatch(part):
                self._jinja(part)
            elif not self._silent:
                self._words(part)

    # -- writing ------------------------------------------------------------------------------------

    def _jinja(self, held: str) -> None:
        piece = self._pieces[ord(held) - _FIRST]
        if not piece.startswith("{%"):
            if not self._silent:
                self._say(held)
            return
        # What is due before a statement belongs to before it, so that each turn and branch is whole.
        self._flush()
        word = re.sub(r"^\{%[-+]?\s*", "", piece).split(None, 1)[0]
        if word in ("if", "for"):
            self._branches.append(self._given)
        elif word in ("elif", "else") and self._branches:
            self._given = self._branches[-1]
        elif word in ("endif", "endfor") and self._branches:
            self._given = min(self._given, self._branches.pop())
        self._loops += {"for": 1, "endfor": -1}.get(word, 0)
        self.out.append(held)

    def _words(self, data: str) -> None:
        if self._pre:
            if data:
                self._say(data)
            return
        words = data.split()
        if not words:
            self._space = self._space or bool(data)
            return
        self._space = self._space or data[0].isspace()
        self._say(" ".join(words))
        self._space = data[-1].isspace()

    def _say(self, text: str) -> None:
        self._flush()
        self.out.append(text)
        self._given = 0

    def _flush(self) -> None:
        if self._gap > self._given:
            self.out.append("\n" * min(self._gap - self._given, 3))
            self._given = self._gap
        elif self._space and not self._given:
            self.out.append(" ")
        self._gap, self._space = 0, False

    def _bullet(self) -> str:
        if not self._lists or self._lists[-1] is None or self._loops:
            return "- "
        self._lists[-1] += 1
        return f"{self._lists[-1]}. "

    def _end_link(self) -> None:
        href, start = self._links.pop()
        words = "".join(self.out[start:]).strip()
        if not href or href.startswith("#") or href.lower().startswith("javascript:"):
            return
        bare = href.removeprefix("mailto:").removeprefix("tel:")
        if self._restored(words) == self._restored(bare):
            return
        self._gap = 0
        self._space = bool(words)
        self._say(f"({bare})" if words else bare)

    def _restored(self, text: str) -> str:
        return _HELD.sub(lambda m: self._pieces[ord(m[0]) - _FIRST], text)


def _is_hidden(given: dict[str, str]) -> bool:
    return "hidden" in given or re.search(r"display\s*:\s*none", given.get("style", ""), re.IGNORECASE) is not None
