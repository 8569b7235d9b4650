"""Put each Flex earning back into its plan as soon as it is credited.

The exchange starts this DAG: a trigger watches the payments, and each poll that finds new ones starts one run. Plans
with the exchange's own auto-reinvest are skipped. Earnings below a plan's smallest investment stay in Main.

The DAG moves money by itself, so it is created paused.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_whitebit.operators.flex import (
    WhiteBitFlexInvestmentsOperator,
    WhiteBitFlexInvestOperator,
    WhiteBitFlexPlansOperator,
)
from airflow_provider_whitebit.triggers.events import WhiteBitFlexEarningTrigger

# [START earned]
earned = Asset(
    "whitebit_flex_earned",
    watchers=[AssetWatcher(name="whitebit_flex_earned", trigger=WhiteBitFlexEarningTrigger(poke_interval=60))],
)
# [END earned]

with DAG(
    "whitebit_compounding",
    description="An earning is credited: invest it",
    doc_md=__doc__,
    schedule=[earned],
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    plans = WhiteBitFlexPlansOperator(task_id="plans")
    investments = WhiteBitFlexInvestmentsOperator(task_id="investments", investment_status="active")

    @task
    def to_reinvest(
        plans: Any, investments: Any, triggering_asset_events: Any = None, run_id: str | None = None
    ) -> list[dict[str, str]]:
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for events in triggering_asset_events.values():
            for event in events:
                for occurrence in event.extra["payload"]["occurrences"]:
                    sums[occurrence["record"]["plan_id"]] += Decimal(occurrence["record"]["amount"])
        least = {plan["id"]: Decimal(plan["min_investment"]) for plan in plans}
        auto = {entry["plan_id"] for entry in investments if entry["with_auto_reinvest"]}
        return [
            {"plan_id": plan, "amount": str(amount), "idempotency_key": f"reinvest {run_id} {plan}"}
            for plan, amount in sorted(sums.items())
            if plan in least and plan not in auto and amount >= least[plan]
        ]

    WhiteBitFlexInvestOperator.partial(task_id="reinvest", max_active_tis_per_dag=1).expand_kwargs(
        to_reinvest(plans.output, investments.output)
    )
