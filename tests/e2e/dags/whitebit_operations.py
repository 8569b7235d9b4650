"""Moves with connections out of a secrets backend: keys are exchanged, tasks broken off, regions two."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG

from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.sensors.whitebit import WhiteBitBalanceSensor

VAULT = {"whitebit_conn_id": "whitebit_vault", "retries": 3, "retry_delay": timedelta(seconds=1)}


def tell_process(context: Any) -> None:
    tell(context, "")


def tell_failure(context: Any) -> None:
    tell(context, ".failed")


def tell(context: Any, what: str) -> None:
    folder = Path(os.environ["AIRFLOW_HOME"]) / "vault"
    folder.mkdir(exist_ok=True)
    instance = context["ti"]
    name = f"{instance.run_id.replace('/', '_')}.{instance.task_id}.{instance.try_number}{what}"
    (folder / name).write_text(str(os.getpid()))


with DAG("whitebit_e2e_vault", schedule=None, default_args=VAULT):
    WhiteBitBalanceSensor(task_id="paid_in", ticker="EURI", at_least="1", deferrable=True, poke_interval=1, timeout=60)
    WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="10.5", deferrable=True)

# Of two plans: a move waits until it is known what became of the one before it in its plan.
with DAG("whitebit_e2e_keys", schedule=None, default_args=VAULT):
    deferred = WhiteBitFlexInvestOperator(task_id="deferred", ticker="EURI", amount="11.25", deferrable=True)
    killed = WhiteBitFlexInvestOperator(
        task_id="killed", ticker="USDC", amount="11.75", on_execute_callback=tell_process
    )
    later = WhiteBitFlexInvestOperator(task_id="later", ticker="EURI", amount="12.25")
    [deferred, killed] >> later

BROKEN_OFF = {**VAULT, "on_execute_callback": tell_process, "on_failure_callback": tell_failure}

with DAG("whitebit_e2e_execution_timeout", schedule=None, default_args=BROKEN_OFF):
    WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="13.25", execution_timeout=timedelta(seconds=20))

with DAG("whitebit_e2e_dagrun_timeout", schedule=None, default_args=BROKEN_OFF, dagrun_timeout=timedelta(seconds=35)):
    WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="13.5")

with DAG("whitebit_e2e_marked", schedule=None, default_args=BROKEN_OFF):
    WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="13.75")

# The same move in two regions.
with DAG("whitebit_e2e_regions", schedule=None, default_args=BROKEN_OFF):
    for region in ("global", "eu"):
        WhiteBitFlexInvestOperator(task_id=region, whitebit_conn_id=f"whitebit_{region}", ticker="EURI", amount="14.75")

# Moves of one plan with two API keys of the account: neither waits for the other.
with DAG("whitebit_e2e_desks", schedule=None, default_args=VAULT):
    for number in range(3):
        for desk, amount in (("a", "10.5"), ("b", "11.5")):
            WhiteBitFlexInvestOperator(
                task_id=f"{desk}_{number}", whitebit_conn_id=f"whitebit_desk_{desk}", ticker="EURI", amount=amount
            )

try:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
except ImportError:
    try:
        from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
    except ImportError:  # before 3.1
        DeadlineAlert = None

if DeadlineAlert is not None:
    late = {"to": "treasury@example.com", "from_email": "airflow@example.com", "html_content": "late"}
    with DAG(
        "whitebit_e2e_deadline",
        schedule=None,
        default_args=VAULT,
        deadline=DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=4),
            callback=AsyncCallback(SmtpNotifier, kwargs={**late, "subject": "The deadline was missed"}),
        ),
    ):
        WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="14.25")
