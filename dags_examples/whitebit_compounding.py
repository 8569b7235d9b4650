"""Put each Flex earning back into its plan as soon as it is credited.

The exchange starts this DAG: a trigger watches the payments, and every look that finds new ones is one run. Plans with
the exchange's own auto-reinvest are left alone; so are earnings below a plan's smallest investment, which stay in Main.

The DAG moves money by itself, so it is created paused: switch it on where you want it.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_whitebit.operators.flex import (
    WhiteBitFlexInvestmentsOperator,
    WhiteBitFlexInvestOperator,
    WhiteBitFlexPlansOperator,
)
from airflow_provider_whitebit.triggers.events import WhiteBitFlexEarningTrigger

earned = Asset(
    "whitebit_flex_earned",
    watchers=[AssetWatcher(name="whitebit_flex_earned", trigger=WhiteBitFlexEarningTrigger(poke_interval=60))],
)

with DAG(
    "whitebit_compounding",
    description="An earning is credited: invest it",
    schedule=[earned],
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    plans = WhiteBitFlexPlansOperator(task_id="plans")
    investments = WhiteBitFlexInvestmentsOperator(task_id="investments", investment_status=1)

    @task
    def to_reinvest(plans, investments, triggering_asset_events=None):
        sums = defaultdict(Decimal)
        for events in triggering_asset_events.values():
            for event in events:
                for occurrence in event.extra["payload"]["occurrences"]:
                    sums[occurrence["record"]["plan_id"]] += Decimal(occurrence["record"]["amount"])
        least = {plan["id"]: Decimal(plan["min_investment"]) for plan in plans}
        by_itself = {entry["plan_id"] for entry in investments if entry["with_auto_reinvest"]}
        return [
            {"plan_id": plan, "amount": str(amount)}
            for plan, amount in sorted(sums.items())
            if plan in least and plan not in by_itself and amount >= least[plan]
        ]

    WhiteBitFlexInvestOperator.partial(task_id="reinvest", max_active_tis_per_dag=1).expand_kwargs(
        to_reinvest(plans.output, investments.output)
    )
