"""A person approves the plan before anything moves: plan, ask, carry out exactly what was approved.

The plan is a dry run. Airflow asks under "Required Actions"; whoever approves sees every move with its reason. What
was approved is carried out as it is, even if balances have changed meanwhile: the exchange refuses what no longer fits.
Airflow 3.1 and later.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.treasury import WhiteBitRebalanceOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except Exception:  # Airflow 3.0 has no human in the loop; its provider raises an error of its own
    ApprovalOperator = None

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

if ApprovalOperator is not None:
    with DAG(
        "whitebit_approval",
        description="Plan, ask a person, carry out",
        schedule=None,
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
            execution_timeout=timedelta(hours=8),
        )
        carry_out = WhiteBitRebalanceOperator(task_id="carry_out", policy=policy, approved_plan=plan.output)
        plan >> ask >> carry_out
