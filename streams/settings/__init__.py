"""Settings: one frozen object, from `rampa.toml` and then the environment.

Built once in `main`; functions get only their part. Secrets are `SecretStr`, which prints as stars.
A key that is not known is an error that suggests the right one. Environment variables are
`RAMPA_` and the path with two underscores between its parts: `RAMPA_KAFKA__BOOTSTRAP`,
`RAMPA_RELAYS__MAIN__PASSWORD`.
"""

from __future__ import annotations

from streams.settings.base import Section, SettingsError
from streams.settings.kafka import KafkaSettings
from streams.settings.loading import DEFAULT_FILE, ENV_PREFIX, NO_SETTINGS, load, problems
from streams.settings.model import (
    ClickhouseSettings,
    ClockSettings,
    ConsoleSettings,
    DeferralSettings,
    PlannerSettings,
    RolesSettings,
    Settings,
    TrackerSettings,
    WarmupSettings,
)
from streams.settings.relays import PRESETS, DkimSettings, DomainSettings, RelaySettings

__all__ = [
    "DEFAULT_FILE", "ENV_PREFIX", "NO_SETTINGS", "PRESETS", "ClickhouseSettings", "ClockSettings", "ConsoleSettings",
    "DeferralSettings", "DkimSettings", "DomainSettings", "KafkaSettings", "PlannerSettings", "RelaySettings",
    "RolesSettings", "Section", "Settings", "SettingsError", "TrackerSettings", "WarmupSettings", "load", "problems",
]  # fmt: skip
