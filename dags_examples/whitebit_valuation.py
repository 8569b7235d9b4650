"""Each morning, write down what the account is worth in euros.

The file has a row for each asset and place (Main, Flex, Fixed): the exact amount, and beside it price and value. What
has no price is in no total: the task ``check`` fails then, so that a missing asset is noticed. Nothing moves money.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_whitebit.operators.valuation import WhiteBitValuationOperator

with DAG(
    "whitebit_valuation",
    description="What the account is worth",
    doc_md=__doc__,
    schedule="0 6 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["whitebit"],
):
    worth = WhiteBitValuationOperator(
        task_id="worth",
        value_in="EUR",
        # Any path of Airflow's ObjectStoragePath.
        output_path="file:///tmp/whitebit/worth-{{ dag_run.run_after | ts_nodash }}.csv",
    )

    @task
    def check(complete: Any, valuation: Any) -> None:
        """Fail if something has no value."""
        if not complete:
            raise ValueError(f"In no total: {valuation['left_out']}")

    check(worth.output["complete"], worth.output["valuation"])
