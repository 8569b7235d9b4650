"""Flex records on disk: as a ledger needs them, plan by plan, and as a statement shows them."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client.models import FlexInvestment, FlexPlan, FlexTransaction
from airflow_provider_whitebit.hooks.flex_store import FlexStore, tickers_of
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.treasury.flex_ledger import micros
from airflow_provider_whitebit.treasury.statement import make_statement, make_statement_by_plan

START, END, NOW = (pendulum.datetime(2026, month, 1) for month in (1, 2, 3))
PLANS = [FlexPlan("a", "USDT", Decimal(1), None, None), FlexPlan("b", "BTC", Decimal(1), None, None)]
#: Neither names its asset.
HELD = [
    FlexInvestment("i", "a", "", Decimal(10), False, 1, START, START),
    FlexInvestment("j", "b", "", Decimal(3), False, 1, START, START),
]


def record(day, plan, investment, action, amount, number):
    at = START.add(days=day, microseconds=day)
    return FlexTransaction(at, plan, investment, None, Decimal(amount), number, action)


#: Newest first, as the exchange gives them.
HISTORY = [
    record(40, "b", "j", 1, "1", "t6"),
    record(4, None, "i", 4, "0.50", "t5"),
    record(3, "b", "j", 6, "2", "t4"),
    record(2, "a", "i", 3, "5", "t3"),
    record(2, "a", "i", 1, "5", "t2"),
    record(1, "a", "i", 6, "10", "t1"),
]
PAYMENTS = [record(4, None, "i", 4, "0.5", "t5")]


def test_without_the_full_history_an_earning_just_before_the_period_is_known():
    held = FlexInvestment("i", "a", "USDT", Decimal(11), True, 1, START.subtract(days=9), START)
    moves = [(START.subtract(seconds=1), 4, "1"), (START, 2, "1"), (START.add(days=1), 4, "0.5")]
    history = [FlexTransaction(at, "a", "i", "USDT", Decimal(amount), None, action) for at, action, amount in moves]
    paid = [one for one in history if one.action_type == 4]

    def since(records):
        return lambda date_from, **given: (one for one in reversed(records) if one.created_at >= date_from)

    client = SimpleNamespace(
        server_time=lambda: NOW,
        flex_plans=lambda **given: iter(PLANS),
        flex_investments=lambda **given: iter([held]),
        flex_history=since(history),
        flex_payments=since(paid),
    )
    [usdt] = read_statement(client, start=START, end=START.add(days=2), full_history=False).tickers
    # What was credited before the period is reinvested in it, and is no earning of it.
    assert (usdt.figures.opening, usdt.figures.reinvested, usdt.figures.earned) == (10, 1, Decimal("0.5"))


@pytest.fixture
def store():
    store = FlexStore(tickers_of(PLANS, HELD), HELD, (micros(START), micros(END)))
    yield store
    store.close()


def test_plans_come_together_oldest_first(store):
    store.add(HISTORY, [])
    found = {plan: [one.transaction_id for one in history] for plan, history, _ in store.by_plan()}
    assert found == {"a": ["t1", "t2", "t3", "t5"], "b": ["t4", "t6"]}
    [(_, history, _), _] = store.by_plan()
    assert {one.currency for one in history} == {"USDT"}
    assert (history[-1].plan_id, history[-1].amount, history[-1].created_at) == (
        None,
        Decimal("0.50"),
        START.add(days=4, microseconds=4),
    )


def test_movements_are_those_of_the_period_and_can_be_read_again(store):
    store.add(HISTORY, [])
    found = store.movements(None)
    assert len(found) == 5
    assert (
        [one.transaction_id for one in found] == [one.transaction_id for one in found] == ["t1", "t2", "t3", "t4", "t5"]
    )
    assert (found[-1].transaction_id, [one.transaction_id for one in found[1:3]]) == ("t5", ["t2", "t3"])
    assert [one.transaction_id for one in store.movements(["BTC"])] == ["t4"]


@pytest.mark.parametrize(
    ("payments", "given"),
    [
        ([record(4, None, "i", 4, "0.50", "x")], {"a": None}),
        # The same amount in another spelling is compared by its value.
        (PAYMENTS, {"a": 1}),
        ([], {"a": 0}),
        ([*PAYMENTS, record(5, "c", "k", 4, "1", "y")], {"a": 1, "c": 1}),
    ],
)
def test_payments_are_given_where_they_may_differ(store, payments, given):
    store.add(HISTORY, payments)
    found = {plan: None if some is None else len(some) for plan, _, some in store.by_plan()}
    assert found == {"b": None, **given}


@pytest.mark.parametrize("payments", [PAYMENTS, [], [*PAYMENTS, record(5, "c", "k", 4, "1", "y")]])
@pytest.mark.parametrize("tickers", [None, ["BTC"]])
def test_a_statement_is_the_one_of_records_in_memory(store, payments, tickers):
    store.add(HISTORY, payments)
    given = {"start": START, "end": END, "made_at": NOW, "tickers": tickers}
    stored = make_statement_by_plan(store, HELD, PLANS, **given)
    in_memory = make_statement(HISTORY, HELD, PLANS, payments=payments, **given)
    assert stored.to_json() == in_memory.to_json()
    assert list(stored.movements) == list(in_memory.movements)
