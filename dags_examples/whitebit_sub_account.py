"""Give a sub-account its allowance, and read what it holds.

The idempotency key names the allowance: however often a run is retried, cleared or made again, it is paid once a day.
To try it without money, use ``make ui`` or your own sandbox (``whitebit-sandbox serve``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.sub_accounts import (
    WhiteBitSubAccountBalancesOperator,
    WhiteBitSubAccountTransferOperator,
)

with DAG(
    "whitebit_sub_account",
    description="Pay the allowance of a sub-account",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    params={
        # A sub-account of the sandbox.
        "sub_account_id": Param("a4b7c8d9-0e1f-4a2b-8c3d-4e5f60718293", type="string"),
        "ticker": Param("USDT", type="string"),
        "amount": Param("25", type="string", pattern=r"^\d+(\.\d+)?$"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["whitebit"],
):
    pay = WhiteBitSubAccountTransferOperator(
        task_id="pay",
        sub_account_id="{{ params.sub_account_id }}",
        direction="main_to_sub",
        ticker="{{ params.ticker }}",
        amount="{{ params.amount }}",
        idempotency_key="allowance of {{ params.sub_account_id }} on {{ dag_run.run_after | ds }}",
    )
    read = WhiteBitSubAccountBalancesOperator(
        task_id="read", sub_account_id=pay.output["sub_account_id"], ticker=pay.output["ticker"]
    )
    pay >> read
