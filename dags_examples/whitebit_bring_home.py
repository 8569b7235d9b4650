"""Transfer from the trade balance to Main, where lending takes it from, and read both balances.

To try it without money, use ``make ui`` or your own sandbox (``whitebit-sandbox serve``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.account import WhiteBitBalanceOperator, WhiteBitTransferOperator

with DAG(
    "whitebit_bring_home",
    description="Transfer between trade and Main balance",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={
        "ticker": Param("USDT", type="string"),
        "amount": Param("25", type="string", pattern=r"^\d+(\.\d+)?$"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    # [START out]
    out = WhiteBitTransferOperator(
        task_id="out", ticker="{{ params.ticker }}", amount="{{ params.amount }}", source="main", target="spot"
    )
    # [END out]
    # [START spot]
    spot = WhiteBitBalanceOperator(task_id="spot", account="spot", ticker="{{ params.ticker }}")
    # [END spot]
    # [START home]
    home = WhiteBitTransferOperator(
        task_id="home", ticker="{{ params.ticker }}", amount=out.output["amount"], source="spot", target="main"
    )
    # [END home]
    main = WhiteBitBalanceOperator(task_id="main", account="main", ticker="{{ params.ticker }}")
    out >> spot >> home >> main
