"""People approve a plan before anything moves: plan, ask, execute exactly the approved plan.

The plan is a dry run. Airflow asks under "Required Actions", and shows every move with its reason. A plan that moves no
more than `above` needs nobody. The approved plan is executed unchanged, even if balances have changed meanwhile: the
exchange refuses a move that does not fit. `whitebit_approval_two_people` asks a second, different person above a second
amount. Airflow 3.1 and later, with the standard provider 1.12.2 or later.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.approval import (
    WhiteBitApprovalOperator,
    WhiteBitApprovedPlanOperator,
    can_ask_people,
)
from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator

POLICY = '{"{{ params.ticker }}": {"reserve": "{{ params.reserve }}"}}'
PARAMS = {
    "ticker": Param("USDT", type="string"),
    "reserve": Param("5000", type="string"),
    "above": Param("1000", type="string", description="Ask a person above this amount"),
}


def dag(name: str, **params: Param) -> DAG:
    """Return an empty DAG that only people start."""
    return DAG(
        name,
        description="Plan, ask people, execute",
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=True,
        params={**PARAMS, **params},
        default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
        tags=["whitebit"],
    )


if can_ask_people():
    with dag("whitebit_approval"):
        # [START approval]
        plan = WhiteBitRebalanceOperator(task_id="plan", policy=POLICY, dry_run=True)
        ask = WhiteBitApprovalOperator(
            task_id="ask",
            plan=plan.output,
            above='{"{{ params.ticker }}": "{{ params.above }}"}',
            response_timeout=timedelta(hours=8),
        )
        WhiteBitApprovedPlanOperator(task_id="carry_out", approved_plan=ask.output)
        # [END approval]

    with dag("whitebit_approval_two_people", above_two=Param("10000", description="Ask two people above this amount")):
        plan = WhiteBitRebalanceOperator(task_id="plan", policy=POLICY, dry_run=True)
        first = WhiteBitApprovalOperator(
            task_id="first",
            plan=plan.output,
            above='{"{{ params.ticker }}": "{{ params.above }}"}',
            response_timeout=timedelta(hours=8),
        )
        second = WhiteBitApprovalOperator(
            task_id="second",
            plan=first.output,
            above='{"{{ params.ticker }}": "{{ params.above_two }}"}',
            response_timeout=timedelta(hours=8),
        )
        WhiteBitApprovedPlanOperator(task_id="carry_out", approved_plan=second.output)
