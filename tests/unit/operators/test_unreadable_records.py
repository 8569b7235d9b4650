"""Lists of plans and investments go on without a record that cannot be read; lists of payments are complete or fail."""

from __future__ import annotations

from functools import partial

import pytest
from airflow.sdk import DAG

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.operators import account, fixed, flex, sub_accounts
from tests.readings import CALLS, FIXED, FLEX, MAIN, changed, client_of


class Hook:
    """A hook whose client gets given answers."""

    def __init__(self, answers):
        self._client = client_of(answers)

    def get_conn(self):
        return self._client

    def balances(self, name, ticker):
        return self._client.main_balance()


def run(operator, answers):
    with DAG("dag", schedule=None):
        task = operator(task_id="task")
    task.hook = Hook(answers)
    return task.execute({})


@pytest.mark.parametrize(
    ("operator", "path", "field"),
    [
        (flex.WhiteBitFlexPlansOperator, f"{FLEX}/plans", "0.ticker"),
        (flex.WhiteBitFlexInvestmentsOperator, f"{FLEX}/investments", "data.0.invested"),
        (fixed.WhiteBitFixedPlansOperator, f"{FIXED}/plans", "0.status"),
        (fixed.WhiteBitFixedInvestmentsOperator, f"{FIXED}/investments", "records.0.amount"),
    ],
)
def test_an_unreadable_record_is_left_out_and_logged(operator, path, field, caplog):
    _, read = next(call for call in CALLS.values() if call[0] == path)
    found = run(operator, changed(path, field, None))
    assert found == [record.to_json() for record in read(client_of())[1:]]
    assert "Left out, because it cannot be read" in caplog.text
    assert f"field '{field.rpartition('.')[2]}' is missing or empty" in caplog.text


@pytest.mark.parametrize(
    ("operator", "path", "field"),
    [
        (flex.WhiteBitFlexHistoryOperator, f"{FLEX}/investments/history", "data.1.amount"),
        (flex.WhiteBitFlexPaymentsOperator, f"{FLEX}/investments/payment-history", "data.1.amount"),
        (fixed.WhiteBitFixedPaymentsOperator, f"{FIXED}/interest-payment-history", "records.0.amount"),
        (account.WhiteBitMainHistoryOperator, f"{MAIN}/history", "records.0.amount"),
        (
            partial(sub_accounts.WhiteBitSubAccountTransfersOperator, sub_account_id="sub-1"),
            "/api/v4/sub-account/transfer/history",
            "data.0.amount",
        ),
    ],
)
def test_a_list_of_payments_is_complete_or_fails(operator, path, field):
    with pytest.raises(errors.WhiteBitUnavailableError, match="field 'amount' is missing or empty"):
        run(operator, changed(path, field, None))


def test_a_balance_that_cannot_be_read_is_null():
    found = run(account.WhiteBitBalanceOperator, changed(f"{MAIN}/balance", "JUNK", None))
    assert found == {"USDT": "1000", "BTC": "1000", "JUNK": None}
