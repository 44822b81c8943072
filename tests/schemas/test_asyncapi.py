"""The AsyncAPI document, checked against the specification's own JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from schemas.asyncapi import document
from schemas.topics import all_topics

SPECIFICATION = json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_text("utf-8"))


@pytest.mark.parametrize("prefix", ["", "staging."])
def test_the_document_is_valid_asyncapi_3(prefix: str) -> None:
    found = json.loads(json.dumps(document(prefix)))
    problems = [
        f"{list(e.absolute_path)}: {e.message[:200]}"
        for e in jsonschema.Draft7Validator(SPECIFICATION).iter_errors(found)
    ]
    assert problems == []


def test_a_broken_document_is_noticed() -> None:
    broken = {**document(), "asyncapi": 3}
    assert not jsonschema.Draft7Validator(SPECIFICATION).is_valid(broken)


def test_every_topic_has_a_channel_with_its_address() -> None:
    addresses = {channel["address"] for channel in document("p.")["channels"].values()}
    assert addresses == {f"p.{t.name}" for t in all_topics()}


def test_every_reference_leads_somewhere() -> None:
    found = document()

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [r for v in value.values() for r in references(v)]
        if isinstance(value, list):
            return [r for v in value for r in references(v)]
        return []

    for reference in references(found):
        place: object = found
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            assert part in place, reference
            place = place[part]
