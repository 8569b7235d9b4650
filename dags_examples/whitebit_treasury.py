"""A treasury by policy: every hour each asset is brought to what the policy asks for.

Reserves stay in Main, the rest goes to the plans with the highest rate, and nothing moves when nothing has changed.
``whitebit_treasury_many`` does the same for several accounts, one mapped task for each connection. Both move money by
themselves, so they are created paused. The policy's fields: ``docs/treasury.md``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator, WhiteBitSweepOperator
from airflow_provider_whitebit.treasury.policy import policy_schema

POLICY = {
    "USDT": {"reserve": "5000", "min_move": "100", "plans": {"max_share": "0.5"}},
    "BTC": {"reserve_share": "0.2", "min_move": "0.01"},
}
RETRIES = {"retries": 5, "retry_delay": timedelta(minutes=1)}

with DAG(
    "whitebit_treasury",
    description="Each asset as the policy wants it",
    schedule="@hourly",
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={"policy": Param(POLICY, **policy_schema())},
    default_args=RETRIES,
    tags=["whitebit"],
):
    WhiteBitRebalanceOperator(task_id="rebalance", policy="{{ params.policy | tojson }}")

with DAG(
    "whitebit_treasury_many",
    description="Invest what lies idle, in several accounts",
    schedule="@daily",
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={"connections": Param(["whitebit_default"], type="array", items={"type": "string"}, minItems=1)},
    default_args=RETRIES,
    tags=["whitebit"],
) as many:
    connections = many.task(lambda params=None: params["connections"], task_id="connections")()
    WhiteBitSweepOperator.partial(task_id="sweep", policy=POLICY).expand(whitebit_conn_id=connections)
