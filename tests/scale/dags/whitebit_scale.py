"""Makes the moves that the run's parameters list, all at once: mapped invests and mapped withdrawals."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator, WhiteBitFlexWithdrawOperator


@task
def wanted(kind: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return list((params or {})[kind])


def wait_at_the_gate(context: Mapping[str, Any]) -> None:
    """Delay the last move of each kind until the run's gate file exists, so the run cannot end before."""
    instance, params = context["ti"], context["params"]
    if instance.map_index == len(params[instance.task_id]) - 1:
        while not Path(params["gate"]).exists():
            time.sleep(0.5)


with DAG(
    "whitebit_scale",
    schedule=None,
    max_active_tasks=64,
    params={"invest": Param([], type="array"), "withdraw": Param([], type="array"), "gate": Param("", type="string")},
    default_args={"retries": 20, "retry_delay": timedelta(seconds=1), "retry_exponential_backoff": False},
):
    for name, operator in (("invest", WhiteBitFlexInvestOperator), ("withdraw", WhiteBitFlexWithdrawOperator)):
        operator.partial(task_id=name, pool="whitebit", pre_execute=wait_at_the_gate).expand_kwargs(
            wanted.override(task_id=f"wanted_{name}")(name)
        )
