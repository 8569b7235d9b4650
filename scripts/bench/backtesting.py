"""How long a policy of twenty assets takes for up to 400 days, and for a year, of hourly runs on virtual time."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from figure import Figure, command

from airflow_provider_whitebit.backtest.run import backtest
from airflow_provider_whitebit.backtest.scenario import default_scenario, read_backtest_scenario
from airflow_provider_whitebit.treasury.policy import read_policy

DAYS, YEAR = (4, 40, 400), 365


def figures(home: Path) -> list[Figure]:
    """Processor seconds of a day."""
    logging.disable(logging.CRITICAL)
    scenario = read_backtest_scenario(default_scenario())
    policy = read_policy({ticker: {"reserve": "6000", "min_move": "100"} for ticker in scenario.tickers})
    found = []
    for days in (*DAYS, YEAR):
        begin = time.process_time()
        report = backtest(policy, scenario, days=days)
        seconds = time.process_time() - begin
        name = f"hourly rebalancing of {len(report.tickers)} assets"
        if days in DAYS:
            found.append(Figure(name, seconds / days * 1000, "ms/day", days, "days"))
    moves = sum(sum(one.moves.values()) for one in report.tickers.values())
    return [*found, Figure(f"{name}, a year", seconds, "s"), Figure(f"{name}, a year: moves", moves, "moves")]


if __name__ == "__main__":
    command(figures)
