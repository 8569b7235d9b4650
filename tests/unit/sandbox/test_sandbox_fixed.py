"""Fixed plans of the sandbox: terms, interest, early closing, and every refusal of the vendor's contract."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.sandbox_plans import Fixed

DAY = 24


def fixed(bench, call, **params):
    return bench.call(f"smart/{call}", **params)


def invest(bench, plan=Fixed.TEN_DAYS, amount="1000"):
    status, answer = fixed(bench, "investment", planId=plan, amount=amount)
    assert status == 201, answer
    return answer["id"]


def investments(bench, **params):
    status, answer = fixed(bench, "investments", **params)
    assert status == 200, answer
    return answer["records"]


def test_plans(bench):
    status, plans = fixed(bench, "plans")
    assert status == 200
    assert Fixed.DISABLED not in {plan["id"] for plan in plans}
    first = next(plan for plan in plans if plan["id"] == Fixed.TEN_DAYS)
    assert first == {
        "id": Fixed.TEN_DAYS,
        "ticker": "USDT",
        "status": 1,
        "percent": "1",
        "duration": 14400,
        "interestTicker": "USDT",
        "interestRatio": "1",
        "minInvestment": "100",
        "maxInvestment": "10000",
        "maxPossibleInvestment": "10000",
    }
    assert {plan["ticker"] for plan in fixed(bench, "plans", ticker="BTC")[1]} == {"BTC"}


def test_interest_and_principal_at_the_end_of_the_term(bench):
    name = invest(bench)
    [running] = investments(bench, status=1)
    assert (running["id"], running["amount"], running["interestPaid"]) == (name, "1000", "0")
    assert running["paymentTime"] == running["created"] + 10 * 86400
    assert bench.balance() == "9000"
    bench.pass_time(hours=10 * DAY, seconds=-1)
    assert bench.balance() == "9000"
    bench.pass_time(seconds=1)
    assert bench.balance() == "10010"
    [ended] = investments(bench, id=name)
    assert (ended["status"], ended["interestPaid"], ended["updated"]) == (2, "10", ended["paymentTime"])
    [payment] = fixed(bench, "interest-payment-history", planId=Fixed.TEN_DAYS)[1]["records"]
    assert payment == {
        "planId": Fixed.TEN_DAYS,
        "investmentId": name,
        "amount": "10",
        "ticker": "USDT",
        "timestamp": ended["paymentTime"],
    }
    assert fixed(bench, "investment/close", id=name)[1]["errors"] == {"error": ["Investment is already closed"]}
    bench.exchange.audit()


def test_an_early_close_pays_no_interest(bench):
    name = invest(bench)
    bench.pass_time(hours=9 * DAY)
    assert fixed(bench, "investment/close", id=name) == (200, {})
    assert bench.balance() == "10000"
    bench.pass_time(hours=9 * DAY)
    assert bench.balance() == "10000"
    [closed] = investments(bench)
    assert (closed["status"], closed["interestPaid"]) == (2, "0")
    assert fixed(bench, "interest-payment-history")[1]["records"] == []


def test_interest_in_another_ticker(bench):
    invest(bench, Fixed.OTHER_TICKER, "0.5")
    before = Decimal(bench.balance("USDT"))
    bench.pass_time(hours=30 * DAY)
    # 2 % of 0.5 BTC at 0.00001 BTC for 1 USDT.
    assert Decimal(bench.balance("USDT")) - before == 1000
    assert bench.balance("BTC") == "1"
    assert [entry["ticker"] for entry in fixed(bench, "interest-payment-history", ticker="USDT")[1]["records"]] == [
        "USDT"
    ]
    bench.exchange.audit()


def test_several_terms_end_during_one_advance(bench):
    invest(bench, Fixed.SEVERAL, "100")
    bench.pass_time(hours=5 * DAY)
    invest(bench, Fixed.SEVERAL, "200")
    invest(bench, Fixed.TEN_DAYS, "300")
    bench.pass_time(hours=400 * DAY)
    paid = fixed(bench, "interest-payment-history")[1]["records"]
    assert [entry["amount"] for entry in paid] == ["8", "4", "3"]
    assert bench.balance() == "10015"
    bench.exchange.audit()


def test_coins_left_in_a_plan(bench):
    def left():
        return next(plan for plan in fixed(bench, "plans")[1] if plan["id"] == Fixed.FEW_COINS)

    bench.exchange.change("fixed plan", Fixed.FEW_COINS, coins="3000")
    fixed_plans = bench.exchange.fixed.plans
    fixed_plans[Fixed.FEW_COINS] = replace(fixed_plans[Fixed.FEW_COINS], several=True)
    name = invest(bench, Fixed.FEW_COINS, "2500")
    assert left()["maxPossibleInvestment"] == "500"
    status, answer = fixed(bench, "investment", planId=Fixed.FEW_COINS, amount="501")
    assert (status, answer["message"]) == (400, "Validation failed")
    assert answer["errors"]["amount"][0].startswith(
        "The amount you are trying to invest is bigger than the amount left"
    )
    invest(bench, Fixed.FEW_COINS, "500")
    assert (left()["status"], left()["maxPossibleInvestment"]) == (2, "0")
    assert fixed(bench, "investment", planId=Fixed.FEW_COINS, amount="100")[1]["errors"] == {
        "planId": ["There are no coins left in the plan"]
    }
    fixed(bench, "investment/close", id=name)
    assert (left()["status"], left()["maxPossibleInvestment"]) == (1, "2500")


@pytest.mark.parametrize(
    ("params", "status", "code", "errors"),
    [
        ({"amount": "100"}, 400, 0, {"planId": "The selected planId is invalid."}),
        ({"planId": "x", "amount": "100"}, 400, 0, {"planId": "The selected planId is invalid."}),
        ({"planId": ["x"], "amount": "100"}, 400, 0, {"planId": "The selected planId is invalid."}),
        ({"planId": Fixed.TEN_DAYS}, 400, 0, {"amount": "The amount field must be a valid number"}),
        ({"planId": Fixed.TEN_DAYS, "amount": "x"}, 400, 0, {"amount": "The amount field must be a valid number"}),
        (
            {"planId": Fixed.TEN_DAYS, "amount": "0.0000001"},
            400,
            0,
            {"amount": "The amount must be at least 0.000001."},
        ),
        ({"planId": Fixed.TEN_DAYS, "amount": "0"}, 400, 0, {"amount": "The amount must be at least 0.000001."}),
        ({"planId": Fixed.TEN_DAYS, "amount": "-5"}, 400, 0, {"amount": "The amount must be at least 0.000001."}),
        ({"planId": Fixed.TEN_DAYS, "amount": "100.1234567"}, 400, 0, {"amount": "Invalid decimal amount"}),
        ({"planId": Fixed.DISABLED, "amount": "100"}, 400, 0, {"planId": "Plan is disabled"}),
        ({"planId": Fixed.INACTIVE, "amount": "100"}, 400, 0, {"planId": "Plan is inactive"}),
        ({"planId": Fixed.PAUSED, "amount": "100"}, 400, 0, {"planId": "Plan is paused"}),
        ({"planId": Fixed.NO_COINS, "amount": "100"}, 400, 0, {"planId": "There are no coins left in the plan"}),
        ({"planId": Fixed.SPECIAL, "amount": "100"}, 400, 0, {"planId": "Special offers are not available via API"}),
        ({"planId": Fixed.TEN_DAYS, "amount": "99.99"}, 422, 2, {"amount": "Amount is less than min investment"}),
        ({"planId": Fixed.TEN_DAYS, "amount": "10000.01"}, 422, 3, {"amount": "Amount is more than max investment"}),
        ({"planId": Fixed.OTHER_TICKER, "amount": "1.5"}, 422, 4, {"amount": "Available 1 < 1.5"}),
        ({"planId": Fixed.LITTLE_INTEREST, "amount": "1001"}, 422, 5, {"amount": "Not enough money to pay interest"}),
    ],
)
def test_refused_investments(bench, params, status, code, errors):
    answered, answer = fixed(bench, "investment", **params)
    assert (answered, answer["code"]) == (status, code)
    assert answer["errors"] == {name: [text] for name, text in errors.items()}
    assert bench.exchange.moves() == []


def test_one_investment_in_a_plan(bench):
    invest(bench)
    status, answer = fixed(bench, "investment", planId=Fixed.TEN_DAYS, amount="100")
    assert (status, answer["code"]) == (422, 1)
    assert answer["errors"] == {"amount": ["The investment in this investment plan already exists"]}


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({}, {"id": "The id field is required."}),
        ({"id": ""}, {"id": "The id field is required."}),
        ({"id": 7}, {"id": "The id field is required."}),
        ({"id": "x"}, {"id": "Investment not found"}),
    ],
)
def test_refused_closings(bench, params, errors):
    status, answer = fixed(bench, "investment/close", **params)
    assert status == 400
    assert answer["errors"] == {name: [text] for name, text in errors.items()}


def test_other_users_investments_cannot_be_closed(bench):
    name = invest(bench)
    bench.key, bench.secret = "sandbox-key-second-user", "sandbox-secret-second-user"
    assert fixed(bench, "investment/close", id=name)[1]["errors"] == {"id": ["Investment not found"]}
    assert investments(bench) == []


@pytest.mark.parametrize(
    ("call", "params", "errors"),
    [
        ("plans", {"ticker": "NOPE"}, {"ticker": "The selected ticker is invalid."}),
        ("investments", {"id": "x"}, {"id": "The selected id is invalid."}),
        ("investments", {"ticker": "NOPE"}, {"ticker": "The selected ticker is invalid."}),
        ("investments", {"status": 3}, {"status": "The selected status is invalid."}),
        ("investments", {"limit": 101}, {"limit": "The limit may not be greater than 100."}),
        ("investments", {"offset": -1}, {"offset": "The offset must be at least 0."}),
        ("interest-payment-history", {"planId": "x"}, {"planId": "The selected planId is invalid."}),
        ("interest-payment-history", {"ticker": "NOPE"}, {"ticker": "The selected ticker is invalid."}),
    ],
)
def test_refused_filters(bench, call, params, errors):
    status, answer = fixed(bench, call, **params)
    assert (status, answer["message"]) == (400, "Validation failed")
    assert answer["errors"] == {name: [text] for name, text in errors.items()}


def test_a_key_without_the_permission(bench):
    bench.key, bench.secret = "sandbox-key-no-fixed", "sandbox-secret-no-fixed"
    for call in ("plans", "investment", "investment/close", "investments", "interest-payment-history"):
        status, answer = fixed(bench, call)
        assert status == 403
        assert answer["message"] == "You don't have permission to use this endpoint."


def test_history_lag_applies_to_the_lists(bench):
    bench.exchange.faults.add("history_lag", seconds=5)
    name = invest(bench)
    assert investments(bench) == []
    bench.pass_time(seconds=5)
    assert [entry["status"] for entry in investments(bench)] == [1]
    fixed(bench, "investment/close", id=name)
    assert [entry["status"] for entry in investments(bench)] == [1]
    bench.pass_time(seconds=5)
    assert [entry["status"] for entry in investments(bench, status=2)] == [2]


def test_investments_keep_their_terms(bench):
    name = invest(bench)
    bench.exchange.change("fixed plan", Fixed.TEN_DAYS, percent="50", status=4)
    bench.pass_time(hours=10 * DAY)
    assert bench.balance() == "10010"
    assert investments(bench, id=name)[0]["plan"]["percent"] == "1"
    with pytest.raises(ValueError, match="status: Input should be less than or equal to 4, not 9"):
        bench.exchange.change("fixed plan", Fixed.TEN_DAYS, status=9)
    with pytest.raises(ValueError, match="ticker: unknown field"):
        bench.exchange.change("fixed plan", Fixed.TEN_DAYS, ticker="BTC")
