"""`rampa doctor`, as far as it needs no broker."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from console.doctor import examine

RELAY = '[relays.main]\nhost = "h"\n'


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ('[kafka]\nbootstrap = "h:9092"\n', True),
        ('[kafka]\nbootstrap = "h:9092"\n[planner]\nroots = ["people"]\n', False),
        ('[kafka]\nbootstrap = "embedded"\n', False),
    ],
)
def test_it_warns_when_any_file_can_be_mailed(tmp_path: Path, settings: str, warned: bool) -> None:
    file = tmp_path / "rampa.toml"
    file.write_text(f'data = "{tmp_path}"\n{settings}{RELAY}')
    before = []
    for check in examine(file):
        if check.name == "kafka":
            break
        before.append((check.name, check.state))
        if check.name == "roots":
            break  # the next would wait for a broker
    assert (("roots", "warning") in before) == warned


def test_one_relay_is_counted_as_one(tmp_path: Path) -> None:
    file = tmp_path / "rampa.toml"
    file.write_text(f'data = "{tmp_path}"\n{RELAY}[domains."b.example"]\nrelay = "main"\n')
    (said,) = (check.detail for check in itertools.islice(examine(file), 2) if check.name == "settings")
    assert said == "1 relay, 1 sending domain"


@pytest.mark.parametrize(
    ("key", "state", "words"),
    [
        (None, "failed", "cannot be read"),
        ("no key", "failed", "no unencrypted private key"),
        ("good", "ok", "r1._domainkey.b.example"),
    ],
)
def test_the_key_of_each_domain_is_tried(tmp_path: Path, key: str | None, state: str, words: str) -> None:
    file = tmp_path / "rampa.toml"
    dkim = 'dkim = {selector = "r1", key_file = "r1.pem"}'
    file.write_text(f'data = "{tmp_path}"\n{RELAY}[domains."b.example"]\nrelay = "main"\n{dkim}\n')
    if key is not None:
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        made = ed25519.Ed25519PrivateKey.generate().private_bytes(*form)
        (tmp_path / "r1.pem").write_bytes(made if key == "good" else key.encode())
    found = next(check for check in examine(file) if check.name == "domain b.example")
    assert found.state == state
    assert words in found.detail
    assert ('[domains."b.example"]' in found.todo) == (state == "failed")
