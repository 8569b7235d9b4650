"""Moves with a connection out of a secrets backend, whose key is exchanged meanwhile."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.sensors.whitebit import WhiteBitBalanceSensor

VAULT = {"whitebit_conn_id": "whitebit_vault", "retries": 3, "retry_delay": timedelta(seconds=1)}


def tell_process(context: Any) -> None:
    folder = Path(os.environ["AIRFLOW_HOME"]) / "vault"
    folder.mkdir(exist_ok=True)
    (folder / f"{context['ti'].run_id.replace('/', '_')}.{context['ti'].try_number}").write_text(str(os.getpid()))


with DAG("whitebit_e2e_vault", schedule=None, default_args=VAULT):
    WhiteBitBalanceSensor(task_id="paid_in", ticker="EURI", at_least="1", deferrable=True, poke_interval=1, timeout=60)
    WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="10.5", deferrable=True)

with DAG("whitebit_e2e_keys", schedule=None, default_args=VAULT):
    deferred = WhiteBitFlexInvestOperator(task_id="deferred", ticker="EURI", amount="11.25", deferrable=True)
    killed = WhiteBitFlexInvestOperator(
        task_id="killed", ticker="EURI", amount="11.75", on_execute_callback=tell_process
    )
    later = WhiteBitFlexInvestOperator(task_id="later", ticker="EURI", amount="12.25")
    [deferred, killed] >> later
