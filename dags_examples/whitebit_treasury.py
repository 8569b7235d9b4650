"""A treasury by policy: every hour, bring each asset to what the policy wants.

Reserves stay in Main, the rest is invested in the plans with the highest rate, and nothing moves if nothing changed.
``whitebit_treasury_many`` sweeps several accounts, with one mapped task for each connection. Both DAGs move money by
themselves, so they are created paused. The policy's fields: ``docs/treasury.md``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator, WhiteBitSweepOperator
from airflow_provider_whitebit.treasury.policy_schema import policy_schema

# [START policy]
POLICY = {
    "USDT": {"reserve": "5000", "min_move": "100", "plans": {"max_share": "0.5"}},
    "BTC": {"reserve_share": "0.2", "min_move": "0.01"},
}
# [END policy]
RETRIES: dict[str, Any] = {"retries": 5, "retry_delay": timedelta(minutes=1)}

with DAG(
    "whitebit_treasury",
    description="Bring each asset to what the policy wants",
    doc_md=__doc__,
    schedule="@hourly",
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={"policy": Param(POLICY, **policy_schema())},
    default_args=RETRIES,
    tags=["whitebit"],
):
    # [START rebalance]
    WhiteBitRebalanceOperator(task_id="rebalance", policy="{{ params.policy | tojson }}")
    # [END rebalance]

with DAG(
    "whitebit_treasury_many",
    description="Invest what is idle in several accounts",
    doc_md=__doc__,
    schedule="@daily",
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={"connections": Param(["whitebit_default"], type="array", items={"type": "string"}, minItems=1)},
    default_args=RETRIES,
    tags=["whitebit"],
):

    @task
    def connections(params: Any = None) -> list[str]:
        return params["connections"]

    # [START sweep]
    # Each API key is an account of its own, so one key names one sweep for each connection.
    WhiteBitSweepOperator.partial(task_id="sweep", policy=POLICY, idempotency_key="sweep {{ run_id }}").expand(
        whitebit_conn_id=connections()
    )
    # [END sweep]
