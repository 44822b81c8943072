"""Where in a text a place is: in a URL's query, in its path, in a script, or elsewhere.

A scanner is fed a template's static text from its start and says at any time where it is. It is pure
and small: it knows as much of HTML (tags, attributes, quotes, comments, raw text) as that takes, and a
bare `http(s)://` URL in a text is found by looking back to the last space.

For `{{ name }}` the rules are:

| place | encoding |
|---|---|
| after `?` or `#` of a URL | every character outside A-Z a-z 0-9 - . _ ~ is percent-encoded |
| in the path of a URL that began in the template's own text | the same, but `/` stays |
| the URL as a whole, or its host | as the text around it |
| HTML text and attributes | HTML-escaped |
| subject, text part | plain |

A URL is the value of one of `URL_ATTRIBUTES`, or begins with `http://` or `https://` anywhere.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Protocol

URL_ATTRIBUTES = frozenset(
    ["action", "background", "cite", "data", "formaction", "href", "longdesc", "poster", "src", "xlink:href"]
)


class Place(Enum):
    """Where a value is about to stand."""

    PLAIN = "plain"
    PATH = "path"
    QUERY = "query"


class Scanner(Protocol):
    """Says where the end of what it was fed is."""

    def feed(self, text: str) -> None:
        """The next piece of static text."""

    def value(self) -> Place:
        """A value stands here: where is that? The scanner goes on as if a word had been written."""

    def copy(self) -> Scanner:
        """Another one at the same place, for a branch."""


_BARE = re.compile(r"https?://[^\s<>\"'`\\]*\Z", re.IGNORECASE)
_WORD = "x"
MAX_TAIL = 4096
"""Characters of a URL, or of a text without a space, that are looked at: longer ones keep their ends."""


def place_in_url(url: str, *, whole: bool) -> Place:
    """The place at the end of `url`, as the template has it; `whole`: it is an attribute's value from its start."""
    if "?" in url or "#" in url:
        return Place.QUERY
    _, absolute, rest = url.partition("://")
    in_path = "/" in rest if absolute else whole and url.startswith("/")
    return Place.PATH if in_path else Place.PLAIN


class TextScanner:
    """Plain text: only bare URLs matter."""

    def __init__(self, tail: str = "") -> None:
        self._tail = tail

    def feed(self, text: str) -> None:
        self._tail = _shortened(_since_space(self._tail + text))

    def value(self) -> Place:
        url = _BARE.search(self._tail)
        self._tail += _WORD
        return place_in_url(url[0], whole=False) if url else Place.PLAIN

    def copy(self) -> TextScanner:
        return TextScanner(self._tail)


def _since_space(text: str) -> str:
    return re.split(r"\s", text)[-1]


def _shortened(tail: str, *, whole: bool = False) -> str:
    """`tail`, or its ends with a mark of what was between, as far as that says where a value stands.

    `whole`: its beginning counts, also when a URL begins within it.
    """
    if len(tail) <= MAX_TAIL:
        return tail
    if not whole and (url := _BARE.search(tail)) is not None:
        tail = url[0]
    half = MAX_TAIL // 4
    if len(tail) <= 2 * half:
        return tail
    left_out = tail[half:-half]
    return tail[:half] + ("?" if "?" in left_out or "#" in left_out else "") + tail[-half:]


class _At(Enum):
    TEXT = "text"
    TAG_NAME = "tag name"
    IN_TAG = "between attributes"
    ATTRIBUTE = "attribute name"
    BEFORE_VALUE = "after ="
    VALUE = "attribute value"
    COMMENT = "comment"
    RAW = "script, style, title or textarea"


_RAW = ("script", "style", "title", "textarea")
_LONGEST_RAW = len("</textarea")
_LONGEST_NAME = 32
"""Characters of a tag's or an attribute's name that are kept: none that matters here is longer."""
SPACE = " \t\n\r\f"
"""What parts the attributes of a tag (HTML Living Standard, 13.2.5): no other white space does."""
_NO_TAG = re.compile(r"[^<]+")
_CONDITIONAL = re.compile(r"!--\[if\b", re.IGNORECASE)
_RUN_OF_VALUE = {'"': re.compile(r'[^"]+'), "'": re.compile(r"[^']+"), "": re.compile(f"[^{SPACE}>]+")}


class HtmlScanner:
    """HTML, forgiving as browsers are. It runs once a template, in a time that grows with its length alone."""

    def __init__(self) -> None:
        self._at = _At.TEXT
        self._tail = ""  # of the text, or the attribute's value
        self._tag = ""
        self._name = ""
        self._quote = ""

    def copy(self) -> HtmlScanner:
        other = HtmlScanner()
        other.__dict__.update(self.__dict__)
        return other

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            run = self._run_of()
            found = run.match(text, at) if run is not None else None
            if found is None:
                self._step(text[at])
                at += 1
            else:
                self._go_on(found[0])
                at = found.end()

    def _run_of(self) -> re.Pattern[str] | None:
        """What can be taken at once here, since it changes nothing but the tail."""
        if self._at is _At.TEXT and not self._tail.endswith("<"):
            return _NO_TAG
        if self._at is _At.RAW and "<" not in self._tail[-_LONGEST_RAW:]:
            return _NO_TAG
        if self._at is _At.VALUE:
            return _RUN_OF_VALUE[self._quote]
        return None

    def _go_on(self, run: str) -> None:
        if self._at is _At.VALUE:
            self._tail = _shortened(self._tail + run, whole=True)
        else:
            self._tail = _shortened(_since_space(self._tail + run))

    def value(self) -> Place:
        for character in _WORD:
            before = self._at, self._name, self._tail
            self._step(character)
        at, name, tail = before
        if at in (_At.BEFORE_VALUE, _At.VALUE) and name.lower() in URL_ATTRIBUTES:
            return place_in_url(tail.lstrip() if at is _At.VALUE else "", whole=True)
        if at in (_At.TEXT, _At.VALUE, _At.RAW) and (url := _BARE.search(tail)):
            return place_in_url(url[0], whole=False)
        return Place.PLAIN

    def _step(self, c: str) -> None:
        getattr(self, f"_in_{self._at.name.lower()}")(c)

    def _in_text(self, c: str) -> None:
        if self._tail.endswith("<") and (c.isalpha() or c in "/!"):
            self._at, self._tag, self._tail, self._name = _At.TAG_NAME, c, "", ""
        else:
            self._tail = "" if c.isspace() else _shortened(self._tail + c)

    def _in_tag_name(self, c: str) -> None:
        if c == ">":
            self._end_tag()
        elif c in SPACE or (c == "/" and self._tag != "/"):
            self._at = _At.IN_TAG
        else:
            self._tag = (self._tag + c)[:_LONGEST_NAME]
            if self._tag == "!--":
                self._at, self._tail = _At.COMMENT, "--"  # `<!-->` is a whole one

    def _in_in_tag(self, c: str) -> None:
        if c == ">":
            self._end_tag()
        elif c == "=" and self._name:
            self._at = _At.BEFORE_VALUE
        elif c not in SPACE and c != "/":
            self._at, self._name = _At.ATTRIBUTE, c

    def _in_attribute(self, c: str) -> None:
        if c == ">":
            self._end_tag()
        elif c == "=":
            self._at = _At.BEFORE_VALUE
        elif c in SPACE:
            self._at = _At.IN_TAG
        else:
            self._name = (self._name + c)[:_LONGEST_NAME]

    def _in_before_value(self, c: str) -> None:
        if c == ">":
            self._end_tag()
        elif c in "\"'":
            self._at, self._quote, self._tail = _At.VALUE, c, ""
        elif c not in SPACE:
            self._at, self._quote, self._tail = _At.VALUE, "", c

    def _in_value(self, c: str) -> None:
        if c == ">" and not self._quote:
            self._end_tag()
        elif c == self._quote or (not self._quote and c in SPACE):
            self._at, self._tail, self._name = _At.IN_TAG, "", ""
        else:
            self._tail = _shortened(self._tail + c, whole=True)

    def _in_comment(self, c: str) -> None:
        self._tag, self._tail = (self._tag + c)[: len("!--[if ")], (self._tail + c)[-3:]
        if self._tail == "-->" or (c == ">" and _CONDITIONAL.match(self._tag)):  # Outlook reads on after `[if mso]>`
            self._at, self._tail = _At.TEXT, ""

    def _in_raw(self, c: str) -> None:
        self._tail = "" if c.isspace() else _shortened(self._tail + c)
        if self._tail[-_LONGEST_RAW:].lower().endswith(f"</{self._tag}"):
            self._at, self._tag, self._tail = _At.IN_TAG, "/", ""

    def _end_tag(self) -> None:
        self._tag = self._tag.lower()
        self._at, self._tail = (_At.RAW if self._tag in _RAW else _At.TEXT), ""
