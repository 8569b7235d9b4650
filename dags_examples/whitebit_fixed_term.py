"""Put an amount into a Fixed plan for a term, and look after it: plans, invest, status, interest so far.

Try it without money: ``make ui`` or a sandbox of your own (``whitebit-sandbox serve``). Fixed plans need the
exchange's B2B permission.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.fixed import (
    WhiteBitFixedInvestmentsOperator,
    WhiteBitFixedInvestOperator,
    WhiteBitFixedPaymentsOperator,
    WhiteBitFixedPlansOperator,
)

with DAG(
    "whitebit_fixed_term",
    description="Invest for a term and read what it has paid",
    schedule=None,
    params={
        "ticker": Param("USDC", type="string"),
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$"),
        "days": Param(30, type="integer", minimum=1),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    plans = WhiteBitFixedPlansOperator(task_id="plans", ticker="{{ params.ticker }}")
    invest = WhiteBitFixedInvestOperator(
        task_id="invest", ticker="{{ params.ticker }}", amount="{{ params.amount }}", days="{{ params.days }}"
    )
    status = WhiteBitFixedInvestmentsOperator(task_id="status", investment=invest.output["investment_id"])
    interest = WhiteBitFixedPaymentsOperator(task_id="interest", plan_id=invest.output["plan_id"])
    plans >> invest >> status >> interest
