"""List sub-accounts, give one of them its allowance, and read what it holds and got.

The idempotency key names the allowance: however often a run is retried, cleared or made again, it is paid once a day.
To try it without money, use ``make ui`` or your own sandbox (``whitebit-sandbox serve``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.sub_accounts import (
    WhiteBitSubAccountBalancesOperator,
    WhiteBitSubAccountsOperator,
    WhiteBitSubAccountTransferOperator,
    WhiteBitSubAccountTransfersOperator,
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
    # [START pay]
    pay = WhiteBitSubAccountTransferOperator(
        task_id="pay",
        sub_account_id="{{ params.sub_account_id }}",
        direction="main_to_sub",
        ticker="{{ params.ticker }}",
        amount="{{ params.amount }}",
        idempotency_key="allowance of {{ params.sub_account_id }} on {{ dag_run.run_after | ds }}",
    )
    # [END pay]
    # [START read]
    read = WhiteBitSubAccountBalancesOperator(
        task_id="read", sub_account_id=pay.output["sub_account_id"], ticker=pay.output["ticker"]
    )
    # [END read]
    # [START transfers]
    transfers = WhiteBitSubAccountTransfersOperator(
        task_id="transfers", sub_account_id=pay.output["sub_account_id"], direction="main_to_sub", limit=10
    )
    # [END transfers]
    # [START sub_accounts]
    sub_accounts = WhiteBitSubAccountsOperator(task_id="sub_accounts")
    # [END sub_accounts]
    sub_accounts >> pay >> read >> transfers
