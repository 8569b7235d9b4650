"""What happens after a move cannot fail its task: it is logged, and the receipt is returned."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.hooks import after_move, airflow_compat, assets, executor, metrics
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.operators.account import WhiteBitTransferOperator
from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.operators.treasury import WhiteBitSweepOperator

try:
    from airflow.sdk.exceptions import AirflowTaskTimeout
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowTaskTimeout


class Broken(Exception):
    """What is reported does not work."""


@pytest.fixture
def context(as_task, monkeypatch):
    as_task(1)
    instance = SimpleNamespace(task=SimpleNamespace(outlets=[]), xcom_push=lambda name, value: None)
    context = {"ti": instance, "outlet_events": OutletEventAccessors()}
    monkeypatch.setattr(executor, "current_context", lambda: context)
    monkeypatch.setattr(metrics, "metrics_are_on", lambda: True)
    metrics._report.cache_clear()
    return context


def raiser(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


def break_logging(patch, context, error):
    """Break what is logged of a receipt, and of errors after the move."""
    for module in (after_move, executor):
        patch.setattr(module, "log", SimpleNamespace(info=logging.getLogger("quiet").info, warning=raiser(error)))
    patch.setattr(WhiteBitOperator, "log", SimpleNamespace(info=raiser(error), warning=lambda message: None))


#: What is broken, by name: each is given monkeypatch, the context and the error.
REPORTS = {
    "assets": lambda patch, _, error: patch.setattr(assets, "create_asset", raiser(error)),
    "announcement": lambda patch, _, error: patch.setattr(assets, "announce", raiser(error)),
    "outlet events": lambda patch, context, error: patch.setitem(
        context, "outlet_events", type("Events", (), {"__getitem__": raiser(error)})()
    ),
    "context": lambda patch, _, error: patch.setattr(executor, "current_context", raiser(error)),
    "lineage": lambda patch, _, error: patch.setattr(airflow_compat, "lineage_collector", raiser(error)),
    "metrics": lambda patch, _, error: patch.setattr(metrics, "stats", raiser(error)),
    "duration": lambda patch, _, error: patch.setattr(metrics, "_send", raiser(error)),
    "XCom": lambda patch, context, error: patch.setattr(context["ti"], "xcom_push", raiser(error)),
    "logging": break_logging,
}
OPERATORS = {
    "move": lambda: WhiteBitFlexInvestOperator(task_id="t", ticker="USDT", amount="1000"),
    "two steps": lambda: WhiteBitTransferOperator(
        task_id="t", ticker="USDT", amount="10", source="spot", target="collateral"
    ),
    "plan": lambda: WhiteBitSweepOperator(task_id="t", policy={"USDT": {"reserve": "1000", "min_move": "10"}}),
}


def receipts(result):
    found = result.get("receipts", [result]) if isinstance(result, dict) else result
    assert found
    return found


@pytest.fixture
def operator(request, hook):
    made = OPERATORS[request.param]()
    made.__dict__["hook"] = hook
    if request.param == "two steps":
        hook.transfer(ticker="USDT", amount="10", source="main", target="spot", key="before")
    return made


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("operator", OPERATORS, indirect=True)
def test_what_fails_after_a_move_is_logged(operator, sandbox, context, as_task, monkeypatch, caplog, report):
    with monkeypatch.context() as patch:
        REPORTS[report](patch, context, Broken("no"))
        result = receipts(operator.execute(context))
        assert {receipt["status"] for receipt in result} == {"executed"}
        # Only the operators of one move push each field.
        silent = report == "logging" or (report == "XCom" and not isinstance(operator, WhiteBitFlexInvestOperator))
        assert silent or "Broken" in caplog.text
        # A retry returns the same receipts and sends nothing.
        before = sandbox.ledger()["transactions"]
        as_task(2)
        assert receipts(operator.execute(context)) == result
        assert sandbox.ledger()["transactions"] == before


@pytest.mark.parametrize("report", [name for name in REPORTS if name != "logging"])
@pytest.mark.parametrize("operator", ["move"], indirect=True)
def test_a_timeout_of_airflow_is_not_swallowed(operator, sandbox, context, monkeypatch, as_task, report):
    with monkeypatch.context() as patch:
        REPORTS[report](patch, context, AirflowTaskTimeout("too late"))
        with pytest.raises(AirflowTaskTimeout):
            operator.execute(context)
    as_task(2)
    receipt = operator.execute(context)
    assert receipt["status"] == "executed"
    made = [entry["transaction_id"] for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]
    assert made == [receipt["transaction_id"]]


def test_a_masker_that_fails_stops_the_task_before_anything_is_sent(hook, sandbox, monkeypatch):
    monkeypatch.setattr("airflow_provider_whitebit.hooks.settings.mask_secret", raiser(Broken("no")))
    before = len(sandbox.requests())
    with pytest.raises(Broken):
        WhiteBitHook().flex_invest(ticker="USDT", amount="1000")
    assert len(sandbox.requests()) == before


def test_metrics_of_a_refusal_do_not_hide_it(hook, context, monkeypatch):
    monkeypatch.setattr(metrics, "stats", raiser(Broken("no")))
    monkeypatch.setattr(metrics, "_report", raiser(Broken("no log either")))
    with pytest.raises(WhiteBitValidationError):
        hook.transfer(ticker="USDT", amount="99999999", source="main", target="spot")


@pytest.mark.parametrize("error", [Broken("no"), OSError("gone")])
def test_a_link_that_cannot_be_made_is_empty(error):
    operator = OPERATORS["move"]()
    operator.__dict__["hook"] = type("Hook", (), {"lending_url": property(raiser(error))})()
    assert operator.operator_extra_links[0].get_link(operator, ti_key=None) == ""
