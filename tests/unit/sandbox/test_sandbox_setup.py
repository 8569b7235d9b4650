"""Scenarios, the command's mistakes, and what the package may import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_provider_whitebit.sandbox import Exchange, cli
from airflow_provider_whitebit.sandbox.plans import DEFAULT, ScenarioError, read_scenario

PLAN = {"id": "p", "ticker": "USDT", "minimum": "1", "maximum": "10", "rate": "0.1"}


def test_the_default_catalogue():
    plans = DEFAULT.plans
    assert plans[0].id == "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
    assert len({plan.id for plan in plans}) == len(plans)
    assert len({plan.rate for plan in plans if plan.ticker == "USDT" and plan.status == "open" and not plan.users}) >= 2
    assert "secret" not in repr(DEFAULT.keys[0])


def test_a_scenario_replaces_parts():
    scenario = read_scenario(
        {"plans": [PLAN], "keys": [{"api_key": "k", "secret": "s", "user": "u"}], "balances": {"u": {"USDT": "7.5"}}}
    )
    assert [plan.id for plan in scenario.plans] == ["p"]
    assert scenario.assets == DEFAULT.assets
    exchange = Exchange(scenario={"balances": {"sandbox": {"USDT": 3}}})
    assert exchange.ledger_view()["accounts"]["main:sandbox"] == {"USDT": "3"}
    exchange.close()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "a scenario is an object"),
        ({"plan": []}, "unknown field 'plan'"),
        ({"plans": [{"id": "p"}]}, "a field is missing: 'minimum'"),
        ({"plans": [PLAN | {"rate": "high"}]}, "plan p: rate: 'high' is not an amount"),
        ({"plans": [PLAN | {"rate": 0.1}]}, "plan p: rate: write amounts as strings"),
        ({"plans": [PLAN | {"status": "gone"}]}, "plan p: status is one of open, paused, unavailable"),
        ({"plans": [PLAN | {"ticker": "DOGE"}]}, "plan p: ticker 'DOGE' is not among the assets"),
        ({"plans": [PLAN | {"users": "partner"}]}, "plan p: users is a list of names"),
        ({"plans": 5}, "wrong shape"),
        ({"keys": []}, "keys: at least one is needed"),
        ({"keys": [{"api_key": "k", "secret": "s", "user": "u", "enabled": "perhaps"}]}, "key k: enabled is true or"),
        ({"balances": {"u": {"USDT": "-1"}}}, "balances.u.USDT: '-1' is not an amount"),
        ({"balances": {"u": {"DOGE": "1"}}}, "balances.u: ticker 'DOGE' is not among the assets"),
        ({"assets": {"A": {"name": "A"}}}, "a field is missing: 'precision'"),
    ],
)
def test_wrong_scenarios_name_the_field(raw, message):
    with pytest.raises(ScenarioError, match=message):
        read_scenario(raw)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", "{", "is not JSON"),
        ("s.json", "[]", "does not hold an object"),
        ("s.json", '{"plan": []}', "unknown field 'plan'"),
        ("s.yaml", "a: [", "is not YAML"),
        ("s.yaml", "plan: []", "unknown field 'plan'"),
        ("s.yaml", "keys: [{api_key: k, secret: s, user: u, enabled: perhaps}]", "key k: enabled is true or false"),
    ],
)
def test_the_command_refuses_a_wrong_scenario_in_one_line(tmp_path, capsys, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    assert cli.main(["serve", "--port", "0", "--scenario", str(path)]) == 1
    written = capsys.readouterr().err
    assert message in written
    assert written.count("\n") == 1


def test_the_command_refuses_files_it_cannot_use(tmp_path, capsys):
    (tmp_path / "text").write_text("This is no database, whatever its length may be. " * 50)
    assert cli.main(["serve", "--port", "0", "--scenario", str(tmp_path / "missing.json")]) == 1
    assert cli.main(["serve", "--port", "0", "--db", str(tmp_path / "text")]) == 1
    assert cli.main(["serve", "--port", "0", "--db", str(tmp_path / "no" / "such" / "folder")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "cannot keep the books in" in lines[1]


def test_yaml_keeps_amounts_exact(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "s.yaml"
    path.write_text(
        "plans:\n  - {id: p, ticker: USDT, minimum: 0.1, maximum: 1000000.000001, rate: 0.15}\n"
        "keys:\n  - {api_key: k, secret: s, user: u, enabled: false}\n"
    )
    scenario = read_scenario(cli._scenario(path))
    assert str(scenario.plans[0].maximum) == "1000000.000001"
    assert scenario.keys[0].enabled is False


def test_the_command_says_what_is_not_installed():
    code = (
        "import sys\n"
        "sys.modules['fastapi'] = None\n"
        "from airflow_provider_whitebit.sandbox.cli import main\n"
        "sys.exit(main(['serve', '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    expected = "whitebit-sandbox: fastapi is not installed: pip install 'airflow-provider-whitebit[sandbox]'\n"
    assert done.stderr == expected


def test_the_rules_import_neither_client_nor_web_nor_airflow():
    code = (
        "import json, sys\n"
        "import airflow_provider_whitebit.sandbox, airflow_provider_whitebit.sandbox.cli\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = json.loads(done.stdout)
    forbidden = ("fastapi", "uvicorn", "starlette", "airflow", "pydantic", "requests", "pendulum")
    assert not [name for name in loaded if name.split(".")[0] in forbidden]
    ours = {name for name in loaded if name.startswith("airflow_provider_whitebit.")}
    assert all(name.startswith("airflow_provider_whitebit.sandbox") for name in ours)


def test_a_scenario_must_know_what_the_books_hold(tmp_path):
    Exchange(db=tmp_path / "books.db").close()
    scenario = {"assets": {"USDT": {"name": "Tether", "precision": 6}}, "plans": [PLAN], "balances": {}}
    with pytest.raises(ScenarioError, match="hold BTC, which is not among them"):
        Exchange(db=tmp_path / "books.db", scenario=scenario)
