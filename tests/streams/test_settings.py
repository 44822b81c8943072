"""Settings: the file, the environment, and what is said about mistakes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from streams import finishing
from streams.settings import SettingsError, load

GOOD = """
data = "var"
archive_after = "30d"
[kafka]
bootstrap = "a.example:9092"
sasl_mechanism = "PLAIN"
[relays.main]
host = "smtp.example"
preset = "improvmx"
username = "me"
[domains."bore.example"]
relay = "main"
timezone = "America/Bogota"
[strategies.cobranza]
type = "batch"
batch_size = 300
"""


def written(directory: Path, text: str) -> Path:
    file = directory / "rampa.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_preset_fills_in_what_is_left_open(tmp_path: Path) -> None:
    relay = load(written(tmp_path, GOOD), {}).relays["main"]
    assert (relay.connections, relay.rate) == (3, 5.0)
    own = load(written(tmp_path, GOOD.replace('"improvmx"', '"improvmx"\nrate = "2/s"')), {}).relays["main"]
    assert (own.connections, own.rate) == (3, 2.0)


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    environ = {"RAMPA_KAFKA__BOOTSTRAP": "b.example:9092", "RAMPA_RELAYS__MAIN__PASSWORD": "12345", "PATH": "/bin"}
    settings = load(written(tmp_path, GOOD), environ)
    assert settings.kafka.bootstrap == "b.example:9092"
    assert settings.relays["main"].password is not None
    assert settings.relays["main"].password.get_secret_value() == "12345"


@pytest.mark.parametrize("secret", ["true", '{"a": 1}', "[1, 2]", "[", '"quoted"', "null"])
def test_a_secret_that_looks_like_json_stays_as_it_is(tmp_path: Path, secret: str) -> None:
    environ = {
        "RAMPA_RELAYS__MAIN__PASSWORD": secret,
        "RAMPA_KAFKA__SASL_PASSWORD": secret,
        "RAMPA_CLICKHOUSE__DSN": secret,
        "RAMPA_RELAYS__MAIN__HELO": secret,
        "RAMPA_RELAYS__MAIN__CA_FILE": f"{tmp_path}/{secret}",
    }
    settings = load(written(tmp_path, GOOD), environ)
    relay = settings.relays["main"]
    assert relay.password is not None
    assert (relay.password.get_secret_value(), relay.helo, relay.ca_file) == (secret, secret, tmp_path / secret)
    assert settings.kafka.client_options()["sasl.password"] == secret
    assert settings.clickhouse.dsn.get_secret_value() == secret


def test_lists_tables_and_truth_values_come_from_the_environment_as_json(tmp_path: Path) -> None:
    environ = {
        "RAMPA_PLANNER__ROOTS": '["people", "/srv"]',
        "RAMPA_STRATEGIES__COBRANZA__INTERVAL_MINUTES": "[0, 30]",
        "RAMPA_STRATEGIES__COBRANZA__THRESHOLDS": '{"min_opens": 0.5}',
        "RAMPA_DOMAINS__BORE.EXAMPLE__WARM": "true",
        "RAMPA_DOMAINS__BORE.EXAMPLE__DKIM": '{"selector": "r1", "key_file": "k.pem"}',
        "RAMPA_RELAYS__MAIN__CONNECTIONS": "7",
    }
    settings = load(written(tmp_path, GOOD), environ)
    strategy, domain = settings.strategies["cobranza"], settings.domains["bore.example"]
    assert settings.planner.roots == (tmp_path / "people", Path("/srv"))
    assert strategy.interval_minutes == (0, 30)
    assert strategy.thresholds is not None
    assert strategy.thresholds.min_opens == 0.5
    assert domain.warm is True
    assert domain.dkim is not None
    assert domain.dkim.key_file == tmp_path / "k.pem"
    assert settings.relays["main"].connections == 7


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    environ = {"RAMPA_LOG": "DEBUG", "RAMPA_KAFKA_HOME": "/opt/kafka", "RAMPA_CONFIG": str(written(tmp_path, GOOD))}
    environ[finishing.ENV] = "/var/log/sender-1.finishing"
    assert load(None, environ).kafka.bootstrap == "a.example:9092"
    with pytest.raises(SettingsError, match="'logs' is not a setting"):
        load(written(tmp_path, GOOD), {"RAMPA_LOGS": "x"})


def test_secrets_never_print(tmp_path: Path) -> None:
    settings = load(
        written(tmp_path, GOOD),
        {"RAMPA_RELAYS__MAIN__PASSWORD": "hunter2", "RAMPA_TRACKER__KEYS": '["k3y-that-nobody-guesses"]'},
    )
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert "k3y" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_kafka_secrets_do_not_print_either(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD), {"RAMPA_KAFKA__SASL_PASSWORD": "hunter2"})
    assert "hunter2" not in repr(settings) + str(settings)
    assert settings.kafka.client_options()["sasl.password"] == "hunter2"


def test_security_settings_pass_through_to_librdkafka(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD), {}).kafka.client_options() == {"sasl.mechanism": "PLAIN"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("bootstrap =", "bootstrp ="), "did you mean 'bootstrap'?"),
        (("data =", "dta ="), "did you mean 'data'?"),
        (('host = "smtp', 'hst = "smtp'), "did you mean 'host'?"),
        (('"bore.example"]', '"bore"]'), "'bore' has no dot"),
        (('"bore.example"]', '"bore example.com"]'), "'bore example.com' is not a domain name"),
        (('"bore.example"]', '"Bore.Example"]\nrelay = "main"\n[domains."bore.example"]'), "are the same domain"),
        (("timezone", "timezome"), "did you mean 'timezone'?"),
        (("America/Bogota", "America/Bogata"), "is not a time zone"),
        (('relay = "main"', 'relay = "man"'), "did you mean 'main'?"),
        (("[strategies.cobranza]", "[strategies.batch]"), "a name of its own"),
        (('type = "batch"', 'type = "fast"'), "must be ramp_up, batch or conservative"),
        (('"30d"', '"30"'), "30d"),
        (('preset = "improvmx"', 'rate = "quick"'), "14/s"),
        (("[kafka]", "[kafka"), "rampa.toml"),
    ],
)
def test_a_mistake_is_named_with_its_mend(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(SettingsError, match="(?s)" + __import__("re").escape(said)):
        load(written(tmp_path, GOOD.replace(*change)), {})


def test_a_missing_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="rampa init"):
        load(tmp_path / "none.toml", {})


def test_without_any_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.kafka.bootstrap == "embedded"
    assert settings.archive_after == timedelta(days=30)


@pytest.mark.parametrize(
    ("spelling", "name"), [("Bore.Example", "bore.example"), ("BÜCHER.example", "xn--bcher-kva.example")]
)
def test_a_domain_is_known_by_one_spelling_however_it_is_written(tmp_path: Path, spelling: str, name: str) -> None:
    settings = load(written(tmp_path, GOOD.replace("bore.example", spelling)), {})
    assert list(settings.domains) == [name]


def test_relative_paths_belong_to_the_file(tmp_path: Path) -> None:
    text = GOOD + '\n[relays.files]\ntype = "maildir"\npath = "mail"\n[planner]\nroots = ["people", "/srv"]\n'
    settings = load(written(tmp_path, text), {})
    assert settings.data == tmp_path / "var"
    assert settings.relays["files"].path == tmp_path / "mail"
    assert settings.planner.roots == (tmp_path / "people", Path("/srv"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RAMPA_KAFKA__NOPE", "abc", "'nope' is not a setting of [kafka]"),
        ("RAMPA_KAFKA__PARTITIONS", "many", "kafka.partitions: "),
        ("RAMPA_NOPE__X", "1", "'nope' is not a setting"),
        ("RAMPA_RELAYS__MAIN__PROT", "1", "'prot' is not a setting of [relays.main]"),
        ("RAMPA_RELAYS__OTHER__PORT", "25", "relays.other"),
        ("RAMPA_DOMAINS__BORE.EXAMPLE__RELAY", "mian", "mian"),
    ],
)
def test_a_mistake_in_the_environment_is_not_blamed_on_the_file(
    tmp_path: Path, name: str, value: str, says: str
) -> None:
    file = written(tmp_path, GOOD)
    with pytest.raises(SettingsError) as caught:
        load(file, {name: value, "RAMPA_KAFKA__PORT": "9092"})
    where, what = str(caught.value).split("\n", 1)
    assert where == f"{name} in the environment:"
    assert says in what
    assert str(file) not in str(caught.value)


def test_a_mistake_in_the_file_is_not_blamed_on_the_environment(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + "\n[planner]\nrots = []\n")
    with pytest.raises(SettingsError) as caught:
        load(file, {"RAMPA_KAFKA__NOPE": "abc", "RAMPA_RELAYS__MAIN__PORT": "25"})
    lines = str(caught.value).splitlines()
    assert lines[lines.index(f"{file}:") + 1].startswith("  'rots' is not a setting of [planner]")
    assert lines[lines.index("RAMPA_KAFKA__NOPE in the environment:") + 1].startswith("  kafka: ")


@pytest.mark.parametrize(
    "url",
    [
        "t.bore.example",
        "ftp://t.bore.example",
        "https://t.bore.example/a b",
        'https://t/"x',
        "https://t/{{ x }}",
        "https://u@t.example",
    ],
)
def test_a_tracker_is_reached_by_a_plain_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="public_url"):
        load(written(tmp_path, GOOD), {"RAMPA_TRACKER__PUBLIC_URL": url})
    good = load(written(tmp_path, GOOD), {"RAMPA_TRACKER__PUBLIC_URL": "https://t.bore.example:8443/r/"})
    assert good.tracker.public_url == "https://t.bore.example:8443/r/"


@pytest.mark.parametrize("keys", ['[""]', '["long enough, surely", "hunter2"]', '["                        "]'])
def test_a_key_that_could_be_guessed_is_refused_without_showing_it(tmp_path: Path, keys: str) -> None:
    with pytest.raises(SettingsError, match=r"secrets\.token_urlsafe") as refused:
        load(written(tmp_path, GOOD), {"RAMPA_TRACKER__KEYS": keys})
    said = str(refused.value)
    assert ("key 2" if "hunter2" in keys else "key 1") in said
    assert "hunter2" not in said
    assert "surely" not in said
    assert load(written(tmp_path, GOOD), {}).tracker.keys == ()


@pytest.mark.parametrize(
    ("wrong", "words", "never"),
    [
        ('[tracker]\nkeys = "a secret that is long"', 'tracker.keys: write a list, such as ["..."]', "secret that"),
        ('[deferrals]\nafter = ["5"]', "deferrals.after.0: ", "at least 1"),
        ("[deferrals]\nafter = []", "deferrals.after: it is empty: write at least 1", "Tuple"),
        ('[deferrals]\nafter = "5min"', 'deferrals.after: write a list, such as ["..."]', "tuple"),
    ],
)
def test_a_list_that_is_wrong_says_what_to_write_once(tmp_path: Path, wrong: str, words: str, never: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, f"{GOOD}{wrong}\n"), {})
    said = str(refused.value)
    assert words in said
    assert never not in said
    assert len(said.splitlines()) == 2, said


def test_credentials_come_in_pairs_where_mail_is_sent(tmp_path: Path) -> None:
    bare = GOOD.replace('username = "me"\n', "")
    assert load(written(tmp_path, GOOD), {}).relays["main"].lacks == "it has a username and no password"
    assert load(written(tmp_path, GOOD), {"RAMPA_RELAYS__MAIN__PASSWORD": ""}).relays["main"].lacks is not None
    assert load(written(tmp_path, GOOD), {"RAMPA_RELAYS__MAIN__PASSWORD": "x"}).relays["main"].lacks is None
    assert load(written(tmp_path, bare), {}).relays["main"].lacks is None
    with pytest.raises(SettingsError, match="a password needs a username"):
        load(written(tmp_path, bare), {"RAMPA_RELAYS__MAIN__PASSWORD": "x"})
