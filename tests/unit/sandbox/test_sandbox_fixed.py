"""Fixed plans of the sandbox: terms, interest, early closing, and every refusal of the vendor's contract."""

from __future__ import annotations

from decimal import Decimal

import pytest

TEN_DAYS = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
SEVERAL = "1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5"
FEW_COINS = "2c83f41b-d6e8-490a-b5c6-a1b2c3d4e5f6"
NO_COINS = "3d94052c-e7f9-4a1b-86d7-b2c3d4e5f607"
INACTIVE = "4ea5163d-f80a-4b2c-97e8-c3d4e5f60718"
PAUSED = "5fb6274e-091b-4c3d-a8f9-d4e5f6071829"
DISABLED = "60c7385f-1a2c-4d4e-b90a-e5f60718293a"
SPECIAL = "71d84960-2b3d-4e5f-8a1b-f60718293a4b"
LITTLE_INTEREST = "82e95a71-3c4e-4f60-9b2c-0718293a4b5c"
IN_ANOTHER_TICKER = "93fa6b82-4d5f-4071-ac3d-18293a4b5c6d"
DAY = 24


def fixed(bench, call, **params):
    return bench.call(f"smart/{call}", **params)


def invest(bench, plan=TEN_DAYS, amount="1000"):
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
    assert DISABLED not in {plan["id"] for plan in plans}
    first = next(plan for plan in plans if plan["id"] == TEN_DAYS)
    assert first == {
        "id": TEN_DAYS,
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
    [payment] = fixed(bench, "interest-payment-history", planId=TEN_DAYS)[1]["records"]
    assert payment == {
        "planId": TEN_DAYS,
        "investmentId": name,
        "amount": "10",
        "ticker": "USDT",
        "timestamp": ended["paymentTime"],
    }
    assert fixed(bench, "investment/close", id=name)[1]["errors"] == {"error": ["Investment is already closed"]}
    bench.exchange.audit()


def test_who_leaves_early_gets_no_interest(bench):
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
    invest(bench, IN_ANOTHER_TICKER, "0.5")
    before = Decimal(bench.balance("USDT"))
    bench.pass_time(hours=30 * DAY)
    # 2 % of 0.5 BTC at 0.00001 BTC for 1 USDT.
    assert Decimal(bench.balance("USDT")) - before == 1000
    assert bench.balance("BTC") == "1"
    assert [entry["ticker"] for entry in fixed(bench, "interest-payment-history", ticker="USDT")[1]["records"]] == [
        "USDT"
    ]
    bench.exchange.audit()


def test_several_terms_that_end_during_one_leap(bench):
    invest(bench, SEVERAL, "100")
    bench.pass_time(hours=5 * DAY)
    invest(bench, SEVERAL, "200")
    invest(bench, TEN_DAYS, "300")
    bench.pass_time(hours=400 * DAY)
    paid = fixed(bench, "interest-payment-history")[1]["records"]
    assert [entry["amount"] for entry in paid] == ["8", "4", "3"]
    assert bench.balance() == "10015"
    bench.exchange.audit()


def test_coins_left_in_a_plan(bench):
    def left():
        return next(plan for plan in fixed(bench, "plans")[1] if plan["id"] == FEW_COINS)

    bench.exchange.change_fixed_plan(FEW_COINS, coins="3000")
    bench.exchange.fixed.set_plan(FEW_COINS, several=True)
    name = invest(bench, FEW_COINS, "2500")
    assert left()["maxPossibleInvestment"] == "500"
    status, answer = fixed(bench, "investment", planId=FEW_COINS, amount="501")
    assert (status, answer["message"]) == (400, "Validation failed")
    assert answer["errors"]["amount"][0].startswith(
        "The amount you are trying to invest is bigger than the amount left"
    )
    invest(bench, FEW_COINS, "500")
    assert (left()["status"], left()["maxPossibleInvestment"]) == (2, "0")
    assert fixed(bench, "investment", planId=FEW_COINS, amount="100")[1]["errors"] == {
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
        ({"planId": TEN_DAYS}, 400, 0, {"amount": "The amount field must be a valid number"}),
        ({"planId": TEN_DAYS, "amount": "x"}, 400, 0, {"amount": "The amount field must be a valid number"}),
        ({"planId": TEN_DAYS, "amount": "0.0000001"}, 400, 0, {"amount": "The amount must be at least 0.000001."}),
        ({"planId": TEN_DAYS, "amount": "0"}, 400, 0, {"amount": "The amount must be at least 0.000001."}),
        ({"planId": TEN_DAYS, "amount": "-5"}, 400, 0, {"amount": "The amount must be at least 0.000001."}),
        ({"planId": TEN_DAYS, "amount": "100.1234567"}, 400, 0, {"amount": "Invalid decimal amount"}),
        ({"planId": DISABLED, "amount": "100"}, 400, 0, {"planId": "Plan is disabled"}),
        ({"planId": INACTIVE, "amount": "100"}, 400, 0, {"planId": "Plan is inactive"}),
        ({"planId": PAUSED, "amount": "100"}, 400, 0, {"planId": "Plan is paused"}),
        ({"planId": NO_COINS, "amount": "100"}, 400, 0, {"planId": "There are no coins left in the plan"}),
        ({"planId": SPECIAL, "amount": "100"}, 400, 0, {"planId": "Special offers are not available via API"}),
        ({"planId": TEN_DAYS, "amount": "99.99"}, 422, 2, {"amount": "Amount is less than min investment"}),
        ({"planId": TEN_DAYS, "amount": "10000.01"}, 422, 3, {"amount": "Amount is more than max investment"}),
        ({"planId": IN_ANOTHER_TICKER, "amount": "1.5"}, 422, 4, {"amount": "Available 1 < 1.5"}),
        ({"planId": LITTLE_INTEREST, "amount": "1001"}, 422, 5, {"amount": "Not enough money to pay interest"}),
    ],
)
def test_refused_investments(bench, params, status, code, errors):
    answered, answer = fixed(bench, "investment", **params)
    assert (answered, answer["code"]) == (status, code)
    assert answer["errors"] == {name: [text] for name, text in errors.items()}
    assert bench.exchange.moves() == []


def test_one_investment_in_a_plan(bench):
    invest(bench)
    status, answer = fixed(bench, "investment", planId=TEN_DAYS, amount="100")
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


def test_nobody_closes_what_belongs_to_another(bench):
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
def test_refused_questions(bench, call, params, errors):
    status, answer = fixed(bench, call, **params)
    assert (status, answer["message"]) == (400, "Validation failed")
    assert answer["errors"] == {name: [text] for name, text in errors.items()}


def test_who_may_not(bench):
    bench.key, bench.secret = "sandbox-key-no-fixed", "sandbox-secret-no-fixed"
    for call in ("plans", "investment", "investment/close", "investments", "interest-payment-history"):
        status, answer = fixed(bench, call)
        assert status == 403
        assert answer["message"].startswith("You don't have permission to use this endpoint.")


def test_lists_lag_as_histories_do(bench):
    bench.exchange.faults.add("history_lag", seconds=5)
    name = invest(bench)
    assert investments(bench) == []
    bench.pass_time(seconds=5)
    assert [entry["status"] for entry in investments(bench)] == [1]
    fixed(bench, "investment/close", id=name)
    assert [entry["status"] for entry in investments(bench)] == [1]
    bench.pass_time(seconds=5)
    assert [entry["status"] for entry in investments(bench, status=2)] == [2]


def test_terms_stay_as_they_were(bench):
    name = invest(bench)
    bench.exchange.change_fixed_plan(TEN_DAYS, percent="50", status=4)
    bench.pass_time(hours=10 * DAY)
    assert bench.balance() == "10010"
    assert investments(bench, id=name)[0]["plan"]["percent"] == "1"
    with pytest.raises(ValueError, match="status is one of"):
        bench.exchange.change_fixed_plan(TEN_DAYS, status=9)
    with pytest.raises(ValueError, match="cannot be changed"):
        bench.exchange.change_fixed_plan(TEN_DAYS, ticker="BTC")
