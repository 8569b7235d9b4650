"""Wait for money, for a rate and for a plan, invest, and wait for the first earning. Wait for the end of a term.

The sensors are deferrable: they wait in the triggerer and occupy no worker. Sensors that ask the same question share
their requests. Both DAGs are started by people only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.sensors.whitebit import (
    WhiteBitBalanceSensor,
    WhiteBitFixedMaturitySensor,
    WhiteBitFlexEarningSensor,
    WhiteBitFlexInvestmentSensor,
    WhiteBitPlanSensor,
    WhiteBitRateSensor,
)

RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(minutes=1)}
A_DAY = timedelta(days=1).total_seconds()

with DAG(
    "whitebit_waiting",
    description="Wait, invest, wait for the first earning",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={
        "ticker": Param("USDT", type="string"),
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$"),
        "rate": Param("0.05", type="string", description="At least this rate: a fraction per year"),
    },
    default_args=RETRIES,
    tags=["whitebit"],
):
    # [START balance]
    money = WhiteBitBalanceSensor(
        task_id="money_is_there", ticker="{{ params.ticker }}", at_least="{{ params.amount }}", deferrable=True
    )
    # [END balance]
    # [START rate]
    rate = WhiteBitRateSensor(
        task_id="rate_is_high_enough", ticker="{{ params.ticker }}", above="{{ params.rate }}", deferrable=True
    )
    # [END rate]
    # [START plan]
    plan = WhiteBitPlanSensor(
        task_id="a_plan_is_open", ticker="{{ params.ticker }}", admits="{{ params.amount }}", deferrable=True
    )
    # [END plan]
    invest = WhiteBitFlexInvestOperator(task_id="invest", ticker="{{ params.ticker }}", amount="{{ params.amount }}")
    # [START investment]
    invested = WhiteBitFlexInvestmentSensor(
        task_id="it_is_invested",
        plan_id=invest.output["plan_id"],
        invested_at_least="{{ params.amount }}",
        deferrable=True,
    )
    # [END investment]
    # [START earning]
    earned = WhiteBitFlexEarningSensor(
        task_id="it_has_earned",
        plan_id=invest.output["plan_id"],
        since=invest.output["executed_at"],
        timeout=2 * A_DAY,
        deferrable=True,
    )
    # [END earning]
    money >> rate >> plan >> invest >> invested >> earned

with DAG(
    "whitebit_waiting_for_a_term",
    description="Wait until a Fixed investment has ended",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={"ticker": Param("USDT", type="string")},
    default_args=RETRIES,
    tags=["whitebit"],
):
    # [START maturity]
    WhiteBitFixedMaturitySensor(
        task_id="all_terms_have_ended",
        ticker="{{ params.ticker }}",
        poke_interval=600,
        timeout=400 * A_DAY,
        deferrable=True,
    )
    # [END maturity]
