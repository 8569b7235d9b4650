from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, Asset, AssetAlias

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.operators import (
    account,
    approval,
    digest,
    fixed,
    flex,
    forecast,
    journal_entries,
    sub_accounts,
    treasury,
    valuation,
)
from airflow_provider_whitebit.operators.base import WhiteBitRetryPolicy

OPERATORS = [
    treasury.WhiteBitSweepOperator,
    treasury.WhiteBitRebalanceOperator,
    treasury.WhiteBitRaiseLiquidityOperator,
    approval.WhiteBitApprovedPlanOperator,
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
    account.WhiteBitMainHistoryOperator,
    sub_accounts.WhiteBitSubAccountsOperator,
    sub_accounts.WhiteBitSubAccountBalancesOperator,
    sub_accounts.WhiteBitSubAccountTransfersOperator,
    sub_accounts.WhiteBitSubAccountTransferOperator,
    treasury.WhiteBitFlexStatementOperator,
    journal_entries.WhiteBitJournalEntriesOperator,
    forecast.WhiteBitForecastOperator,
    digest.WhiteBitDigestOperator,
    valuation.WhiteBitValuationOperator,
]
NEEDED = {
    journal_entries.WhiteBitJournalEntriesOperator: {"output_path": "books"},
    valuation.WhiteBitValuationOperator: {"value_in": "USDT"},
    approval.WhiteBitApprovedPlanOperator: {"approved_plan": {}},
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
    sub_accounts.WhiteBitSubAccountBalancesOperator: {"sub_account_id": "sub"},
    sub_accounts.WhiteBitSubAccountTransfersOperator: {"sub_account_id": "sub"},
    sub_accounts.WhiteBitSubAccountTransferOperator: {
        "sub_account_id": "sub",
        "direction": "main_to_sub",
        "ticker": "USDT",
        "amount": "1",
    },
}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_every_user_value_is_templated(operator):
    task = operator(task_id="t", **NEEDED.get(operator, {}))
    values = {name for name in vars(task) if not name.startswith("_")}
    own = values & {
        "whitebit_conn_id", "account", "ticker", "plan_id", "amount", "limit", "investment_status",
        "transaction", "date_from", "date_to", "action_types", "with_reinvest", "enabled", "dry_run", "idempotency_key",
        "days", "investment_id", "source", "target", "output_path", "output_format", "output_conn_id",
        "tickers", "start", "end", "reinvested_as", "full_history", "fail_on_discrepancy",
        "policy", "approved_plan", "accept_less", "kind", "sub_account_id", "direction", "search",
        "formats", "accounts", "prices", "tax_rate", "continues", "replace", "fixed", "sub_accounts",
        "main_changes", "until", "rate_days", "period", "ahead_days", "fail_on_notifier_error", "value_in",
    }  # fmt: skip
    assert own == set(operator.template_fields)
    assert operator.__doc__


@pytest.mark.parametrize("operator", [operator for operator in NEEDED if "amount" in NEEDED[operator]])
def test_a_float_is_refused_when_the_dag_is_read(operator):
    with pytest.raises(e.WhiteBitValidationError, match=r'"0\.1"'):
        operator(task_id="t", **{**NEEDED[operator], "amount": 0.1})


def test_plan_and_ticker_exclude_each_other():
    without = {module.__name__ for module in (account, approval, journal_entries, sub_accounts, treasury, valuation)}
    for operator, needed in NEEDED.items():
        if operator.__module__ in without:
            continue
        with pytest.raises(ValueError, match="give only one of"):
            operator(task_id="t", plan_id="x", **needed)


PERMANENT_ERRORS = [
    e.WhiteBitConfigurationError("x"),
    e.WhiteBitValidationError("x"),
    e.WhiteBitLimitError("x"),
    e.WhiteBitRefusedError("x"),
    e.WhiteBitNotEnoughBalanceError("x"),
    e.WhiteBitAuthenticationError("x"),
    e.WhiteBitPermissionError("x"),
    e.WhiteBitInDoubtError("x"),
]
NO_POLICY = WhiteBitRetryPolicy is None


@pytest.mark.parametrize("error", PERMANENT_ERRORS)
def test_permanent_errors_are_not_retried(error):
    task = flex.WhiteBitFlexPlansOperator(task_id="t")
    with pytest.raises(AirflowFailException if NO_POLICY else type(error)) as caught, task.airflow_errors():
        raise error
    if NO_POLICY:
        assert type(error).__name__ in str(caught.value)
        assert caught.value.__cause__ is error
    else:
        decision = task.retry_policy.evaluate(caught.value, 1, 4)
        assert decision.action.value == "fail"
        assert type(error).__name__ in decision.reason


@pytest.mark.skipif(NO_POLICY, reason="Airflow before 3.3 has no retry policies")
class TestRetryPolicy:
    def test_transient_errors_are_retried_as_the_task_says(self):
        for error in (
            e.WhiteBitUnavailableError("x"),
            e.WhiteBitRateLimitError("x"),
            WhiteBitJournalError("x"),
            OSError(),
        ):
            assert WhiteBitRetryPolicy().evaluate(error, 1, 4).action.value == "default"

    def test_the_users_policy_is_kept(self):
        own = type("Own", (WhiteBitRetryPolicy,), {})()
        assert flex.WhiteBitFlexPlansOperator(task_id="t", retry_policy=own).retry_policy is own
        with DAG("own", default_args={"retry_policy": own}):
            assert flex.WhiteBitFlexPlansOperator(task_id="t").retry_policy is own

    def test_it_can_be_serialized(self):
        assert isinstance(WhiteBitRetryPolicy.deserialize(WhiteBitRetryPolicy().serialize()), WhiteBitRetryPolicy)


def test_operators_can_be_mapped():
    with DAG("mapped", schedule=None) as dag:
        flex.WhiteBitFlexInvestOperator.partial(task_id="t", ticker="USDT").expand(amount=["10", "20"])
    task = dag.get_task("t").unmap({"amount": "10"})
    assert (task.ticker, task.amount) == ("USDT", "10")
    assert (getattr(task, "retry_policy", None) is None) is NO_POLICY


@pytest.mark.parametrize("kind", [e.WhiteBitUnavailableError, e.WhiteBitRateLimitError, e.WhiteBitNonceError])
def test_transient_errors_are_raised_unchanged(kind):
    with pytest.raises(kind), flex.WhiteBitFlexPlansOperator(task_id="t").airflow_errors():
        raise kind("x")


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

    client = WhiteBitClient(SimpleNamespace(_repeatable=lambda *call: sent.append(call) or {"data": []}))
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    with pytest.raises((AirflowFailException, e.WhiteBitValidationError)):
        task.execute({})
    assert sent == []


@pytest.mark.parametrize(
    "action_types", ["[1, 6]", [1, 6], ["invest", "open"], "invest, open", "['invest', 'open']", ("1", "open")]
)
def test_filters_reach_the_client(action_types):
    sent = []
    task = flex.WhiteBitFlexHistoryOperator(
        task_id="t", action_types=action_types, date_from="2026-01-01T00:00:00+00:00", date_to="1767312000", limit="5"
    )
    from airflow_provider_whitebit.client.api import WhiteBitClient

    client = WhiteBitClient(SimpleNamespace(_repeatable=lambda path, params: sent.append(params) or {"data": []}))
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    assert task.execute({}) == []
    assert sent == [{"dateFrom": 1767225600, "dateTo": 1767312001, "actionTypes": [1, 6], "limit": 5, "offset": 0}]


@pytest.mark.parametrize(
    ("operator", "call", "status", "number"),
    [
        (flex.WhiteBitFlexInvestmentsOperator, "flex_investments", "closed", 0),
        (flex.WhiteBitFlexInvestmentsOperator, "flex_investments", 1, 1),
        (fixed.WhiteBitFixedInvestmentsOperator, "fixed_investments", "closed", 2),
        (fixed.WhiteBitFixedInvestmentsOperator, "fixed_investments", "{{ none }}", None),
    ],
)
def test_statuses_are_words_or_numbers(operator, call, status, number):
    filters = {}
    task = operator(task_id="t", investment_status=None if number is None else status, investment_id="inv_1")
    client = SimpleNamespace(**{call: lambda **given: filters.update(given) or []})
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    assert task.execute({}) == []
    assert (filters["investment_status"], filters["investment"]) == (number, "inv_1")


@pytest.mark.parametrize(
    ("operator", "given", "call", "filters"),
    [
        (
            account.WhiteBitMainHistoryOperator,
            {"kind": "Deposit", "ticker": "usdt", "date_from": "1767312000", "limit": "5"},
            "main_history",
            {"method": 1, "ticker": "USDT", "date_from": 1767312000, "date_to": None, "limit": 5},
        ),
        (
            account.WhiteBitMainHistoryOperator,
            {"kind": 2},
            "main_history",
            {"method": 2, "ticker": None, "date_from": None, "date_to": None, "limit": None},
        ),
        (
            sub_accounts.WhiteBitSubAccountsOperator,
            {"search": "desk"},
            "sub_accounts",
            {"search": "desk", "limit": None},
        ),
        (
            sub_accounts.WhiteBitSubAccountTransfersOperator,
            {"sub_account_id": " sub ", "direction": "SUB_TO_MAIN"},
            "sub_account_transfers",
            {"sub_account": "sub", "direction": "sub_to_main", "date_from": None, "date_to": None, "limit": None},
        ),
    ],
)
def test_filters_of_histories_and_sub_accounts(operator, given, call, filters):
    found = {}
    task = operator(task_id="t", **given)
    client = SimpleNamespace(**{call: lambda **filters: found.update(filters) or []})
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    assert task.execute({}) == []
    assert ("on_unreadable" in found) is operator.skips_unreadable
    found.pop("on_unreadable", None)
    assert found == filters


@pytest.mark.parametrize(
    ("operator", "given", "words"),
    [
        (account.WhiteBitMainHistoryOperator, {"kind": "loan"}, "deposit, withdrawal"),
        (sub_accounts.WhiteBitSubAccountTransfersOperator, {"sub_account_id": "x", "direction": "up"}, "main_to_sub"),
        (sub_accounts.WhiteBitSubAccountBalancesOperator, {"sub_account_id": None}, "not an identifier"),
    ],
)
def test_wrong_filters_of_histories_and_sub_accounts(operator, given, words):
    task = operator(task_id="t", **given)
    task.__dict__["hook"] = SimpleNamespace(get_conn=SimpleNamespace)
    with pytest.raises((AirflowFailException, e.WhiteBitValidationError), match=words):
        task.execute({})


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_unknown_keywords_are_refused(operator):
    with pytest.raises(TypeError, match="tikcer"):
        operator(task_id="t", tikcer="USDT", **NEEDED.get(operator, {}))


def test_outlets_of_the_dag_and_of_the_task_are_kept():
    mine = Asset("mine")
    with DAG("outlets", default_args={"outlets": [mine]}) as dag:
        one = flex.WhiteBitFlexCloseOperator(task_id="one", ticker="USDT")
        two = flex.WhiteBitFlexCloseOperator(task_id="two", ticker="USDT", outlets=Asset("other"))
    moves = AssetAlias("whitebit_moves")
    assert one.outlets == [mine, moves]
    assert two.outlets == [Asset("other"), moves]
    assert dag.default_args["outlets"] == [mine]
