"""The life of a Flex investment, in TaskFlow style with the hook.

Like the operators', each of the hook's moves is made exactly once for its task.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task


@dag(
    schedule=None,
    is_paused_upon_creation=True,
    tags=["whitebit", "example"],
    doc_md=__doc__,
    params={
        "ticker": Param("USDT", type="string", description="The asset to invest."),
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$", description="The amount of it."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
)
def whitebit_flex_taskflow() -> None:
    @task
    def best_plan(params: Any = None) -> dict[str, Any]:
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        plans = list(WhiteBitHook().get_conn().flex_plans(ticker=params["ticker"]))
        return min(plans, key=lambda plan: plan.min_investment).to_json()

    @task
    def invest(plan: Any, params: Any = None) -> dict[str, Any]:
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        return WhiteBitHook().flex_invest(plan_id=plan["id"], amount=params["amount"]).to_json()

    @task
    def status(receipt: Any) -> list[dict[str, Any]]:
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        client = WhiteBitHook().get_conn()
        return [entry.to_json() for entry in client.flex_investments(plan=receipt["plan_id"])]

    @task
    def withdraw(receipt: Any) -> dict[str, Any]:
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        return WhiteBitHook().flex_withdraw(plan_id=receipt["plan_id"], amount="all").to_json()

    receipt = invest(best_plan())
    status(receipt) >> withdraw(receipt)


whitebit_flex_taskflow()
