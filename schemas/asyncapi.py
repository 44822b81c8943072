"""The AsyncAPI 3 document of all topics, made from the registry.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0 and the Kafka bindings 0.5.0.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from schemas.base import SCHEMA_HEADER, Model
from schemas.topics import Topic, all_topics, named


def document(prefix: str = "", version: str = "1.0.0") -> dict[str, Any]:
    """The document as plain values. Names with a dot are kept; references escape nothing that they hold."""
    topics = all_topics()
    models: dict[str, type[Model]] = {m.__name__: m for t in topics for m in t.models}
    _, schema = models_json_schema(
        [(m, "validation") for m in models.values()], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "rampa",
            "version": version,
            "description": "Topics of rampa: e-mail campaigns planned, paced and sent exactly once.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_id(t): _channel(t, prefix) for t in topics},
        "operations": {f"{verb}.{_id(t)}": _operation(t, verb) for t in topics for verb in ("send", "receive")},
        "components": {
            "messages": {name: _message(name, model) for name, model in models.items()},
            "schemas": schema["$defs"],
        },
    }


def _id(t: Topic) -> str:
    return t.name.replace(".", "-")


def _channel(t: Topic, prefix: str) -> dict[str, Any]:
    config = t.config()
    kafka: dict[str, Any] = {
        "topic": named(prefix, t),
        "topicConfiguration": {"cleanup.policy": [config["cleanup.policy"]]},
        "bindingVersion": "0.5.0",
    }
    if "retention.ms" in config:
        kafka["topicConfiguration"]["retention.ms"] = int(config["retention.ms"])
    if t.max_bytes is not None:
        kafka["topicConfiguration"]["max.message.bytes"] = t.max_bytes
    if t.partitions is not None:
        kafka["partitions"] = t.partitions
    return {
        "address": named(prefix, t),
        "description": f"{t.meaning} Key: {t.key}. Written by {', '.join(t.writers)}; read by {', '.join(t.readers)}.",
        "messages": {m.__name__: {"$ref": f"#/components/messages/{m.__name__}"} for m in t.models},
        "bindings": {"kafka": kafka},
    }


def _operation(t: Topic, verb: str) -> dict[str, Any]:
    who = t.writers if verb == "send" else t.readers
    return {
        "action": verb,
        "channel": {"$ref": f"#/channels/{_id(t)}"},
        "summary": f"By {', '.join(who)}.",
        "messages": [{"$ref": f"#/channels/{_id(t)}/messages/{m.__name__}"} for m in t.models],
    }


def _message(name: str, model: type[Model]) -> dict[str, Any]:
    first_line = (model.__doc__ or name).strip().splitlines()[0]
    return {
        "name": name,
        "title": first_line,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {SCHEMA_HEADER: {"type": "string", "const": f"{name}/{model.schema_version}"}},
        },
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
