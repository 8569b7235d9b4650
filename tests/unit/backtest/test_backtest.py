"""Policies on virtual time: figures that can be checked by hand, and no money lost."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from decimal import Decimal

import pytest
import yaml

from airflow_provider_whitebit import command
from airflow_provider_whitebit.backtest import cli
from airflow_provider_whitebit.backtest.forecasts import ForecastErrors, forecast_errors, invest_once
from airflow_provider_whitebit.backtest.run import PLANNERS, backtest, side_by_side
from airflow_provider_whitebit.backtest.scenario import default_scenario, read_backtest_scenario
from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.treasury.policy import read_policy

LOW, HIGH = "00000001-0000-4000-8000-000000000000", "00000002-0000-4000-8000-000000000000"


def scenario(**more):
    return {
        "assets": {"USDT": {"name": "Tether", "precision": 6}},
        "plans": [{"id": LOW, "ticker": "USDT", "minimum": "10", "maximum": "100000", "rate": "0.0365"}],
        "balances": {"USDT": "10000"},
        **more,
    }


def run(policy, raw, **options):
    report = backtest(read_policy({"USDT": policy}), read_backtest_scenario(raw), **{"days": 30, **options})
    return report.tickers["USDT"], report


def test_interest_by_hand():
    found, report = run({"reserve": "5000"}, scenario())
    # 5000 at 3.65 % is 0.5 a day; the first and the last day are not credited whole.
    assert Decimal("14.4") < found.earned < Decimal("15.1")
    assert found.main + found.invested == 10000 + found.earned
    assert found.moves["flex_invest"] >= 1
    assert (found.refused, found.shortfalls) == (0, 0)
    assert Decimal("0.49") < found.idle_share < Decimal("0.51")
    # Half of it earns 3.65 %.
    assert Decimal("0.0175") < found.realised_rate < Decimal("0.0184")
    assert len(report.daily["USDT"]) == 30
    assert report.plans < report.runs / 5


@pytest.mark.parametrize("every", [7 * 3600, 2 * 86_400, 9 * 86_400])
def test_each_day_counts_however_often_the_policy_runs(every):
    hourly, _ = run({}, scenario())
    found, report = run({}, scenario(), every=every)
    assert (len(report.daily["USDT"]), len(report.earned["USDT"])) == (30, 30)
    assert report.runs == 30 * 86_400 // every + 1
    assert report.daily["USDT"][-1] == (found.main, found.invested)
    # Earnings that wait in Main for the next run are all that is missing.
    assert abs(found.earned - hourly.earned) < Decimal("0.02")
    assert abs(found.realised_rate - hourly.realised_rate) < Decimal("0.0001")


def test_noise_has_the_decimals_of_its_limits():
    rule = {"ticker": "USDT", "chance": "1", "deposit": ["0.0015", "0.003"], "withdraw": ["10", "10.004"]}
    events = read_backtest_scenario(scenario(noise=[rule])).timeline(30)
    drawn = {
        name: [Decimal(one.values["USDT"]) for one in events if one.action == name] for name in ("deposit", "withdraw")
    }
    for name, (least, most) in (("deposit", ("0.0015", "0.003")), ("withdraw", ("10", "10.004"))):
        assert len(set(drawn[name])) > 3
        assert all(Decimal(least) <= amount <= Decimal(most) for amount in drawn[name])


def test_a_reserve_avoids_a_shortfall():
    wants = scenario(events=[{"at": "10d", "withdraw": {"USDT": "3000"}}])
    without, _ = run({}, wants)
    assert (without.shortfalls, without.withdrawn + without.missing) == (1, 3000)
    assert without.worst == without.missing > 2990
    kept, _ = run({"reserve": "3000"}, wants)
    assert (kept.shortfalls, kept.withdrawn) == (0, 3000)
    assert kept.earned < without.earned


def test_announced_liquidity_is_available():
    wants = scenario(events=[{"at": "10d", "withdraw": {"USDT": "3000"}}])
    announced, _ = run({"liquidity": [{"amount": "3000", "by": "2026-01-11T00:00:00Z"}], "notice": "2h"}, wants)
    assert (announced.shortfalls, announced.withdrawn) == (0, 3000)
    assert announced.moves["flex_withdraw"] == 1


def test_rates_are_followed():
    two = scenario()
    two["plans"] = [*two["plans"], {**two["plans"][0], "id": HIGH, "rate": "0.01"}]
    two["events"] = [{"at": "5d", "rate": {HIGH: "0.2"}}]
    follows, _ = run({"plans": {"follow_rate": True}}, two)
    stays, _ = run({}, two)
    assert follows.earned > 2 * stays.earned


def test_a_plan_is_left_and_entered_by_its_rate():
    falls = scenario(events=[{"at": "10d", "rate": {LOW: "0.03"}}, {"at": "20d", "rate": {LOW: "0.02"}}])
    wish = {"min_rate": "0.035", "leave_below": "0.025"}
    left, _ = run({"plans": wish}, falls)
    assert left.moves == {"flex_invest": 1, "flex_close": 1}
    assert (left.invested, left.main) == (0, 10000 + left.earned)
    stays, _ = run({"plans": {"min_rate": "0.035"}}, falls)
    # Between the two it stays, without what is earned.
    assert (stays.moves, stays.invested) == ({"flex_invest": 1}, 10000)
    falls["events"].append({"at": "25d", "rate": {LOW: "0.035"}})
    back, _ = run({"plans": wish}, falls)
    assert back.moves == {"flex_invest": 2, "flex_close": 1}
    never, _ = run({"plans": {"min_rate": "0.04"}}, falls)
    assert (never.earned, sum(never.moves.values())) == (0, 0)


def test_a_plan_that_is_paused_is_left_alone():
    paused = scenario(events=[{"at": "0d", "status": {LOW: "paused"}}])
    found, _ = run({}, paused)
    assert (found.earned, sum(found.moves.values())) == (0, 0)


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_nothing_is_lost_and_skipping_changes_nothing(planner):
    busy = scenario(
        events=[{"every": "3d", "deposit": {"USDT": "700"}}, {"every": "5d", "withdraw": {"USDT": "2000"}}],
        noise=[{"ticker": "USDT", "chance": "0.7", "deposit": ["1", "50"], "withdraw": ["1", "60"]}],
        seed=3,
    )
    policy = {"reserve": "1500", "min_move": "20"}
    found, quick = run(policy, busy, planner=PLANNERS[planner])
    assert 10000 + found.deposited + found.earned - found.withdrawn == found.main + found.invested
    _, slow = run(policy, busy, planner=PLANNERS[planner], skip_unchanged=False)
    assert (quick.plans < slow.plans, slow.plans) == (True, slow.runs)
    assert quick.tickers["USDT"].moves == slow.tickers["USDT"].moves
    assert quick.daily == slow.daily
    again, _ = run(policy, busy, planner=PLANNERS[planner])
    assert again.to_json() == found.to_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"event": []}, "no field 'event'. Did you mean events"),
        ({"start": "2026-01-01"}, "start"),
        ({"start": "soon"}, "start"),
        ({"balances": {"USDT": 1.5}}, "balances.USDT: is the float 1.5"),
        ({"events": [{"deposit": {"USDT": "1"}}]}, r"events\[0\]: must say when"),
        ({"events": [{"at": "1d", "every": "2d", "deposit": {"USDT": "1"}}]}, r"events\[0\]: must say when"),
        ({"events": [{"at": "tomorrow", "deposit": {"USDT": "1"}}]}, r"events\[0\].at: is 'tomorrow'"),
        ({"events": [{"every": "0d", "deposit": {"USDT": "1"}}]}, r"events\[0\].every"),
        ({"events": [{"at": "1d"}]}, "exactly one of deposit"),
        ({"events": [{"at": "1d", "deposit": {"BTC": "1"}}]}, r"events\[0\].deposit.BTC: is not one"),
        ({"events": [{"at": "1d", "rate": {LOW: "high"}}]}, r"events\[0\].rate"),
        ({"events": [{"at": "1d", "status": {LOW: "shut"}}]}, "write one of open, paused, unavailable"),
        ({"noise": [{"ticker": "BTC", "chance": "1"}]}, r"noise\[0\].ticker"),
        ({"noise": [{"ticker": "USDT", "chance": "2"}]}, r"noise\[0\].chance"),
        ({"noise": [{"ticker": "USDT", "chance": "1", "deposit": ["9", "1"]}]}, r"noise\[0\].deposit"),
        ({"seed": "x"}, "seed"),
        ({"events": {}}, "events: is {}: write a list"),
    ],
)
def test_a_wrong_scenario_is_refused_with_its_place(change, words):
    with pytest.raises(WhiteBitValidationError, match=words):
        read_backtest_scenario(scenario(**change))


def test_the_default_scenario_has_twenty_assets():
    assert len(read_backtest_scenario(default_scenario()).tickers) == 20


def test_the_command(tmp_path, capsys):
    (tmp_path / "careful.yaml").write_text("USDT: {reserve: '9000'}")
    (tmp_path / "bold.json").write_text(json.dumps({"USDT": {}}))
    (tmp_path / "year.json").write_text(json.dumps(scenario()))
    files = [str(tmp_path / name) for name in ("careful.yaml", "bold.json")]
    arguments = ["backtest", *files, "--days", "3", "--scenario", str(tmp_path / "year.json")]
    level = logging.getLogger("airflow_provider_whitebit").level
    assert command.main(arguments) == 0
    assert logging.getLogger("airflow_provider_whitebit").level == level
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 days, 73 runs, 1 assets")
    assert [line.split()[:2] for line in lines[2:]] == [["asset", "policy"], ["USDT", "careful"], ["USDT", "bold"]]
    assert command.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert Decimal(document["bold"]["tickers"]["USDT"]["earned"]) > Decimal(
        document["careful"]["tickers"]["USDT"]["earned"]
    )


def test_the_command_prints_errors(tmp_path, capsys):
    (tmp_path / "wrong.yaml").write_text("USDT: {reserv: '1'}")
    assert command.main(["backtest", str(tmp_path / "wrong.yaml")]) == 1
    assert "Did you mean reserve" in capsys.readouterr().err
    assert command.main(["backtest", str(tmp_path / "missing.yaml")]) == 1
    (tmp_path / "unknown.yaml").write_text("NOPE: {}")
    assert command.main(["backtest", str(tmp_path / "unknown.yaml"), "--days", "1"]) == 1
    assert "no such asset" in capsys.readouterr().err
    for wrong in (["--days", "0"], ["--every", "1y"]):
        with pytest.raises(SystemExit):
            cli.main(["x.yaml", *wrong])


def test_a_page_that_cannot_be_written_loses_no_figures(tmp_path, capsys):
    (tmp_path / "bold.json").write_text(json.dumps({"USDT": {}}))
    arguments = ["backtest", str(tmp_path / "bold.json"), "--html", str(tmp_path / "missing" / "page.html")]
    assert command.main([*arguments, "--days", "1"]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].split()[:2] == ["USDT", "bold"]
    assert "page.html" in printed.err
    assert command.main([*arguments, "--forecast", "1"]) == 1
    assert "--html shows no forecasts" in capsys.readouterr().err


def test_files_are_utf_8_whatever_the_locale(tmp_path):
    """Also with the byte order mark that Windows writes."""
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "policy.yaml").write_bytes("\ufeff# r\u00e9serve\nUSDT: {reserve: '9000'}".encode())
    (tmp_path / "year.json").write_bytes("\ufeff".encode() + json.dumps(scenario()).encode())
    (tmp_path / "year.yaml").write_bytes("\ufeff# ann\u00e9e\n".encode() + json.dumps(scenario(), indent=1).encode())
    script = "import sys; from airflow_provider_whitebit.backtest.cli import main; sys.exit(main())"
    for year in ("year.json", "year.yaml"):
        arguments = [tmp_path / "policy.yaml", "--days", "1", "--scenario", tmp_path / year]
        ended = subprocess.run([sys.executable, "-c", script, *arguments], env=ascii_only, capture_output=True)
        assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("written", "says"),
    [("010000", "USDT: is 010000 without quotes"), ("1:30", "USDT: is '1:30'"), ("1, USDT: 2", "'USDT' appears twice")],
)
def test_scenarios_in_yaml_are_read_as_policies_are(tmp_path, capsys, written, says):
    """PyYAML reads 010000 as 4096, 1:30 as 90, and takes the last of two equal names."""
    (tmp_path / "policy.json").write_text('{"USDT": {}}')
    text = yaml.safe_dump({name: value for name, value in scenario().items() if name != "balances"})
    (tmp_path / "year.yaml").write_text(f"{text}balances: {{USDT: {written}}}\n")
    assert cli.main([str(tmp_path / "policy.json"), "--scenario", str(tmp_path / "year.yaml"), "--days", "1"]) == 1
    assert says in capsys.readouterr().err


def test_two_policies_side_by_side():
    one = backtest(read_policy({"USDT": {}}), read_backtest_scenario(scenario()), days=2)
    rows = list(side_by_side({"a": one, "b": one}))
    assert [row[:2] for row in rows[1:]] == [["USDT", "a"], ["USDT", "b"]]


def test_the_page_is_self_contained(tmp_path, capsys):
    (tmp_path / "a<b.yaml").write_text("USDT: {reserve: '9000'}")
    (tmp_path / "year.json").write_text(json.dumps(scenario()))
    page = tmp_path / "page.html"
    arguments = [str(tmp_path / "a<b.yaml"), "--days", "3", "--scenario", str(tmp_path / "year.json")]
    assert cli.main([*arguments, "--html", str(page)]) == 0
    text = page.read_text()
    assert "a&lt;b" in text
    assert "<td>a<b" not in text
    assert "src=" not in text
    assert "href=" not in text
    charts = json.loads(text.split('id="charts">')[1].split("</script>")[0])
    assert {name: len(lines["a<b"]) for name, lines in charts["USDT"].items()} == {
        "invested": 3,
        "idle": 3,
        "earned": 3,
    }
    assert str(page) in capsys.readouterr().out


def errors_of(raw, **options):
    policy, times = read_policy({"USDT": {"reserve": "5000"}}), {"days": 20, "total": 40, "rate_days": 7}
    return forecast_errors(policy, read_backtest_scenario(raw), **times, **options)["USDT"]


def test_a_forecast_is_right_if_nothing_changes():
    found = errors_of(scenario(), planner=invest_once())
    assert (found.forecasts, found.mean, found.largest) == (2, 0, 0)


def test_a_forecast_knows_no_future_rates_and_moves():
    doubled = scenario(events=[{"at": "21d", "rate": {LOW: "0.073"}}])
    found = errors_of(doubled, planner=invest_once())
    # Of the first forecast's twenty days, the last seven or so are at the new rate.
    assert found.bias == -found.mean
    assert Decimal("-0.5") < found.bias < Decimal("-0.2")
    assert errors_of(scenario(events=[{"at": "22d", "withdraw": {"USDT": "9000"}}])).bias > Decimal("0.1")


def test_errors_are_summed_up_with_and_without_their_signs():
    found = ForecastErrors.of([Decimal("0.1"), Decimal("-0.3")])
    assert (found.bias, found.mean, found.largest) == (Decimal("-0.1"), Decimal("0.2"), Decimal("0.3"))


def test_the_command_prints_how_far_forecasts_are_off(tmp_path, capsys):
    (tmp_path / "careful.yaml").write_text("USDT: {reserve: '9000'}")
    (tmp_path / "year.json").write_text(json.dumps(scenario()))
    arguments = [str(tmp_path / "careful.yaml"), "--scenario", str(tmp_path / "year.json"), "--forecast", "5"]
    assert cli.main([*arguments, "--days", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Forecasts of 5 days")
    assert [line.split()[:2] for line in lines[2:]] == [
        ["asset", "policy"],
        ["USDT", "careful"],
        ["USDT", "careful,"],
    ]
    assert cli.main([*arguments, "--days", "40", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["careful, once"]["USDT"] == {
        **dict.fromkeys(("bias", "mean", "largest"), "0.000000"),
        "forecasts": 1,
    }
    assert cli.main([*arguments, "--days", "30"]) == 1
    assert "needs --days 35" in capsys.readouterr().err
