"""Moves for the Treasury page to show."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_whitebit.operators.fixed import WhiteBitFixedInvestOperator
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator, WhiteBitFlexWithdrawOperator

CONNECTION = {"whitebit_conn_id": "whitebit_treasury"}
AMOUNTS = (
    {"ticker": "USDT", "amount": "2500"},
    {"ticker": "USDC", "amount": "1200.5"},
    {"ticker": "BTC", "amount": "0.25"},
)

with DAG("whitebit_browser", schedule=None, default_args=CONNECTION):
    # One at a time, because the page shows them in this order.
    invest = WhiteBitFlexInvestOperator.partial(
        task_id="invest", with_reinvest=True, max_active_tis_per_dag=1
    ).expand_kwargs(AMOUNTS)
    term = WhiteBitFixedInvestOperator(task_id="term", ticker="USDT", days=180, amount="1000")
    invest >> term

with DAG("whitebit_browser_later", schedule=None, default_args=CONNECTION):
    more = WhiteBitFlexInvestOperator(task_id="more", plan_id="8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", amount="1750")
    back = WhiteBitFlexWithdrawOperator(task_id="back", ticker="USDC", amount="450.25")
    less = WhiteBitFlexWithdrawOperator(task_id="less", ticker="BTC", amount="0.1")
    more >> back >> less

with DAG("whitebit_browser_doubt", schedule=None, default_args=CONNECTION):
    WhiteBitFlexInvestOperator(task_id="invest", ticker="SOL", amount="7.5")
