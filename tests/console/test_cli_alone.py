"""Commands that need no broker, and what is said when something is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from console.cli.main import app
from console.submitting import problems_of
from schemas.topics import all_topics


def rampa(*words: str) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)


def test_help_names_every_command_of_the_contract_that_is_there() -> None:
    text = rampa("--help").stdout
    for name in (
        "demo",
        "init",
        "up",
        "worker",
        "plan",
        "doctor",
        "campaign",
        "domain",
        "template",
        "topics",
        "dlq",
        "alerts",
    ):
        assert f"  {name} " in text


@pytest.mark.parametrize(
    "words",
    [
        ("demo",), ("init",), ("up",), ("worker",), ("plan",), ("doctor",), ("alerts",),
        *[("campaign", c) for c in ("submit", "list", "status", "watch", "pause", "resume", "cancel", "retry")],
        *[("campaign", c) for c in ("explain", "recipients", "strategy", "resolve")],
        *[("domain", c) for c in ("list", "show", "pause", "resume")],
        *[("template", c) for c in ("put", "list", "show", "preview")],
        *[("topics", c) for c in ("create", "list", "describe")],
        *[("dlq", c) for c in ("list", "show", "replay")],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_shows_an_example(words: tuple[str, ...]) -> None:
    result = rampa(*words, "--help")
    assert result.exit_code == 0
    assert "Example: rampa " + words[0] in " ".join(result.stdout.split())


def test_what_init_writes_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert rampa("init").exit_code == 0
    plan = json.loads(rampa("plan", "campaign.json", "--json").stdout)
    assert (plan["recipients"], plan["invalid"], plan["duplicate"], len(plan["batches"])) == (3, 0, 0, 1)
    for_people = rampa("plan", "campaign.json").stdout
    assert "3 recipients, 0 invalid, 0 duplicate: 1 batch on 1 sending day\n" in for_people
    assert "  batch 1: 3 messages\n" in for_people
    again = rampa("init")
    assert again.exit_code == 1
    assert "--force" in again.stderr


def test_4200_recipients_plan_as_the_tables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rampa("init")
    (tmp_path / "clients.csv").write_text(
        "email,first_name,amount\n" + "".join(f"a{i}@b.example,A,1\n" for i in range(4200))
    )
    request = json.loads((tmp_path / "campaign.json").read_text())
    tomorrow = datetime.now(ZoneInfo("America/Bogota")).date() + timedelta(days=1)
    request["schedule"] = {"start_at": f"{tomorrow}T08:00:00-05:00"}  # four hours from now may be another day
    for strategy, batches, days in (("ramp_up", 46, 23), ("batch", 9, 1), ("conservative", 173, 87)):
        (tmp_path / "c.json").write_text(json.dumps({**request, "strategy": {"type": strategy}}))
        plan = json.loads(rampa("plan", "c.json", "--json").stdout)
        assert (plan["recipients"], len(plan["batches"]), plan["sending_days"]) == (4200, batches, days)
        assert sum(b["size"] for b in plan["batches"]) == 4200


def test_problems_of_a_request_are_named_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rampa("init")
    bad = {"from": {"email": "x"}, "template": {"subject": "s"}, "recipients": {}, "sender": 1}
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    result = rampa("plan", "bad.json")
    assert result.exit_code == 1
    for field in ("from.email", "template", "recipients", "sender"):
        assert field in result.stderr


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ("[1]", "(the whole)")])
def test_a_file_that_is_no_request_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    result = rampa("plan", str(file))
    assert result.exit_code == 1
    assert said in result.stderr


def test_without_a_broker_the_command_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rampa("init")
    result = rampa("campaign", "list")
    assert result.exit_code == 1
    assert "rampa up" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_usage_ends_with_2() -> None:
    assert rampa("campaign", "status").exit_code == 2
    assert rampa("campaign", "resolve", "x").exit_code == 2
    assert rampa("nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("worker foo", "'foo' is not a role of this release; known: planner, gate, sender"),
        ("dlq replay", "Name the letters"),
        ("dlq replay blah", "'blah' is not TOPIC/PARTITION/OFFSET"),
        ("dlq show blah", "'blah' is not TOPIC/PARTITION/OFFSET"),
        ("dlq show campaign.requests/x/1", "is not TOPIC/PARTITION/OFFSET"),
        ("campaign recipients c --state banana", "'banana' is not a state of a recipient; known: waiting"),
        ("campaign list -c /nonexistent.toml", "/nonexistent.toml: no such file"),
        ("doctor --config /nonexistent.toml", "/nonexistent.toml: no such file"),
        ("template preview t ana", "'ana' is not NAME=VALUE"),
    ],
)
def test_wrong_usage_is_told_apart_from_what_is_wrong_with_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = rampa(*words.split())
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_topics_are_described_for_programs() -> None:
    assert {t["name"] for t in json.loads(rampa("topics", "list", "--json").stdout)} == {t.name for t in all_topics()}
    assert json.loads(rampa("topics", "describe").stdout)["asyncapi"] == "3.0.0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recipents": {}}, "recipents: there is no such field; did you mean `recipients`?"),
        ({"max_retries": "many"}, "max_retries: Input should be a valid integer"),
        ({"from": {"email": "a@b.example\r\nBcc: c@d.example"}}, "from.email: write one plain address"),
        ({"campaign_id": "two words"}, "campaign_id: an id has 1 to 100 letters"),
        ({"template": {"subject": "s", "html": "{{ x|_value }}"}}, "template.html: line 1: there is no filter"),
        ({"template": {"subject": "s", "html": "<b title='{% if x %}'>{% endif %}"}}, "template.text: no text part"),
        ({"template": {"subject": "{% for i in range(9999) %}{% for j in range(9999) %}.{% endfor %}{% endfor %}",
                       "text": "t"}}, "template.subject: cannot be filled in: the template's loops"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_named_by_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rampa("init").exit_code == 0
    file = tmp_path / "campaign.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **change}))
    planned = rampa("plan", "campaign.json")
    assert planned.exit_code == 1
    assert says in planned.stderr


@pytest.mark.parametrize(("words", "looks"), [(("plan",), True), (("campaign", "submit"), False)])
def test_a_typing_error_hides_nothing_else_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], looks: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rampa("init").exit_code == 0
    file = tmp_path / "campaign.json"
    wrong = {"max_retires": 3, "relay": "mian", "recipients": {"uri": "cliens.csv"}}
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **wrong}))
    said = rampa(*words, "campaign.json")
    assert said.exit_code == 1
    assert "max_retires: there is no such field; did you mean `max_retries`?" in said.stderr
    assert "relay: 'mian' is not a relay of the settings" in said.stderr
    assert ("recipients.uri" in said.stderr) is looks  # of files, the planner's machine knows


def test_settings_without_domains_are_no_planners_and_find_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "rampa.toml").write_text('data = "var"\n')
    file = tmp_path / "c.json"
    file.write_text(
        '{"from": {"email": "a@b.example"}, "template": {"id": "x"}, "recipients": {"inline": []}, "tgas": 1}'
    )
    said = rampa("plan", str(file), "--config", str(tmp_path / "rampa.toml"))
    assert "tgas" in said.stderr
    assert "from.email" not in said.stderr


def test_a_request_in_another_encoding_is_named_with_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "latin.json"
    file.write_bytes('{"name": "José"}'.encode("latin-1"))
    assert "not UTF-8 (byte 0xE9 at position 14); save it as UTF-8" in rampa("plan", str(file)).stderr


def test_an_address_that_would_steer_a_terminal_is_shown_without_what_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rampa("init").exit_code == 0
    (tmp_path / "clients.csv").write_text('email,first_name,amount\n"a@b.example\r\n\x1b[2J",Ana,1\n')
    shown = rampa("plan", "campaign.json").stdout
    assert "\x1b" not in shown
    assert "row 1 is invalid: a@b.example   [2J (the address contains a line break" in shown


def test_the_problems_of_a_dead_letter_are_parted_where_a_field_begins() -> None:
    error = "recipients.uri: x.csv is not UTF-8; save it as UTF-8; from.email: write one; template: none"
    assert problems_of({"error": error}) == [
        "recipients.uri: x.csv is not UTF-8; save it as UTF-8", "from.email: write one", "template: none",
    ]  # fmt: skip
    assert problems_of({"error": "the record is empty; write one"}) == ["the record is empty; write one"]
    assert problems_of({}) == []


def test_the_known_names_that_a_problem_ends_with_are_no_problem_of_their_own() -> None:
    strategy = "strategy.type: 'nosuch' is not a strategy; known: auto, ramp_up, batch, conservative"
    assert problems_of({"error": f"{strategy}; relay: 'x' is not a relay; known: main"}) == [
        strategy, "relay: 'x' is not a relay; known: main",
    ]  # fmt: skip


def test_the_problems_of_a_dead_letter_are_those_that_it_lists() -> None:
    listed = json.dumps([{"field": "a.b", "problem": "wrong; x: y"}, {"field": "", "problem": "empty"}])
    assert problems_of({"problems": listed, "error": "a.b: wrong; x: y; empty"}) == ["a.b: wrong; x: y", "empty"]
    for unusable in ("[]", "{", "7", '{"a": 1}', '["a"]'):
        assert problems_of({"problems": unusable, "error": "a: b"}) == ["a: b"]


def test_help_says_what_an_option_takes() -> None:
    plan, resolve = (" ".join(rampa(*w, "--help").stdout.split()) for w in (("plan",), ("campaign", "resolve")))
    assert "- reads JSON on standard input" in plan.replace("│ │ ", "")
    assert "takes only --accepted and --drop" in resolve
    assert "While a sender hangs, end it first" in resolve
    assert "capitals do not count" in resolve.replace("│ │ ", "")


def test_a_request_on_standard_input_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rampa("init")
    result = CliRunner().invoke(app, ["plan", "-"], input=(tmp_path / "campaign.json").read_text("utf-8"))
    assert (result.exit_code, "3 recipients" in result.stdout) == (0, True)


@pytest.mark.parametrize("answer", ["", "y\n"])
def test_what_cannot_be_asked_for_want_of_a_terminal_needs_yes(answer: str) -> None:
    result = CliRunner().invoke(app, ["campaign", "cancel", "c"], input=answer, catch_exceptions=False)
    assert result.exit_code == 2
    assert "rampa campaign cancel c --yes" in result.stderr


@pytest.mark.parametrize("words", [("up",), ("worker", "sender"), ("doctor",)], ids=" ".join)
def test_who_sends_needs_the_password_that_goes_with_a_username(words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "rampa.toml"
    relay = '[relays.main]\nhost = "h.example"\nusername = "me"\n'
    file.write_text(f'data = "{tmp_path}/var"\n[kafka]\nbootstrap = "local"\n{relay}')
    command = [sys.executable, "-m", "console.cli.main", *words, "--config", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "a username and no password" in result.stdout + result.stderr
    assert "RAMPA_RELAYS__MAIN__PASSWORD" in result.stdout + result.stderr


def test_a_time_without_an_offset_says_how_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert rampa("init").exit_code == 0
    request = json.loads((tmp_path / "campaign.json").read_text())
    request["schedule"] = {"start_at": "2026-02-02T09:00:00"}
    (tmp_path / "campaign.json").write_text(json.dumps(request))
    result = rampa("plan", "campaign.json")
    assert result.exit_code == 1
    assert "write it with an offset or Z, such as 2026-02-02T09:00:00-05:00" in result.output
