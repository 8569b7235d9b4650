"""Take money out: a certain amount, or everything of an asset.

``whitebit_unwind`` makes an amount available in the spot balance, from the plans that earn least. Use it before money
is needed. ``whitebit_unwind_all`` ends every investment of an asset: it switches auto-reinvest off, closes Flex plans
and closes the Fixed plan before the end of its term, which forfeits the interest. Both are started by people only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.fixed import WhiteBitFixedCloseOperator
from airflow_provider_whitebit.operators.flex import WhiteBitFlexAutoReinvestOperator, WhiteBitFlexCloseOperator
from airflow_provider_whitebit.operators.treasury import WhiteBitRaiseLiquidityOperator

RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(minutes=1)}

with DAG(
    "whitebit_unwind",
    description="Make an amount available in spot",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={
        "ticker": Param("USDT", type="string"),
        "amount": Param("100", type="string", pattern=r"^\d+(\.\d+)?$"),
    },
    default_args=RETRIES,
    tags=["whitebit"],
):
    # [START raise]
    WhiteBitRaiseLiquidityOperator(
        task_id="raise", ticker="{{ params.ticker }}", amount="{{ params.amount }}", target="spot"
    )
    # [END raise]

with DAG(
    "whitebit_unwind_all",
    description="End all investments of an asset",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={"ticker": Param("USDT", type="string")},
    default_args=RETRIES,
    tags=["whitebit"],
):
    # [START auto_reinvest]
    pay_out = WhiteBitFlexAutoReinvestOperator(task_id="pay_out", ticker="{{ params.ticker }}", enabled=False)
    # [END auto_reinvest]
    # [START flex_close]
    close_flex = WhiteBitFlexCloseOperator(task_id="close_flex", ticker="{{ params.ticker }}")
    # [END flex_close]
    # [START fixed_close]
    close_fixed = WhiteBitFixedCloseOperator(task_id="close_fixed", ticker="{{ params.ticker }}")
    # [END fixed_close]
    pay_out >> close_flex
