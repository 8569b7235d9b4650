"""Rebalance as soon as rates or plans change, not only at a fixed time.

The exchange starts this DAG: one trigger watches the best rate of USDT, the other one the plans. The policy invests at
5 % or more and leaves plans that pay less than 3 %; between the two nothing moves.

The DAG moves money by itself, so it is created paused.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator
from airflow_provider_whitebit.triggers.events import WhiteBitPlanTrigger, WhiteBitRateTrigger

TICKER = "USDT"
POLICY = {TICKER: {"reserve": "5000", "min_move": "100", "plans": {"min_rate": "0.05", "leave_below": "0.03"}}}

# [START offers]
offers = Asset(
    "whitebit_offers",
    watchers=[
        AssetWatcher(name="whitebit_rate", trigger=WhiteBitRateTrigger(ticker=TICKER, changed_by="0.005")),
        AssetWatcher(name="whitebit_plans", trigger=WhiteBitPlanTrigger(ticker=TICKER)),
    ],
)
# [END offers]

with DAG(
    "whitebit_rates",
    description="Rates or plans change: follow the policy",
    doc_md=__doc__,
    schedule=[offers],
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    WhiteBitRebalanceOperator(task_id="rebalance", policy=POLICY)
