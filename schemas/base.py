"""What every model of the contract shares: frozen values, JSON in and out, a version.

A record's value is one JSON object in UTF-8. Its `schema` header says `Name/version`, so that a
reader meets an old record knowingly. Models that people write refuse fields that they do not know;
models that our own roles write ignore them, so that roles of two releases can run side by side.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer

SCHEMA_HEADER = "schema"


def rfc3339(instant: datetime) -> str:
    """`instant` in UTC as RFC 3339 with a Z; microseconds only when there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A moment of the installation's clock (which may run faster than real time), always with a zone."""

Header = tuple[str, bytes]


class Model(BaseModel):
    """A record that our own roles write. Frozen; unknown fields are ignored on reading."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    schema_version: ClassVar[int] = 1

    def encode(self) -> bytes:
        """The value for Kafka: one JSON object, UTF-8."""
        return orjson.dumps(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def decode(cls, value: bytes | str) -> Self:
        """The record of `value`. Raises `pydantic.ValidationError` with every problem named by field."""
        return cls.model_validate_json(value)

    @classmethod
    def headers(cls) -> tuple[Header, ...]:
        """The `schema` header of a record of this model."""
        return ((SCHEMA_HEADER, f"{cls.__name__}/{cls.schema_version}".encode()),)


class UserModel(Model):
    """A record that people write: a field that is not known is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def dump_json(value: Any) -> bytes:
    """JSON bytes of plain values (dict, list, str, numbers, datetime)."""
    return orjson.dumps(value)
