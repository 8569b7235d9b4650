"""Invest an amount in a Fixed plan for a term, and read its status and the interest so far.

To try it without money, use ``make ui`` or your own sandbox (``whitebit-sandbox serve``). Fixed plans need the
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
    description="Invest for a term and read the interest",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={
        "ticker": Param("USDC", type="string"),
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$"),
        "days": Param(30, type="integer", minimum=1),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    # [START plans]
    plans = WhiteBitFixedPlansOperator(task_id="plans", ticker="{{ params.ticker }}")
    # [END plans]
    # [START invest]
    invest = WhiteBitFixedInvestOperator(
        task_id="invest", ticker="{{ params.ticker }}", amount="{{ params.amount }}", days="{{ params.days }}"
    )
    # [END invest]
    # [START investments]
    status = WhiteBitFixedInvestmentsOperator(task_id="status", investment_id=invest.output["investment_id"])
    # [END investments]
    # [START payments]
    interest = WhiteBitFixedPaymentsOperator(task_id="interest", plan_id=invest.output["plan_id"])
    # [END payments]
    plans >> invest >> status >> interest
