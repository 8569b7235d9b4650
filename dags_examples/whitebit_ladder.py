"""A maturity ladder of Fixed plans: the same amount for several terms, each renewed when it matures.

``whitebit_ladder_build`` makes the investments once. The exchange starts ``whitebit_ladder_renew`` when one of them
has matured: it invests the principal in the same plan again. It moves money by itself, so it is created paused.
Fixed plans need the exchange's B2B permission.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_whitebit.operators.fixed import WhiteBitFixedInvestOperator
from airflow_provider_whitebit.triggers.events import WhiteBitFixedMaturityTrigger

RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(minutes=1)}

# [START matured]
matured = Asset(
    "whitebit_fixed_matured",
    watchers=[AssetWatcher(name="whitebit_fixed_matured", trigger=WhiteBitFixedMaturityTrigger(poke_interval=300))],
)
# [END matured]

with DAG(
    "whitebit_ladder_build",
    description="The same amount for each of several terms",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={
        "ticker": Param("USDT", type="string"),
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$"),
        "days": Param([10, 30], type="array", items={"type": "integer", "minimum": 1}, uniqueItems=True),
    },
    default_args=RETRIES,
    tags=["whitebit"],
):

    @task
    def rungs(params: Any = None, run_id: str | None = None) -> list[dict[str, Any]]:
        # Airflow renders no templates in mapped arguments.
        same = {"ticker": params["ticker"], "amount": params["amount"]}
        return [{**same, "days": days, "idempotency_key": f"ladder {run_id} {days} days"} for days in params["days"]]

    WhiteBitFixedInvestOperator.partial(task_id="invest", max_active_tis_per_dag=1).expand_kwargs(rungs())

with DAG(
    "whitebit_ladder_renew",
    description="A term has ended: invest the same again",
    doc_md=__doc__,
    schedule=[matured],
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["whitebit"],
):

    @task
    def to_renew(triggering_asset_events: Any = None) -> list[dict[str, str]]:
        ended = [
            occurrence["record"]
            for events in triggering_asset_events.values()
            for event in events
            for occurrence in event.extra["payload"]["occurrences"]
        ]
        # Each term is renewed once, even if its end is reported to two runs.
        return [
            {"plan_id": entry["plan"]["id"], "amount": entry["amount"], "idempotency_key": f"renew {entry['id']}"}
            for entry in ended
        ]

    WhiteBitFixedInvestOperator.partial(task_id="renew", max_active_tis_per_dag=1).expand_kwargs(to_renew())
