"""How far forecasts of 90 days are from what twenty assets then earn, on a year of virtual time."""

from __future__ import annotations

import logging
from pathlib import Path

from figure import Figure, command

from airflow_provider_whitebit.backtest.forecasts import forecast_errors, invest_once
from airflow_provider_whitebit.backtest.run import Planner
from airflow_provider_whitebit.backtest.scenario import default_scenario, read_backtest_scenario
from airflow_provider_whitebit.treasury.planning import plan_rebalance
from airflow_provider_whitebit.treasury.policy import read_policy


def mean_error(*, rates_change: bool, planner: Planner) -> float:
    """Percent of what was earned: the mean of all forecasts of all assets, without their signs."""
    raw = default_scenario()
    raw["events"] = [event for event in raw["events"] if rates_change or "rate" not in event]
    policy = read_policy({ticker: {"reserve": "6000", "min_move": "100"} for ticker in raw["assets"]})
    found = forecast_errors(policy, read_backtest_scenario(raw), planner=planner).values()
    return float(sum(one.mean * one.forecasts for one in found) / sum(one.forecasts for one in found) * 100)


def figures(home: Path) -> list[Figure]:
    """Errors in percent."""
    logging.disable(logging.CRITICAL)
    cases = (
        ("nothing moves, rates stay", False, invest_once()),
        ("nothing moves, rates change", True, invest_once()),
        ("money moves, rates change", True, plan_rebalance),
    )
    return [
        Figure(f"mean error over 90 days, {name}", mean_error(rates_change=change, planner=planner), "%")
        for name, change, planner in cases
    ]


if __name__ == "__main__":
    command(figures)
