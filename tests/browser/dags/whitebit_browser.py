"""What a treasury's desk has done, for the Treasury page to show."""

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
    # One by one: the page shows them in this order.
    invest = WhiteBitFlexInvestOperator.partial(
        task_id="invest", with_reinvest=True, max_active_tis_per_dag=1
    ).expand_kwargs(AMOUNTS)
    term = WhiteBitFixedInvestOperator(task_id="term", ticker="USDT", days=180, amount="1000")
    back = WhiteBitFlexWithdrawOperator(task_id="back", ticker="USDC", amount="200.25")
    invest >> term >> back

with DAG("whitebit_browser_doubt", schedule=None, default_args=CONNECTION):
    WhiteBitFlexInvestOperator(task_id="invest", ticker="SOL", amount="7.5")
