"""docker-compose.yml, checked by a parser: no container engine is asked."""

from __future__ import annotations

from pathlib import Path

import yaml

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
