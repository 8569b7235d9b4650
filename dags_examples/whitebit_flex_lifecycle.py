"""The life of a Flex investment, with operators: read the plans, invest, check, withdraw.

Needs the connection ``whitebit_default``. Against the exchange this moves real money; ``make demo`` runs it against
the sandbox.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.account import WhiteBitBalanceOperator
from airflow_provider_whitebit.operators.flex import (
    WhiteBitFlexInvestmentsOperator,
    WhiteBitFlexInvestOperator,
    WhiteBitFlexPlansOperator,
    WhiteBitFlexWithdrawOperator,
)

with DAG(
    dag_id="whitebit_flex_lifecycle",
    schedule=None,
    is_paused_upon_creation=True,
    tags=["whitebit", "example"],
    doc_md=__doc__,
    params={
        "ticker": Param("USDT", type="string", description="The asset to invest."),
        # Amounts are strings: a number could lose digits.
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$", description="The amount of it."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
):
    # [START balance]
    balance_before = WhiteBitBalanceOperator(task_id="balance_before", ticker="{{ params.ticker }}")
    # [END balance]

    # [START plans]
    plans = WhiteBitFlexPlansOperator(task_id="plans", ticker="{{ params.ticker }}")
    # [END plans]

    # [START invest]
    # With a ticker, the open plan with the highest rate that admits the amount is chosen.
    invest = WhiteBitFlexInvestOperator(task_id="invest", ticker="{{ params.ticker }}", amount="{{ params.amount }}")
    # [END invest]

    # [START investments]
    # The result of one task is passed to the next one with .output.
    status = WhiteBitFlexInvestmentsOperator(
        task_id="status", plan_id=invest.output["plan_id"], investment_status="active"
    )
    # [END investments]

    # [START withdraw]
    withdraw = WhiteBitFlexWithdrawOperator(task_id="withdraw", plan_id=invest.output["plan_id"], amount="all")
    # [END withdraw]

    balance_after = WhiteBitBalanceOperator(task_id="balance_after", ticker="{{ params.ticker }}")

    balance_before >> plans >> invest >> status >> withdraw >> balance_after
