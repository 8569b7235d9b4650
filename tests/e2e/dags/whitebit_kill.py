"""One invest and one withdraw that tell the test which process they run in, so that it can be killed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator, WhiteBitFlexWithdrawOperator
from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator


def tell_process(context: Any) -> None:
    instance = context["ti"]
    folder = Path(os.environ["AIRFLOW_HOME"]) / "processes" / instance.run_id.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{instance.task_id}.{instance.try_number}").write_text(str(os.getpid()))


with DAG(
    "whitebit_kill",
    schedule=None,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=1),
        "on_execute_callback": tell_process,
    },
):
    invest = WhiteBitFlexInvestOperator(task_id="invest", ticker="SOL", amount="5")
    withdraw = WhiteBitFlexWithdrawOperator(task_id="withdraw", plan_id=invest.output["plan_id"], amount="2.5")
    invest >> withdraw

with DAG(
    "whitebit_kill_plan",
    schedule=None,
    params={"policy": Param({}, type="object")},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1), "on_execute_callback": tell_process},
):
    WhiteBitRebalanceOperator(task_id="rebalance", policy="{{ params.policy | tojson }}")
