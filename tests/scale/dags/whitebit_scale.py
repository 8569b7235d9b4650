"""As many moves as the run is told to make, all at once: mapped invests and mapped withdrawals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator, WhiteBitFlexWithdrawOperator


@task
def wanted(kind: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return list((params or {})[kind])


with DAG(
    "whitebit_scale",
    schedule=None,
    max_active_tasks=64,
    params={"invest": Param([], type="array"), "withdraw": Param([], type="array")},
    default_args={"retries": 20, "retry_delay": timedelta(seconds=1), "retry_exponential_backoff": False},
):
    for name, operator in (("invest", WhiteBitFlexInvestOperator), ("withdraw", WhiteBitFlexWithdrawOperator)):
        operator.partial(task_id=name).expand_kwargs(wanted.override(task_id=f"wanted_{name}")(name))
