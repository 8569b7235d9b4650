"""Ask a person about a move in doubt, in the DAG that made it.

If the exchange's records cannot show whether the move ran, the task ``doubt`` asks under "Required Actions". The answer
counts when the task of the move is cleared. If nothing is in doubt, ``doubt`` is skipped. Airflow 3.1 and later, with
the standard provider 1.12.2 or later.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.approval import can_ask_people
from airflow_provider_whitebit.operators.doubts import WhiteBitDoubtOperator
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator

if can_ask_people():
    with DAG(
        "whitebit_doubt",
        description="Invest; if that is in doubt, ask a person",
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=True,
        params={
            "ticker": Param("USDT", type="string"),
            "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$"),
        },
        default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
        tags=["whitebit"],
    ):
        # [START doubt]
        invest = WhiteBitFlexInvestOperator(
            task_id="invest", ticker="{{ params.ticker }}", amount="{{ params.amount }}"
        )
        invest >> WhiteBitDoubtOperator(task_id="doubt", response_timeout=timedelta(hours=8))
        # [END doubt]
