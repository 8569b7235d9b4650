"""Notices: their contents, their lines, and that nothing in them becomes markup."""

from __future__ import annotations

from html import unescape
from types import SimpleNamespace

import pytest
from airflow.sdk.definitions._internal.templater import SandboxedEnvironment
from jinja2 import StrictUndefined

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.moves.doubts import RECORD_STEPS
from airflow_provider_whitebit.notifications import texts

RECEIPT = {
    "operation": "flex_invest",
    "transaction_id": "tx_1",
    "plan_id": None,
    "ticker": "USDT",
    "amount": "100.5",
    "status": "executed",
}


class AirflowTaskTimeout(BaseException):
    """Named as Airflow's, which is in other modules before 3.2."""


class TaskDeferralTimeout(Exception):
    """Named as Airflow's."""


class TaskDeferralError(Exception):
    """Named as Airflow's."""


def rendered(template, returned=None, *, autoescape=False, **context):
    task = SimpleNamespace(
        dag_id="dag",
        task_id="invest",
        run_id="manual__1<b>",
        try_number=2,
        map_index=-1,
        xcom_pull=lambda task_ids, map_indexes: returned,
    )
    # As a DAG's environment: a name that is missing in the context is an error.
    environment = SandboxedEnvironment(autoescape=autoescape, undefined=StrictUndefined)
    return environment.from_string(template).render(ti=task, **context)


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
    assert rendered(texts.RECEIPT_TEXT, None) == "no receipt in its XCom\nRun: manual__1<b>"
    assert rendered(texts.RECEIPT_TEXT, []) == "nothing moved\nRun: manual__1<b>"
    assert rendered(texts.RECEIPT_HTML, []) == "<p>nothing moved</p><p>Run manual__1&lt;b&gt;</p>"
    assert rendered(texts.RECEIPT_SUBJECT, []) == "WhiteBIT: nothing moved - dag.invest"


def test_a_task_without_an_xcom_may_have_moved():
    """``do_xcom_push=False``, or a ``@task`` that returns nothing."""
    assert rendered(texts.RECEIPT_SUBJECT) == "WhiteBIT: no receipt in its XCom - dag.invest"


@pytest.mark.parametrize("returned", ["a text", 7, {"rows": 3}, [1, "x"]], ids=str)
def test_what_is_no_receipt_is_not_taken_for_one(returned):
    """A notice that cannot be rendered is not sent."""
    assert rendered(texts.RECEIPT_SUBJECT, returned) == "WhiteBIT: no receipt in its XCom - dag.invest"
    assert rendered(texts.RECEIPT_TEXT, returned) == "no receipt in its XCom\nRun: manual__1<b>"


def test_a_receipt_without_an_amount():
    """A switch of auto-reinvest has none; that of a move may be unknown."""
    switched = {"operation": "flex_auto_reinvest", "ticker": "USDT", "enabled": True, "status": "executed"}
    assert rendered(texts.RECEIPT_SUBJECT, switched) == "WhiteBIT: flex_auto_reinvest USDT executed - dag.invest"
    assert "enabled: True\n" in rendered(texts.RECEIPT_TEXT, switched)
    unknown = {**RECEIPT, "amount": None}
    assert rendered(texts.RECEIPT_SUBJECT, unknown) == "WhiteBIT: flex_invest USDT executed - dag.invest"


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"exception": None},
        {"exception": AirflowTaskTimeout("Timeout, PID: 7")},
        # A task waits in the triggerer while a move is in doubt.
        {"exception": TaskDeferralTimeout("Timeout, PID: 7")},
        {"exception": TaskDeferralError("Timeout, PID: 7")},
        {"exception": SystemExit("Timeout, PID: 7")},
        {"exception": MemoryError("Timeout, PID: 7")},
    ],
    ids=str,
)
def test_a_task_that_was_killed_or_timed_out_may_have_moved(context):
    """Airflow's context has no error if the process was killed."""
    assert rendered(texts.FAILURE_SUBJECT, **context) == "WhiteBIT: failed - dag.invest"
    for template in (texts.FAILURE_TEXT, texts.FAILURE_HTML):
        text = rendered(template, **context)
        assert "Whether money moved is not known" in text
        assert ("Timeout, PID: 7" if context.get("exception") else "was killed") in text


@pytest.mark.parametrize(
    ("error", "subject"),
    [
        (e.WhiteBitInDoubtError("two records fit"), "WhiteBIT: IN DOUBT, a person must check - dag.invest"),
        # Before Airflow 3.3, a permanent error is raised as Airflow's own.
        (AirflowFailException("WhiteBitInDoubtError: two"), "WhiteBIT: IN DOUBT, a person must check - dag.invest"),
        (e.WhiteBitRefusedError("Amount is too small"), "WhiteBIT: failed - dag.invest"),
    ],
)
def test_a_failure(error, subject):
    assert rendered(texts.FAILURE_SUBJECT, exception=error) == subject
    assert str(error) in rendered(texts.FAILURE_TEXT, exception=error)
    assert "try 2" in rendered(texts.FAILURE_HTML, exception=error)


@pytest.fixture
def failed_plan():
    """An error with every fact that a notice must show."""
    error = e.WhiteBitPlanError(
        "One of two moves was refused.", path="/api/v4/x", status=422, said="Amount <b>too</b> small"
    )
    error.add_completed([RECEIPT])
    error.next_step = ("Clear the task.", "Fund the balance.")
    return error


def test_a_failure_as_plain_text_keeps_its_lines(failed_plan):
    assert rendered(texts.FAILURE_TEXT, exception=failed_plan).splitlines() == [
        "WhiteBitPlanError: One of two moves was refused.",
        "The exchange said: Amount <b>too</b> small",
        "Call: /api/v4/x, HTTP 422",
        "Already moved by this task: flex_invest 100.5 USDT (transaction tx_1).",
        "Next steps:",
        "1. Clear the task.",
        "2. Fund the balance.",
        "Run: manual__1<b>, try 2",
    ]


@pytest.mark.parametrize("autoescape", [False, True])
def test_a_failure_as_html_shows_each_line(failed_plan, autoescape):
    assert rendered(texts.FAILURE_HTML, exception=failed_plan, autoescape=autoescape).splitlines() == [
        "<p><b>WhiteBitPlanError</b></p><p>One of two moves was refused.<br>",
        "The exchange said: Amount &lt;b&gt;too&lt;/b&gt; small<br>",
        "Call: /api/v4/x, HTTP 422<br>",
        "Already moved by this task: flex_invest 100.5 USDT (transaction tx_1).<br>",
        "Next steps:<br>",
        "1. Clear the task.<br>",
        "2. Fund the balance.",
        "</p><p>Run manual__1&lt;b&gt;, try 2</p>",
    ]


def test_the_notice_of_a_doubt_has_all_steps():
    error = e.WhiteBitInDoubtError("Two records fit.", intent_id="i", next_step=RECORD_STEPS)
    for template in (texts.FAILURE_TEXT, texts.FAILURE_HTML):
        text = unescape(rendered(template, exception=error))
        assert all(step in text for step in RECORD_STEPS)
        assert "Whether money moved is not known." in text


def test_the_notice_of_a_plan_has_its_receipts():
    made = {"status": "executed", "plan": {"moves": []}, "receipts": [RECEIPT, {**RECEIPT, "ticker": "BTC"}]}
    assert rendered(texts.RECEIPT_SUBJECT, made) == (
        "WhiteBIT: flex_invest 100.5 USDT executed, flex_invest 100.5 BTC executed - dag.invest"
    )
    assert rendered(texts.RECEIPT_TEXT, made).count("transaction_id") == 2
    assert rendered(texts.RECEIPT_HTML, made).count("<table>") == 2
    nothing = {"status": "nothing_to_do", "plan": {"moves": []}, "receipts": []}
    assert rendered(texts.RECEIPT_SUBJECT, nothing) == "WhiteBIT: nothing moved - dag.invest"


@pytest.mark.parametrize("autoescape", [False, True])
def test_the_notice_of_a_plan_says_what_it_could_not_do(autoescape):
    """Without that, a task that raised less than was wanted looks like one that had nothing to do."""
    plan = {"moves": [], "notes": ["Plan <p> is paused."], "shortfalls": {"USDT": "5000"}, "auto_reinvest": {}}
    made = {"status": "nothing_to_do", "plan": plan, "receipts": []}

    def shown(template):
        return unescape(rendered(template, made, autoescape=autoescape))

    assert shown(texts.RECEIPT_SUBJECT) == "WhiteBIT: nothing moved, 5000 USDT missing - dag.invest"
    assert shown(texts.RECEIPT_TEXT) == (
        "nothing moved\nStill missing: 5000 USDT\nNote: Plan <p> is paused.\nRun: manual__1<b>"
    )
    html = rendered(texts.RECEIPT_HTML, made, autoescape=autoescape)
    assert "<p>Still missing: 5000 USDT</p><p>Note: Plan &lt;p&gt; is paused.</p><p>Run manual" in html
