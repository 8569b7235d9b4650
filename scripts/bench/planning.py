"""How long a rebalance plan takes, by the number of assets."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pendulum
from figure import Figure, command

from airflow_provider_whitebit.client.models import Asset, FlexInvestment, FlexPlan
from airflow_provider_whitebit.treasury.planning import Holdings, plan_rebalance
from airflow_provider_whitebit.treasury.policy import Policy, read_policy

ASSETS = (20, 200, 2_000)


def account(count: int) -> tuple[Holdings, Policy]:
    """This many assets with two plans and an investment each. Half of them have to withdraw, half to invest."""
    tickers = [f"A{number:05d}" for number in range(count)]
    plans, investments = [], []
    for number, ticker in enumerate(tickers):
        for level in (1, 2):
            name = f"{number:08d}-0000-4000-8000-00000000000{level}"
            plans.append(FlexPlan(name, ticker, Decimal(10), Decimal(20_000), Decimal("0.05") * level))
        investments.append(FlexInvestment(f"inv_{number}", name, ticker, Decimal(9_000), False, 1, None, None))
    main = {ticker: Decimal(9_000 if number % 2 else 1_000) for number, ticker in enumerate(tickers)}
    assets = {ticker: Asset(ticker, ticker, 6, True, True) for ticker in tickers}
    policy = read_policy({ticker: {"reserve": "6000", "min_move": "100"} for ticker in tickers})
    return Holdings(main, tuple(plans), tuple(investments), assets), policy


def taken(holdings: Holdings, policy: Policy) -> float:
    """Processor seconds of one plan that has a move for every asset."""
    begin = time.process_time()
    plan = plan_rebalance(holdings, policy, pendulum.datetime(2026, 1, 1))
    seconds = time.process_time() - begin
    if len(plan.moves) != len(policy.tickers):
        raise RuntimeError("every asset needs a move")
    return seconds


def figures(home: Path) -> list[Figure]:
    """Microseconds for one asset of a plan, the fastest of some."""
    found = []
    for count in ASSETS:
        holdings, policy = account(count)
        seconds = min(taken(holdings, policy) for _ in range(max(3, 1_000 // count)))
        found.append(Figure("rebalance plan", seconds / count * 1e6, "us/asset", count, "assets"))
    return found


if __name__ == "__main__":
    command(figures)
