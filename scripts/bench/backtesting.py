"""How long a policy of twenty assets takes for a year of hourly runs."""

from __future__ import annotations

import json
import logging
import time

from airflow_provider_whitebit.backtest.run import backtest
from airflow_provider_whitebit.backtest.scenario import default_scenario, read_backtest_scenario
from airflow_provider_whitebit.treasury.policy import read_policy


def main() -> None:
    logging.disable(logging.CRITICAL)
    scenario = read_backtest_scenario(default_scenario())
    policy = read_policy({ticker: {"reserve": "6000", "min_move": "100"} for ticker in scenario.tickers})
    begin = time.perf_counter()
    report = backtest(policy, scenario, days=365)
    moves = sum(sum(one.moves.values()) for one in report.tickers.values())
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "ticks": report.ticks, "tickers": len(report.tickers), "moves": moves}))


if __name__ == "__main__":
    main()
