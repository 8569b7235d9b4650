"""Notices: what they say, and that nothing in them is taken for markup."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.definitions._internal.templater import SandboxedEnvironment

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.notifications import texts

RECEIPT = {
    "operation": "flex_invest",
    "transaction_id": "tx_1",
    "plan_id": None,
    "ticker": "USDT",
    "amount": "100.5",
    "status": "executed",
}


def rendered(template, returned=None, exception=None):
    task = SimpleNamespace(
        dag_id="dag",
        task_id="invest",
        run_id="manual__1<b>",
        try_number=2,
        map_index=-1,
        xcom_pull=lambda task_ids, map_indexes: returned,
    )
    return SandboxedEnvironment().from_string(template).render(ti=task, exception=exception)


def test_a_receipt():
    assert rendered(texts.RECEIPT_SUBJECT, RECEIPT) == "WhiteBIT: flex_invest 100.5 USDT executed - dag.invest"
    text = rendered(texts.RECEIPT_TEXT, RECEIPT)
    assert "transaction_id: tx_1\n" in text
    assert "plan_id" not in text
    html = rendered(texts.RECEIPT_HTML, {**RECEIPT, "ticker": "<i>"})
    assert "<td>&lt;i&gt;</td>" in html
    assert "manual__1&lt;b&gt;" in html


def test_several_receipts_and_none():
    two = [RECEIPT, {**RECEIPT, "amount": "7", "ticker": "BTC"}]
    subject = rendered(texts.RECEIPT_SUBJECT, two)
    assert subject == "WhiteBIT: flex_invest 100.5 USDT executed, flex_invest 7 BTC executed - dag.invest"
    assert rendered(texts.RECEIPT_TEXT, two).count("transaction_id") == 2
    assert rendered(texts.RECEIPT_TEXT, None) == "Run: manual__1<b>"


@pytest.mark.parametrize(
    ("error", "subject"),
    [
        (e.WhiteBitInDoubt("two records fit"), "WhiteBIT: IN DOUBT, a person must look - dag.invest"),
        # Before Airflow 3.3 an error that is for good comes as Airflow's own.
        (AirflowFailException("WhiteBitInDoubt: two"), "WhiteBIT: IN DOUBT, a person must look - dag.invest"),
        (e.WhiteBitRefusedError("Amount is too small"), "WhiteBIT: failed - dag.invest"),
    ],
)
def test_a_failure(error, subject):
    assert rendered(texts.FAILURE_SUBJECT, exception=error) == subject
    assert str(error) in rendered(texts.FAILURE_TEXT, exception=error)
    assert "try 2" in rendered(texts.FAILURE_HTML, exception=error)


def test_a_carried_out_plan_tells_of_its_receipts():
    made = {"status": "executed", "plan": {"moves": []}, "receipts": [RECEIPT, {**RECEIPT, "ticker": "BTC"}]}
    assert rendered(texts.RECEIPT_SUBJECT, made) == (
        "WhiteBIT: flex_invest 100.5 USDT executed, flex_invest 100.5 BTC executed - dag.invest"
    )
    assert rendered(texts.RECEIPT_TEXT, made).count("transaction_id") == 2
    assert rendered(texts.RECEIPT_HTML, made).count("<table>") == 2
    nothing = {"status": "nothing_to_do", "plan": {"moves": []}, "receipts": []}
    assert rendered(texts.RECEIPT_SUBJECT, nothing) == "WhiteBIT: nothing moved - dag.invest"
