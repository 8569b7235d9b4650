"""A person approves a plan before anything moves: plan, ask, carry out exactly the approved plan.

The plan is a dry run. Airflow asks under "Required Actions", and shows every move with its reason. The approved plan
is carried out unchanged, even if balances have changed meanwhile: the exchange refuses a move that does not fit.
Airflow 3.1 and later, with the standard provider 1.12.2 or later.
"""

from __future__ import annotations

from datetime import timedelta
from inspect import signature

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
except Exception:  # Airflow 3.0 cannot ask people; its provider raises an error of its own
    CAN_ASK = False
else:
    # The standard provider has it since 1.12.2.
    CAN_ASK = "response_timeout" in signature(HITLOperator.__init__).parameters

MOVES = """
{% set planned = ti.xcom_pull(task_ids='plan')['plan'] %}
{% for one in planned.moves %}
- **{{ one.move.operation }} {{ one.move.amount }} {{ one.move.ticker }}**: {{ one.reason }}
{% else %}
Nothing to do.
{% endfor %}
{% for note in planned.notes %}
- Note: {{ note }}
{% endfor %}
"""

if CAN_ASK:
    with DAG(
        "whitebit_approval",
        description="Plan, ask a person, carry out",
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=True,
        params={"ticker": Param("USDT", type="string"), "reserve": Param("5000", type="string")},
        default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
        tags=["whitebit"],
    ):
        policy = '{"{{ params.ticker }}": {"reserve": "{{ params.reserve }}"}}'
        plan = WhiteBitRebalanceOperator(task_id="plan", policy=policy, dry_run=True)
        ask = ApprovalOperator(
            task_id="ask",
            subject="Carry out this plan?",
            body=MOVES,
            response_timeout=timedelta(hours=8),
        )
        carry_out = WhiteBitRebalanceOperator(task_id="carry_out", policy=policy, approved_plan=plan.output)
        plan >> ask >> carry_out
