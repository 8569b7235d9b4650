"""Every Flex success and refusal of the vendor's contract, each mapped to the right record or error."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.calls import MoveCall, flex_close_call, flex_invest_call, flex_withdraw_call
from airflow_provider_whitebit.client.endpoints import FLEX
from tests.sandbox_plans import Flex

NO_PLAN = "00000000-0000-4000-8000-000000000000"


def send(client, call):
    return client.send_move(call, nonce=client.clock.next_nonce())


def invest(client, plan=Flex.USDT, amount="100", **more):
    return send(client, flex_invest_call(plan, Decimal(amount), **more))


def test_plans(client):
    plans = list(client.flex_plans(ticker="USDT"))
    assert {plan.ticker for plan in plans} == {"USDT"}
    first = next(plan for plan in plans if plan.id == Flex.USDT)
    assert (first.min_investment, first.max_investment, first.max_rate) == (10, 100000, Decimal("0.15"))
    assert len(list(client.flex_plans(limit=3))) == 3
    assert [plan.id for plan in client.flex_plans(limit=2, offset=1)] == [
        plan.id for plan in list(client.flex_plans())[1:3]
    ]


def test_a_life(client, sandbox):
    opened = invest(client, amount="100", with_reinvest=True)
    added = invest(client, amount="50.5")
    [investment] = client.flex_investments(plan=Flex.USDT)
    assert (investment.invested, investment.active, investment.with_auto_reinvest) == (Decimal("150.5"), True, True)
    client.switch_auto_reinvest(Flex.USDT, enabled=False)
    [investment] = client.flex_investments(ticker="USDT", investment_status=1)
    assert not investment.with_auto_reinvest
    taken = send(client, flex_withdraw_call(Flex.USDT, Decimal("50.5")))
    sandbox.advance(2 * 86400)
    client.server_time()
    closed = send(client, flex_close_call(Flex.USDT))
    assert not list(client.flex_investments(investment_status=1))
    history = list(client.flex_history(plan=Flex.USDT, action_types=[1, 3, 5, 6]))
    assert [(entry.transaction_id, entry.action_type, entry.amount) for entry in history] == [
        (closed, 5, 100),
        (taken, 3, Decimal("50.5")),
        (added, 1, Decimal("50.5")),
        (opened, 6, 100),
    ]
    payments = list(client.flex_payments(plan=Flex.USDT))
    assert payments
    assert {payment.action_type for payment in payments} == {4}
    assert client.main_balance("USDT")["USDT"] == 10000 + sum(payment.amount for payment in payments)
    [one] = client.flex_history(transaction=taken)
    assert one.created_at.timezone_name == "UTC"
    assert sandbox.ledger()["balanced"]


def test_lists_page_by_themselves(client):
    invest(client)
    for _ in range(120):
        invest(client, amount="10")
    assert len(list(client.flex_history())) == 121
    assert len({entry.transaction_id for entry in client.flex_history()}) == 121
    assert len(list(client.flex_history(limit=105))) == 105


@pytest.mark.parametrize("exclusive", [False, True])
def test_date_to_is_included_whether_the_exchange_includes_it_or_not(client, sandbox, exclusive):
    """An export of one period after the other would lack the records of a second, or have them twice."""
    sandbox.quirks(exclusive_dates=exclusive)
    invest(client)
    sandbox.advance(1)
    client.server_time()
    invest(client, amount="10")
    *_, first = client.flex_history()
    later = [one for one in client.flex_history() if one.created_at > first.created_at]
    assert later
    for limit in (None, 1, 100):
        found = list(client.flex_history(date_to=first.created_at, limit=limit))
        assert first in found
        assert not set(later) & set(found)
    found = list(client.flex_history(date_to=first.created_at))
    assert list(client.flex_history(date_to=first.created_at, offset=1)) == found[1:]
    assert list(client.flex_history(date_from=first.created_at.add(seconds=1))) == later
    assert list(client.flex_history(date_to=first.created_at.subtract(seconds=1))) == []


def test_balances(client):
    assert client.main_balance()["BTC"] == 1
    assert client.main_balance("NOSUCH") == {"NOSUCH": 0}
    assets = client.assets()
    assert assets["BTC"].currency_precision == 8
    # Payment methods and some fiat currencies have no precision. They are no reason to refuse the others.
    assert "EUR" in assets
    assert assets["UAH"].currency_precision is None


def raw(client, path, **params):
    return client._transport._repeatable(f"{FLEX}/{path}", params)


@pytest.mark.parametrize(
    ("path", "params", "field", "text"),
    [
        ("plans", {"ticker": "NOSUCH"}, "ticker", "The selected ticker is invalid."),
        ("plans", {"limit": "x"}, "limit", "The limit must be an integer."),
        ("plans", {"limit": 101}, "limit", "The limit may not be greater than 100."),
        ("plans", {"offset": "x"}, "offset", "The offset must be an integer."),
        ("plans", {"offset": -1}, "offset", "The offset must be at least 0."),
        ("investments", {"ticker": "NOSUCH"}, "ticker", "The selected ticker is invalid."),
        ("investments", {"plan": NO_PLAN}, "plan", "The selected plan is invalid."),
        ("investments", {"investment": "inv_x"}, "investment", "The selected investment is invalid."),
        ("investments", {"investmentStatus": 7}, "investmentStatus", "The selected investment status is invalid."),
        ("investments/history", {"plan": NO_PLAN}, "plan", "The selected plan is invalid."),
        ("investments/history", {"investment": "x"}, "investment", "The selected investment is invalid."),
        ("investments/history", {"transaction": "x"}, "transaction", "The selected transaction is invalid."),
        ("investments/history", {"dateFrom": "x"}, "dateFrom", "The date from is invalid."),
        ("investments/history", {"dateTo": "x"}, "dateTo", "The date to is invalid."),
        ("investments/history", {"actionTypes": 1}, "actionTypes", "The action types must be an array."),
        ("investments/history", {"actionTypes": [9]}, "actionTypes.0", "The selected action type is invalid."),
        ("investments/payment-history", {"plan": NO_PLAN}, "plan", "The selected plan is invalid."),
        ("investments/payment-history", {"dateFrom": "x"}, "dateFrom", "The date from is invalid."),
        ("investments/auto-invest", {}, "plan", "The plan field is required."),
        (
            "investments/auto-invest",
            {"plan": Flex.USDT, "enabled": "x"},
            "enabled",
            "The enabled field must be true or false.",
        ),
    ],
)
def test_validation(client, path, params, field, text):
    with pytest.raises(e.WhiteBitValidationError) as caught:
        raw(client, path, **params)
    assert (caught.value.status, caught.value.code) == (400, 0)
    assert text in caught.value.errors[field]


@pytest.mark.parametrize("call", ["invest", "withdraw", "close"])
def test_moves_of_no_plan(client, call):
    with pytest.raises(e.WhiteBitValidationError) as caught:
        send(client, MoveCall(f"{FLEX}/investments/{call}", {"plan": NO_PLAN, "amount": "10"}))
    assert caught.value.errors["plan"] == ["The selected plan is invalid."]
    assert caught.value.money_moved is False


def test_invest_without_a_number(client):
    with pytest.raises(e.WhiteBitValidationError) as caught:
        send(client, MoveCall(f"{FLEX}/investments/invest", {"plan": Flex.USDT, "amount": "NaN"}))
    assert caught.value.errors["amount"] == ["The amount field must be a valid number"]


@pytest.mark.parametrize(
    ("plan", "amount", "code", "field", "text", "kind"),
    [
        (Flex.UNAVAILABLE, "10", 0, "plan", "Plan is unavailable", e.WhiteBitRefusedError),
        (Flex.PAUSED, "10", 0, "plan", "Plan is paused", e.WhiteBitRefusedError),
        (Flex.PRIVATE, "10", 0, "plan", "Private plan not available for this user", e.WhiteBitRefusedError),
        (Flex.USDT, "0", 0, "amount", "Amount is too small", e.WhiteBitRefusedError),
        (Flex.CAPPED, "2001", 0, "amount", "Investment limit is exceeded", e.WhiteBitRefusedError),
        (Flex.USDT, "9.99", 2, "amount", "Amount is less than min investment", e.WhiteBitRefusedError),
        (Flex.USDT, "100001", 3, "amount", "Amount is more than max investment", e.WhiteBitRefusedError),
        (Flex.USDT, "10001", 4, "amount", "Available 10000 < 10001", e.WhiteBitNotEnoughBalanceError),
    ],
)
def test_invest_refused(client, sandbox, plan, amount, code, field, text, kind):
    with pytest.raises(e.WhiteBitRefusedError) as caught:
        invest(client, plan, amount)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.errors) == (422, code, {field: [text]})
    assert caught.value.money_moved is False
    assert sandbox.ledger()["transactions"] == []


@pytest.mark.parametrize(
    ("amount", "field", "text"),
    [
        ("0", "amount", "Withdraw amount is too small"),
        ("101", "amount", "Withdraw amount exceeds total invested"),
        ("0.5", "amount", "Cannot withdraw amount < min possible"),
        ("96", "minAmountLeft", "Amount left < min investment"),
    ],
)
def test_withdraw_refused(client, amount, field, text):
    invest(client, Flex.MIN_WITHDRAW, "100")
    with pytest.raises(e.WhiteBitRefusedError) as caught:
        send(client, flex_withdraw_call(Flex.MIN_WITHDRAW, Decimal(amount)))
    assert (caught.value.status, caught.value.code, caught.value.errors) == (422, 0, {field: [text]})


@pytest.mark.parametrize("call", [flex_withdraw_call(Flex.USDT, Decimal(10)), flex_close_call(Flex.USDT)])
def test_nothing_to_take_from(client, call):
    with pytest.raises(e.WhiteBitRefusedError) as caught:
        send(client, call)
    assert caught.value.errors == {"amount": ["Investment does not exist"]}
    invest(client)
    send(client, flex_close_call(Flex.USDT))
    with pytest.raises(e.WhiteBitRefusedError) as caught:
        send(client, call)
    assert caught.value.errors == {"investment": ["Cannot withdraw from closed investment"]}


def test_auto_reinvest_of_nothing(client):
    with pytest.raises(e.WhiteBitRefusedError) as caught:
        client.switch_auto_reinvest(Flex.USDT, enabled=True)
    assert caught.value.errors == {"plan": ["No existing investments for this plan"]}
