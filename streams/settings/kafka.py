"""`[kafka]`: where Kafka is, and what librdkafka is told."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from schemas.units import Duration
from streams.settings.base import unknown

_SECRET = re.compile(r"password|secret|token|key\.pem|key_pem|jaas|oauthbearer")


class KafkaSettings(BaseModel):
    """Where Kafka is. Keys that are not listed are passed to librdkafka (`sasl_mechanism`, ...)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    bootstrap: str = Field("embedded", min_length=1, description='"embedded", "local" or "host:9092,host:9092"')
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    partitions: int = Field(12, ge=1, le=1000)
    replication: int = Field(1, ge=1, le=10, description="replicas of each topic; 3 on a cluster")
    session_timeout: Duration = timedelta(seconds=6)
    port: int = Field(0, ge=0, le=65535, description="of the embedded or local broker; 0: any free one")

    @model_validator(mode="before")
    @classmethod
    def _secrets_are_wrapped(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: SecretStr(v) if isinstance(v, str) and _SECRET.search(k) else v for k, v in data.items()}

    @model_validator(mode="after")
    def _extras_are_for_librdkafka(self) -> KafkaSettings:
        allowed = (
            "security",
            "sasl",
            "ssl",
            "enable_ssl",
            "client",
            "broker",
            "socket",
            "debug",
            "statistics",
            "message_max",
        )
        for name, value in (self.model_extra or {}).items():
            if not name.replace(".", "_").startswith(allowed):
                raise ValueError(unknown(name, tuple(type(self).model_fields), "a setting of [kafka]"))
            if not isinstance(value, str | int | float | bool | SecretStr):
                raise ValueError(f"{name} must be a string, a number or true/false")
        return self

    def client_options(self) -> dict[str, str]:
        """What is passed to librdkafka: underscores become dots."""
        return {name.replace("_", "."): _librdkafka(value) for name, value in (self.model_extra or {}).items()}


def _librdkafka(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)
