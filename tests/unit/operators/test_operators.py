from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk import DAG

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.moves.journal import JournalError
from airflow_provider_whitebit.operators import account, fixed, flex, treasury
from airflow_provider_whitebit.operators.base import WhiteBitRetryPolicy, as_boolean

OPERATORS = [
    treasury.WhiteBitSweepOperator,
    treasury.WhiteBitRebalanceOperator,
    treasury.WhiteBitRaiseLiquidityOperator,
    account.WhiteBitBalanceOperator,
    flex.WhiteBitFlexPlansOperator,
    flex.WhiteBitFlexInvestmentsOperator,
    flex.WhiteBitFlexHistoryOperator,
    flex.WhiteBitFlexPaymentsOperator,
    flex.WhiteBitFlexInvestOperator,
    flex.WhiteBitFlexWithdrawOperator,
    flex.WhiteBitFlexCloseOperator,
    flex.WhiteBitFlexAutoReinvestOperator,
    fixed.WhiteBitFixedPlansOperator,
    fixed.WhiteBitFixedInvestmentsOperator,
    fixed.WhiteBitFixedPaymentsOperator,
    fixed.WhiteBitFixedInvestOperator,
    fixed.WhiteBitFixedCloseOperator,
    account.WhiteBitTransferOperator,
    treasury.WhiteBitFlexStatementOperator,
]
NEEDED = {
    treasury.WhiteBitSweepOperator: {"policy": {"USDT": {}}},
    treasury.WhiteBitRebalanceOperator: {"policy": {"USDT": {}}},
    treasury.WhiteBitRaiseLiquidityOperator: {"ticker": "USDT", "amount": "1"},
    flex.WhiteBitFlexInvestOperator: {"ticker": "USDT", "amount": "1"},
    flex.WhiteBitFlexWithdrawOperator: {"ticker": "USDT", "amount": "all"},
    flex.WhiteBitFlexCloseOperator: {"ticker": "USDT"},
    flex.WhiteBitFlexAutoReinvestOperator: {"ticker": "USDT", "enabled": True},
    fixed.WhiteBitFixedInvestOperator: {"ticker": "USDT", "amount": "1"},
    fixed.WhiteBitFixedCloseOperator: {"ticker": "USDT"},
    account.WhiteBitTransferOperator: {"ticker": "USDT", "amount": "1", "source": "main", "target": "spot"},
}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_every_user_value_is_templated(operator):
    task = operator(task_id="t", **NEEDED.get(operator, {}))
    values = {name for name in vars(task) if not name.startswith("_")}
    own = values & {
        "whitebit_conn_id", "account", "ticker", "plan_id", "amount", "limit", "investment", "investment_status",
        "transaction", "date_from", "date_to", "action_types", "with_reinvest", "enabled", "dry_run",
        "days", "investment_id", "source", "target", "output_path", "output_format", "output_conn_id",
        "tickers", "start", "end", "reinvested_as", "full_history", "fail_on_discrepancy",
        "policy", "approved_plan", "accept_less",
    }  # fmt: skip
    assert own == set(operator.template_fields)
    assert operator.__doc__


@pytest.mark.parametrize("operator", [operator for operator in NEEDED if "amount" in NEEDED[operator]])
def test_a_float_is_refused_when_the_dag_is_read(operator):
    with pytest.raises(e.WhiteBitValidationError, match=r'"0\.1"'):
        operator(task_id="t", **{**NEEDED[operator], "amount": 0.1})


def test_plan_and_ticker_exclude_each_other():
    for operator, needed in NEEDED.items():
        if operator is account.WhiteBitTransferOperator or operator.__module__ == treasury.__name__:
            continue
        with pytest.raises(ValueError, match="either"):
            operator(task_id="t", plan_id="x", **needed)


FOR_GOOD = [
    e.WhiteBitConfigurationError("x"),
    e.WhiteBitValidationError("x"),
    e.WhiteBitLimitError("x"),
    e.WhiteBitRefusedError("x"),
    e.WhiteBitNotEnoughBalanceError("x"),
    e.WhiteBitAuthenticationError("x"),
    e.WhiteBitPermissionError("x"),
    e.WhiteBitInDoubt("x"),
]
NO_POLICY = WhiteBitRetryPolicy is None


@pytest.mark.parametrize("error", FOR_GOOD)
def test_no_retries_for_what_cannot_succeed(error):
    def fails():
        raise error

    task = flex.WhiteBitFlexPlansOperator(task_id="t")
    with pytest.raises(AirflowFailException if NO_POLICY else type(error)) as caught:
        task.ask(fails)
    if NO_POLICY:
        assert type(error).__name__ in str(caught.value)
        assert caught.value.__cause__ is error
    else:
        decision = task.retry_policy.evaluate(caught.value, 1, 4)
        assert decision.action.value == "fail"
        assert type(error).__name__ in decision.reason


@pytest.mark.skipif(NO_POLICY, reason="Airflow before 3.3 has no retry policies")
class TestRetryPolicy:
    def test_what_passes_is_retried_as_the_task_says(self):
        for error in (e.WhiteBitUnavailableError("x"), e.WhiteBitRateLimitError("x"), JournalError("x"), OSError()):
            assert WhiteBitRetryPolicy().evaluate(error, 1, 4).action.value == "default"

    def test_a_policy_of_ones_own_is_kept(self):
        own = type("Own", (WhiteBitRetryPolicy,), {})()
        assert flex.WhiteBitFlexPlansOperator(task_id="t", retry_policy=own).retry_policy is own
        with DAG("own", default_args={"retry_policy": own}):
            assert flex.WhiteBitFlexPlansOperator(task_id="t").retry_policy is own

    def test_it_can_be_kept(self):
        assert isinstance(WhiteBitRetryPolicy.deserialize(WhiteBitRetryPolicy().serialize()), WhiteBitRetryPolicy)


def test_operators_can_be_mapped():
    with DAG("mapped", schedule=None) as dag:
        flex.WhiteBitFlexInvestOperator.partial(task_id="t", ticker="USDT").expand(amount=["10", "20"])
    task = dag.get_task("t").unmap({"amount": "10"})
    assert (task.ticker, task.amount) == ("USDT", "10")
    assert (getattr(task, "retry_policy", None) is None) is NO_POLICY


@pytest.mark.parametrize("kind", [e.WhiteBitUnavailableError, e.WhiteBitRateLimitError, e.WhiteBitNonceError])
def test_retries_for_what_passes(kind):
    def fails():
        raise kind("x")

    with pytest.raises(kind):
        flex.WhiteBitFlexPlansOperator(task_id="t").ask(fails)


@pytest.mark.parametrize(("value", "meant"), [(True, True), ("true", True), ("False", False), (" TRUE ", True)])
def test_booleans(value, meant):
    assert as_boolean("x", value) is meant


@pytest.mark.parametrize("value", ["", "yes", 1, None, "{{ x }}"])
def test_no_booleans(value):
    with pytest.raises(e.WhiteBitValidationError):
        as_boolean("x", value)


@pytest.mark.parametrize(
    "filters",
    [
        {"limit": "many"}, {"limit": 0}, {"limit": -1}, {"limit": True}, {"plan_id": "x"}, {"date_from": "yesterday"},
        {"date_to": "2026-13-01"}, {"date_from": "2026-01-01T00:00:00"},
    ],
)  # fmt: skip
def test_wrong_filters(filters):
    sent = []
    task = flex.WhiteBitFlexHistoryOperator(task_id="t", **filters)
    from airflow_provider_whitebit.client.api import WhiteBitClient

    client = WhiteBitClient(SimpleNamespace(private=lambda *call: sent.append(call) or {"data": []}))
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    with pytest.raises((AirflowFailException, e.WhiteBitValidationError)):
        task.execute({})
    assert sent == []


def test_filters_reach_the_client():
    sent = []
    task = flex.WhiteBitFlexHistoryOperator(
        task_id="t", action_types="[1, 6]", date_from="2026-01-01T00:00:00+00:00", date_to="1767312000", limit="5"
    )
    from airflow_provider_whitebit.client.api import WhiteBitClient

    client = WhiteBitClient(SimpleNamespace(private=lambda path, params: sent.append(params) or {"data": []}))
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    assert task.execute({}) == []
    assert sent == [{"dateFrom": 1767225600, "dateTo": 1767312000, "actionTypes": [1, 6], "limit": 5, "offset": 0}]
