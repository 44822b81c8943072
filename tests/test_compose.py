"""docker-compose.yml, checked by the schema of the Compose Specification: no container engine is asked."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from jsonschema import Draft201909Validator

from console.worker import ROLES

COMPOSE = yaml.safe_load((Path(__file__).parents[1] / "docker-compose.yml").read_text("utf-8"))


def test_every_role_has_a_service_that_starts_it() -> None:
    services = COMPOSE["services"]
    for role in ROLES:
        assert services[role]["command"] == ["worker", role]
        assert services[role]["environment"]["RAMPA_KAFKA__BOOTSTRAP"] == "kafka:9092"


def test_every_service_that_is_waited_for_exists() -> None:
    services = COMPOSE["services"]
    assert {"kafka", "clickhouse", "topics", *ROLES} == set(services)
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[name]


def test_it_is_what_the_compose_specification_describes() -> None:
    schema = json.loads((Path(__file__).parent / "compose_spec" / "compose-spec.json").read_text("utf-8"))
    validator = Draft201909Validator(schema)
    assert [f"{list(e.path)}: {e.message}" for e in validator.iter_errors(COMPOSE)] == []
    wrong = {**COMPOSE, "services": {**COMPOSE["services"], "gate": {"imagee": "x"}}}
    assert [list(e.path) for e in validator.iter_errors(wrong)] == [["services", "gate"]]


def test_every_volume_with_a_name_is_declared() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source.startswith(("./", "/")) or source in COMPOSE["volumes"]
