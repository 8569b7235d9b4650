"""How far forecasts are from what is earned: many forecasts in one run of virtual time, and the days after each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.backtest.run import Planner, backtest
from airflow_provider_whitebit.backtest.scenario import BacktestScenario
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.forecast import RATE_DAYS, make_forecast, rates_since, realised_rates
from airflow_provider_whitebit.treasury.planning import Holdings, TreasuryPlan, plan_rebalance
from airflow_provider_whitebit.treasury.policy import Policy

#: Days between two forecasts: no divisor of a month, so that they fall on different days of it.
_EVERY = 7
_DIGITS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class ForecastErrors:
    """The errors of the forecasts of one asset, as fractions of what was earned.

    :param forecasts: how many there were.
    :param bias: the mean error; above 0: too much was expected.
    :param mean: the mean of the errors without their signs.
    :param largest: the largest of these.
    """

    forecasts: int
    bias: Decimal
    mean: Decimal
    largest: Decimal

    @classmethod
    def of(cls, errors: Sequence[Decimal]) -> ForecastErrors:
        """Sum up errors, of which there is at least one."""
        sizes = [abs(error) for error in errors]
        count = len(errors)
        bias, mean = sum(errors, ZERO) / count, sum(sizes, ZERO) / count
        return cls(count, *(value.quantize(_DIGITS) for value in (bias, mean, max(sizes))))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {name: to_json(getattr(self, name)) for name in self.__slots__}


def forecast_errors(
    policy: Policy,
    scenario: BacktestScenario,
    *,
    days: int = 90,
    total: int = 365,
    rate_days: int = RATE_DAYS,
    every: int = 3_600,
    planner: Planner = plan_rebalance,
) -> dict[str, ForecastErrors]:
    """Forecast once a week, and compare with what was earned until the end of each forecast.

    :param policy: the policy that moves the money.
    :param scenario: what happens meanwhile.
    :param days: of each forecast.
    :param total: days of the run. The first forecast is made when realised rates have a full period.
    :param rate_days: days over which realised rates are taken.
    :param every: seconds between two runs.
    :param planner: what runs; :func:`invest_once` moves nothing after the first run.
    :returns: by asset, where something was earned.
    """
    expected: dict[int, dict[str, Decimal]] = {}

    def look(client: WhiteBitClient, day: int) -> None:
        if day >= rate_days and day % _EVERY == 0 and day + days <= total:
            expected[day] = _expected(client, days, rate_days)

    report = backtest(policy, scenario, days=total, every=every, planner=planner, on_day=look)
    errors: dict[str, list[Decimal]] = defaultdict(list)
    for day, by_ticker in expected.items():
        for ticker, amount in by_ticker.items():
            credited = report.earned[ticker]
            if earned := credited[day + days - 1] - credited[day - 1]:
                errors[ticker].append(amount / earned - 1)
    return {ticker: ForecastErrors.of(errors[ticker]) for ticker in scenario.tickers if errors[ticker]}


def invest_once(planner: Planner = plan_rebalance) -> Planner:
    """Return a planner that plans as another one until there is something to do, and never again."""
    done = False

    def plan(holdings: Holdings, policy: Policy, now: pendulum.DateTime) -> TreasuryPlan:
        nonlocal done
        planned = TreasuryPlan() if done else planner(holdings, policy, now)
        done = done or not planned.empty
        return planned

    return plan


def _expected(client: WhiteBitClient, days: int, rate_days: int) -> dict[str, Decimal]:
    """What a forecast made now expects of each asset."""
    now = client.server_time()
    since = rates_since(now, rate_days)
    investments = list(client.flex_investments())
    forecast = make_forecast(
        investments,
        (),
        list(client.flex_plans()),
        main=client.main_balance(),
        realised=realised_rates(client.flex_history(date_from=since), investments, since=since, now=now),
        now=now,
        # The run ends with the credit of the last midnight.
        until=now.start_of("day").add(days=days, hours=1),
    )
    return {ticker.ticker: ticker.earned for ticker in forecast.tickers if ticker.earned is not None}


def error_rows(found: Mapping[str, Mapping[str, ForecastErrors]]) -> Iterator[list[str]]:
    """Yield the rows of a table: a heading, then each asset with the errors of each policy.

    :param found: errors by name of the policy and by asset.
    """
    yield ["asset", "policy", "forecasts", "bias", "mean error", "largest"]
    for ticker in dict.fromkeys(ticker for errors in found.values() for ticker in errors):
        for name, errors in found.items():
            if (one := errors.get(ticker)) is not None:
                shares = (f"{value * 100:.2f} %" for value in (one.bias, one.mean, one.largest))
                yield [ticker, name, str(one.forecasts), *shares]
