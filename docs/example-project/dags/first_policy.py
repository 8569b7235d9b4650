from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator

POLICY = {"USDT": {"reserve": "4000", "min_move": "100"}}

with DAG(
    "first_policy",
    schedule="@daily",
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    WhiteBitRebalanceOperator(task_id="rebalance", policy=POLICY, dry_run=True)
