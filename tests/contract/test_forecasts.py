"""Forecasts against the sandbox: what was expected is what is credited."""

from __future__ import annotations

import csv
import json
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.forecasts import read_forecast
from airflow_provider_whitebit.operators.forecast import WhiteBitForecastOperator

USDT, BTC = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "7e1d8c2b-9a3b-4b1c-8d4e-5a6b7c8d9e0f"
DAY = 86_400


@pytest.fixture
def lending(hook, sandbox):
    """A Flex investment that keeps its earnings, one that does not, and a Fixed one, at a midnight."""
    now = hook.get_conn().server_time()
    sandbox.advance(int((now.start_of("day").add(days=1) - now).total_seconds()) + 5)
    hook.flex_invest(plan_id=USDT, amount="1000", with_reinvest=True, key="a")
    hook.flex_invest(plan_id=BTC, amount="0.5", key="b")
    term = next(plan for plan in hook.get_conn().fixed_plans(ticker="USDT") if plan.active)
    hook.fixed_invest(plan_id=term.id, amount=term.min_investment, key="c")
    return hook


def test_what_is_expected_is_credited(lending, sandbox):
    client = lending.get_conn()
    first = read_forecast(client, days=3)
    assert {one.basis for ticker in first.tickers for one in ticker.investments} == {"advertised"}
    sandbox.advance(5 * DAY)
    forecast = read_forecast(client, days=40, rate_days=3)
    sandbox.advance(40 * DAY)
    start, end = (int(moment.timestamp()) for moment in (forecast.start, forecast.until))
    for ticker in forecast.tickers:
        paid = sum(
            one.amount
            for one in client.flex_payments(date_from=start, date_to=end)
            if one.currency == ticker.ticker and start < one.created_at.timestamp() < end
        )
        assert {one.basis for one in ticker.investments} == {"realised"}
        assert abs(ticker.earned / paid - 1) < Decimal("0.0001")
        assert ticker.complete
    interest = {one.investment_id: (one.timestamp, one.amount, one.ticker) for one in client.fixed_payments()}
    for one in forecast.maturities:
        if one.at < forecast.until:
            assert interest[one.investment_id] == (one.at, one.interest, one.interest_ticker)
    assert forecast.maturities


def run(hook, **arguments):
    task = WhiteBitForecastOperator(task_id="t", **arguments)
    task.__dict__["hook"] = hook
    return json.loads(json.dumps(task.execute({})))


def test_the_operator_writes_the_forecast_and_its_tables(lending, tmp_path):
    now = lending.get_conn().server_time()
    result = run(
        lending,
        until=now.add(days=10).isoformat(),
        policy={"USDT": {"liquidity": [{"amount": "99999999", "by": now.add(days=5).isoformat()}]}},
        output_path=f"file://{tmp_path}/",
    )
    [short] = result["shortfalls"]
    assert (short["ticker"], pendulum.parse(short["at"])) == ("USDT", now.add(days=5).replace(microsecond=0))
    assert Decimal(short["missing"]) > 0
    written = {name: (tmp_path / path.rsplit("/", 1)[-1]).read_text() for name, path in result["paths"].items()}
    assert set(written) == {"forecast", "days", "maturities"}
    of_desk = run(lending, whitebit_conn_id="desk", tickers="BTC", output_path=f"{tmp_path}/")["paths"]["forecast"]
    assert of_desk.rsplit("/", 1)[1].startswith("forecast-desk-BTC-20")
    assert json.loads(written["forecast"])["maturities"] == result["maturities"]
    rows = list(csv.DictReader(written["days"].splitlines()))
    of_usdt = [row for row in rows if row["ticker"] == "USDT"]
    assert [row["date"] for row in of_usdt] == [day["date"] for day in result["tickers"]["USDT"]["days"]]
    assert sum(Decimal(row["earned"]) for row in of_usdt) == Decimal(result["tickers"]["USDT"]["earned"])
    assert len(list(csv.DictReader(written["maturities"].splitlines()))) == len(result["maturities"])


def test_many_days_are_in_the_files_only(lending, tmp_path):
    result = run(lending, days="999", output_path=f"{tmp_path}/a.json", output_format="parquet")
    assert {ticker["days"] for ticker in result["tickers"].values()} == {None}
    assert json.loads((tmp_path / "a.json").read_text())["tickers"]["USDT"]["days"]
    assert (tmp_path / "a.days.parquet").exists()


@pytest.mark.parametrize("wrong", [{"days": "0"}, {"until": "2020-01-01"}, {"output_path": "x/", "output_format": "x"}])
def test_what_is_refused(hook, wrong):
    with pytest.raises((AirflowFailException, WhiteBitValidationError)):
        run(hook, **wrong)
