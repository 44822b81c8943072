"""The fast way: functions made for one campaign's message and one table's columns.

It makes what `compile.py` makes piece by piece, byte for byte, or None when a row is out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from schemas.message_name import Tokens
from sender.message.conditions import Declined
from sender.message.envelope import Envelope
from sender.message.parts import CompiledPart, Variant
from sender.message.simple import Choice, Key, names
from sender.message.writer import Core, Encoder, Frame, Slot, Writer

MAX_WRITTEN = 64
"""Functions written for one table, each for what some rows choose."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message whose parts are simple."""

    frame: Frame
    subject: CompiledPart
    bodies: tuple[tuple[str, CompiledPart], ...]
    """(subtype, part), the plainest first."""
    encoders: dict[Slot, Encoder] = field(default_factory=dict, compare=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it uses."""
        parts = [self.subject, *(part for _, part in self.bodies)]
        return tuple(dict.fromkeys(["email", *(name for part in parts for name in names(part.pieces or ()))]))

    def core(self, columns: Sequence[str]) -> Core:
        """The function for rows of these columns. It writes one for each variant when a row first chooses it."""
        parts = (self.subject, *(part for _, part in self.bodies))
        if not any(isinstance(one, Choice) for part in parts for one in part.pieces or ()):
            with suppress(Declined):
                return self._written(columns, [part.variant(_nothing)[1] for part in parts]) or _declining
            return _declining
        at = {name: n for n, name in enumerate(columns)}
        cores: dict[tuple[Key, ...], Core] = {}

        def core(row: Sequence[object], tokens: Tokens, date: bytes) -> Envelope | None:
            chosen = [part.variant(lambda name: row[at[name]] if name in at else None) for part in parts]
            key = tuple([one for one, _ in chosen])
            found = cores.get(key)
            if found is None:
                if len(cores) >= MAX_WRITTEN:
                    return None
                found = cores[key] = self._written(columns, [variant for _, variant in chosen]) or _declining
            return found(row, tokens, date)

        return core

    def _written(self, columns: Sequence[str], variants: Sequence[Variant]) -> Core | None:
        bodies = [(one, variant) for (one, _), variant in zip(self.bodies, variants[1:], strict=True) if variant.pieces]
        if not bodies or not all(any(isinstance(one, str) for one in variant.pieces) for _, variant in bodies):
            return None  # a part of values alone may be empty, and then is not there
        return Writer(self.frame, variants[0].pieces, bodies, columns, self.encoders).core()


def _nothing(_: str) -> object:
    return None


def _declining(_row: Sequence[object], _tokens: Tokens, _date: bytes) -> Envelope | None:
    return None
