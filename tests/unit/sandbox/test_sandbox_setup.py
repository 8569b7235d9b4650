"""Scenarios, wrong uses of the command, and what the rules may import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_provider_whitebit.sandbox import Exchange, cli
from airflow_provider_whitebit.sandbox.plans import DEFAULT, ScenarioError
from airflow_provider_whitebit.sandbox.scenario import load_scenario, read_scenario

PLAN = {"id": "p", "ticker": "USDT", "minimum": "1", "maximum": "10", "rate": "0.1"}
FIXED = {"id": "f", "ticker": "USDT", "percent": "1", "duration": "60", "minimum": "1", "maximum": "9"}


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
        ({"plan": []}, "plan: unknown field"),
        ({"plans": [{"id": "p"}]}, "plans.0.ticker: Field required"),
        ({"plans": [PLAN | {"rate": "high"}]}, "plans.0.rate: Input should be a valid decimal, not 'high'"),
        ({"plans": [PLAN | {"rate": 0.1}]}, "plans.0.rate: write amounts as strings, not 0.1"),
        (
            {"plans": [PLAN | {"status": "gone"}]},
            "plans.0.status: Input should be 'open', 'paused' or 'unavailable', not 'gone'",
        ),
        ({"plans": [PLAN | {"ticker": "DOGE"}]}, "plan p: ticker 'DOGE' is not among the assets"),
        ({"plans": [PLAN | {"users": "partner"}]}, "plans.0.users: Input should be a valid tuple, not 'partner'"),
        ({"plans": 5}, "plans: Input should be a valid tuple, not 5"),
        ({"plans": [PLAN | {"fee": "1"}]}, "plans.0.fee: unknown field"),
        (
            {"keys": [{"api_key": "k", "secret": "\ud800", "user": "u"}]},
            "keys.0.secret: Input should be a valid string",
        ),
        ({"fixed_plans": [FIXED | {"status": 5}]}, "fixed_plans.0.status: Input should be less than or equal to 4"),
        ({"fixed_plans": [FIXED | {"duration": 0}]}, "fixed_plans.0.duration: Input should be greater than"),
        ({"fixed_plans": [FIXED | {"interest_ratio": "0"}]}, "fixed_plans.0.interest_ratio: Input should be greater"),
        ({"fixed_plans": [FIXED | {"interest_ticker": "A"}]}, "fixed plan f: ticker 'A' is not among the assets"),
        ({"keys": []}, "keys: Tuple should have at least 1 item"),
        (
            {"keys": [{"api_key": "k", "secret": "s", "user": "u", "enabled": "perhaps"}]},
            "keys.0.enabled: Input should be a valid boolean",
        ),
        ({"balances": {"u": {"USDT": "-1"}}}, "balances.u.USDT: Input should be greater than or equal to 0, not '-1'"),
        ({"balances": {"u": {"DOGE": "1"}}}, "balances.u: ticker 'DOGE' is not among the assets"),
        ({"assets": {"A": {"name": "A"}}}, "assets.A.precision: Field required"),
        ({"plans": [PLAN | {"id": ""}]}, "plans.0.id: String should have at least 1 character"),
        ({"plans": [PLAN | {"minimum": "11"}]}, "plans.0: minimum 11 is above maximum 10"),
        ({"fixed_plans": [FIXED | {"maximum": "0.5"}]}, "fixed_plans.0: minimum 1 is above maximum 0.5"),
        ({"plans": [PLAN, PLAN | {"rate": "0.2"}]}, "plans: several have the id 'p'"),
        ({"fixed_plans": [FIXED, FIXED]}, "fixed_plans: several have the id 'f'"),
        ({"keys": [{"api_key": "k", "secret": secret} for secret in "ab"]}, "keys: several have the api_key 'k'"),
        ({"sub_accounts": [{"id": "s", "alias": "a"}] * 2}, "sub_accounts: several have the id 's'"),
        ({"sub_accounts": [{"id": "s", "alias": "a", "user": "u"}]}, "sub-account s: no key has the user 'u'"),
        ({"balances": {"sandbx": {"USDT": "1"}}}, "balances.sandbx: no key has this user, and no sub-account"),
    ],
)
def test_wrong_scenarios_name_the_field(raw, message):
    with pytest.raises(ScenarioError, match=message):
        read_scenario(raw)


def test_defaults_of_other_assets_are_left_out():
    scenario = read_scenario({"assets": {"BTC": {"name": "Bitcoin", "precision": 8}}})
    assert {plan.ticker for plan in scenario.plans} == set(scenario.balances["sandbox"]) == {"BTC"}
    # Their interest is paid in USDT.
    assert (scenario.fixed_plans, scenario.markets) == ((), {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", "{", "is not valid JSON"),
        ("s.json", "[" * 100_000, "is not valid JSON"),
        ("s.yaml", "[" * 10_000, "is not valid YAML"),
        ("s.yaml", "plans: &a [*a]", "is not valid YAML"),
        ("s.json", '{"balances": {"sandbox": {}, "sandbox": {}}}', "'sandbox' is there twice"),
        ("s.yaml", "balances:\n  sandbox: {}\n  sandbox: {}", "'sandbox' is there twice"),
        ("s.json", "[]", "a scenario is an object"),
        ("s.json", '{"plan": []}', "plan: unknown field"),
        ("s.yaml", "a: [", "is not valid YAML"),
        ("s.yaml", "plan: []", "plan: unknown field"),
        (
            "s.yaml",
            "keys: [{api_key: k, secret: s, user: u, enabled: perhaps}]",
            "keys.0.enabled: Input should be a valid boolean",
        ),
    ],
)
def test_the_command_refuses_a_wrong_scenario_in_one_line(tmp_path, capsys, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    assert cli.main(["serve", "--port", "0", "--scenario", str(path)]) == 1
    written = capsys.readouterr().err
    assert message in written
    assert written.count("\n") == 1


def test_unusable_files_are_reported(tmp_path, capsys):
    (tmp_path / "text").write_text("This is not a database. " * 50)
    assert cli.main(["serve", "--port", "0", "--scenario", str(tmp_path / "missing.json")]) == 1
    assert cli.main(["serve", "--port", "0", "--db", str(tmp_path / "text")]) == 1
    assert cli.main(["serve", "--port", "0", "--db", str(tmp_path / "no" / "such" / "folder")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "cannot keep the ledger in" in lines[1]


def test_yaml_keeps_amounts_exact(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "s.yaml"
    path.write_text(
        "plans:\n  - {id: p, ticker: USDT, minimum: 0.1, maximum: 1000000.000001, rate: 0.15}\n"
        "keys:\n  - {api_key: k, secret: s, user: u, enabled: false}\n"
    )
    scenario = read_scenario(load_scenario(path))
    assert str(scenario.plans[0].maximum) == "1000000.000001"
    assert scenario.keys[0].enabled is False


def test_a_missing_package_is_named():
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


def test_the_rules_do_not_import_client_web_or_airflow():
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


def test_a_scenario_must_have_the_assets_of_the_ledger(tmp_path):
    Exchange(db=tmp_path / "ledger.db").close()
    scenario = {"assets": {"USDT": {"name": "Tether", "precision": 6}}, "plans": [PLAN], "balances": {}}
    with pytest.raises(ScenarioError, match="holds BTC, which is not among them"):
        Exchange(db=tmp_path / "ledger.db", scenario=scenario)


def test_a_scenario_must_have_the_plans_that_hold_money(tmp_path, bench_class):
    bench = bench_class(db=tmp_path / "ledger.db")
    bench.invest(DEFAULT.plans[0].id, "10")
    bench.exchange.close()
    for _ in range(2):
        with pytest.raises(ScenarioError, match=f"holds money in plan {DEFAULT.plans[0].id}"):
            Exchange(db=tmp_path / "ledger.db", scenario={"plans": [PLAN]})
    Exchange(db=tmp_path / "ledger.db").close()
