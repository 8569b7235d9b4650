"""The eight Flex calls: what they do, and every refusal of the contract."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.sandbox.plans import Key
from tests.sandbox_plans import Flex

NUMBER = "The amount field must be a valid number"
START = 1_767_225_600


def refusal(status, code, **errors):
    message = "Validation failed" if status == 400 else "Inner validation failed"
    return status, {"code": code, "message": message, "errors": {name: [text] for name, text in errors.items()}}


def test_plans(bench):
    status, plans = bench.flex("plans")
    assert status == 200
    assert plans[0] == {
        "id": Flex.USDT,
        "ticker": "USDT",
        "minInvestment": "10",
        "maxInvestment": "100000",
        "maxRate": "0.15",
    }
    shown = {plan["id"] for plan in plans}
    assert {Flex.USDT, Flex.USDT_LARGE, Flex.BTC} <= shown
    assert not shown & {Flex.PAUSED, Flex.UNAVAILABLE, Flex.PRIVATE}


def test_plans_of_a_ticker_and_by_pages(bench):
    everything = bench.flex("plans")[1]
    assert [plan["id"] for plan in bench.flex("plans", ticker="USDT")[1]] == [Flex.USDT, Flex.USDT_LARGE]
    assert bench.flex("plans", limit=2, offset=1)[1] == everything[1:3]
    assert bench.flex("plans", limit="2")[1] == everything[:2]
    assert bench.flex("plans", offset=10_000)[1] == []


def test_a_private_plan_is_listed_for_its_user(bench):
    bench.exchange.keys["partner"] = Key("partner", "s", user="partner")
    bench.key, bench.secret = "partner", "s"
    assert Flex.PRIVATE in {plan["id"] for plan in bench.flex("plans")[1]}
    bench.exchange.fund("USDT", 100, api_key="partner")
    bench.invest(Flex.PRIVATE, "10")


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"ticker": "DOGE"}, {"ticker": "The selected ticker is invalid."}),
        ({"ticker": ["USDT"]}, {"ticker": "The selected ticker is invalid."}),
        ({"limit": "many"}, {"limit": "The limit must be an integer."}),
        ({"limit": 1.5}, {"limit": "The limit must be an integer."}),
        ({"limit": True}, {"limit": "The limit must be an integer."}),
        ({"limit": 101}, {"limit": "The limit may not be greater than 100."}),
        ({"limit": 0}, {"limit": "The limit must be at least 1."}),
        ({"offset": []}, {"offset": "The offset must be an integer."}),
        ({"offset": -1}, {"offset": "The offset must be at least 0."}),
        ({"offset": 10_001}, {"offset": "The offset may not be greater than 10000."}),
        (
            {"ticker": "DOGE", "limit": 101, "offset": -1},
            {
                "ticker": "The selected ticker is invalid.",
                "limit": "The limit may not be greater than 100.",
                "offset": "The offset must be at least 0.",
            },
        ),
    ],
)
def test_plans_refused(bench, params, errors):
    assert bench.flex("plans", **params) == refusal(400, 0, **errors)


def test_opening_and_adding(bench):
    opened = bench.invest(Flex.USDT, "1000.500000", withReinvest=True)
    bench.pass_time(seconds=90)
    added = bench.invest(Flex.USDT, "10")
    assert bench.balance() == "8989.5"
    status, answer = bench.flex("investments")
    (investment,) = answer["data"]
    assert (status, answer["limit"], answer["offset"]) == (200, 100, 0)
    assert investment == {
        "id": investment["id"],
        "planId": Flex.USDT,
        "currency": "USDT",
        "invested": "1010.5",
        "withAutoReinvest": True,
        "status": 1,
        "createdAt": START,
        "updatedAt": START + 90,
    }
    assert investment["id"].startswith("inv_")
    assert bench.history() == [
        {
            "createdAt": START + seconds,
            "planId": Flex.USDT,
            "investmentId": investment["id"],
            "currency": "USDT",
            "amount": amount,
            "transaction_id": transaction,
            "actionType": action,
        }
        for seconds, amount, transaction, action in ((90, "10", added, 1), (0, "1000.5", opened, 6))
    ]
    assert opened.startswith("tx_")


def test_a_later_invest_switches_reinvest_on_but_not_off(bench):
    bench.invest(Flex.USDT, "10")
    assert not bench.flex("investments")[1]["data"][0]["withAutoReinvest"]
    bench.invest(Flex.USDT, "10", withReinvest=True)
    bench.invest(Flex.USDT, "10", withReinvest=False)
    assert bench.flex("investments")[1]["data"][0]["withAutoReinvest"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"plan": "no such plan"}, refusal(400, 0, plan="The selected plan is invalid.")),
        ({"plan": ...}, refusal(400, 0, plan="The selected plan is invalid.")),
        ({"plan": [Flex.USDT]}, refusal(400, 0, plan="The selected plan is invalid.")),
        ({"plan": {}, "amount": "x"}, refusal(400, 0, plan="The selected plan is invalid.", amount=NUMBER)),
        ({"plan": Flex.PAUSED}, refusal(422, 0, plan="Plan is paused")),
        ({"plan": Flex.UNAVAILABLE}, refusal(422, 0, plan="Plan is unavailable")),
        ({"plan": Flex.PRIVATE}, refusal(422, 0, plan="Private plan not available for this user")),
        ({"plan": Flex.PAUSED, "amount": "0"}, refusal(422, 0, plan="Plan is paused")),
        ({"amount": "0"}, refusal(422, 0, amount="Amount is too small")),
        ({"amount": "-10"}, refusal(422, 0, amount="Amount is too small")),
        ({"amount": "-0.0"}, refusal(422, 0, amount="Amount is too small")),
        ({"amount": "9.999999"}, refusal(422, 2, amount="Amount is less than min investment")),
        ({"amount": "100000.000001"}, refusal(422, 3, amount="Amount is more than max investment")),
        ({"amount": "10000.000001"}, refusal(422, 4, amount="Available 10000 < 10000.000001")),
        ({"plan": Flex.CAPPED, "amount": "2000.000001"}, refusal(422, 0, amount="Investment limit is exceeded")),
        ({"withReinvest": "yes"}, refusal(400, 0, withReinvest="The with reinvest field must be true or false.")),
    ],
)
def test_invest_refused(bench, params, expected):
    before = bench.exchange.ledger_view()["accounts"]
    assert bench.flex("investments/invest", **({"plan": Flex.USDT, "amount": "10"} | params)) == expected
    assert bench.exchange.ledger_view()["accounts"] == before
    assert bench.exchange.transactions() == []


@pytest.mark.parametrize(
    "amount",
    [
        ...,
        None,
        "",
        " ",
        "10 ",
        "ten",
        "NaN",
        "Infinity",
        "1e3",
        "0x10",
        "10,5",
        "10.",
        ".5",
        "+10",
        "1_000",
        "٣٠",
        "10.0000001",
        "10.00000000000000000000000000001",
        True,
        [],
        {},
        1e300,
        10**400,
    ],
)
def test_invalid_amounts(bench, amount):
    for call in ("investments/invest", "investments/withdraw"):
        assert bench.flex(call, plan=Flex.USDT, amount=amount) == refusal(400, 0, amount=NUMBER)


@pytest.mark.parametrize("amount", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have(bench, amount):
    for call in ("investments/invest", "investments/withdraw"):
        assert bench.flex(call, plan=Flex.USDT, amount=amount) == refusal(400, 0, body="Invalid JSON.")


def test_a_number_with_a_huge_exponent(bench):
    path = "/api/v4/main-account/smart-flex/investments/invest"
    raw = f'{{"request": "{path}", "nonce": {bench.nonce()}, "plan": "{Flex.USDT}", "amount": 1e999999999}}'
    assert bench.send(path, raw.encode()).status == 400


@pytest.mark.parametrize(
    ("amount", "recorded"), [("0010", "10"), (10, "10"), (10.5, "10.5"), ("10.10000000000", "10.1")]
)
def test_accepted_spellings_of_amounts(bench, amount, recorded):
    bench.invest(Flex.USDT, amount)
    assert bench.history()[0]["amount"] == recorded


def test_the_cap_counts_the_invested_amount(bench):
    bench.invest(Flex.CAPPED, "1990")
    assert bench.flex("investments/invest", plan=Flex.CAPPED, amount="11") == refusal(
        422, 0, amount="Investment limit is exceeded"
    )
    bench.invest(Flex.CAPPED, "10")


def test_the_whole_balance_can_be_invested(bench):
    bench.invest(Flex.USDT, "10000")
    assert bench.balance() == "0"
    assert bench.flex("investments/invest", plan=Flex.USDT_LARGE, amount="1000") == refusal(
        422, 4, amount="Available 0 < 1000"
    )


def test_order_of_the_inner_rules(bench):
    bench.exchange.change("plan", Flex.CAPPED, cap=0)
    assert bench.flex("investments/invest", plan=Flex.CAPPED, amount="1")[1]["code"] == 2
    assert bench.flex("investments/invest", plan=Flex.CAPPED, amount="60000")[1]["code"] == 3
    assert bench.flex("investments/invest", plan=Flex.CAPPED, amount="6000") == refusal(
        422, 0, amount="Investment limit is exceeded"
    )


def test_partial_withdrawal(bench):
    bench.invest(Flex.USDT, "100")
    status, answer = bench.flex("investments/withdraw", plan=Flex.USDT, amount="90")
    assert status == 201
    assert bench.balance() == "9990"
    (newest, _) = bench.history()
    assert (newest["transaction_id"], newest["actionType"], newest["amount"]) == (
        answer["data"]["transaction_id"],
        3,
        "90",
    )
    assert bench.flex("investments")[1]["data"][0]["invested"] == "10"


def test_withdrawing_everything_closes(bench):
    bench.invest(Flex.USDT, "100")
    status, answer = bench.flex("investments/withdraw", plan=Flex.USDT, amount="100.0")
    assert status == 201
    assert [(row["actionType"], row["amount"]) for row in bench.history()] == [(5, "100"), (6, "100")]
    assert bench.history()[0]["transaction_id"] == answer["data"]["transaction_id"]
    (investment,) = bench.flex("investments")[1]["data"]
    assert (investment["status"], investment["invested"]) == (0, "0")
    assert bench.balance() == "10000"


def test_close_and_open_again(bench):
    bench.invest(Flex.USDT, "100", withReinvest=True)
    status, answer = bench.flex("investments/close", plan=Flex.USDT)
    assert status == 201
    assert bench.history()[0] | {"investmentId": ""} == {
        "createdAt": START,
        "planId": Flex.USDT,
        "investmentId": "",
        "currency": "USDT",
        "amount": "100",
        "transaction_id": answer["data"]["transaction_id"],
        "actionType": 5,
    }
    bench.invest(Flex.USDT, "10")
    new, old = bench.flex("investments")[1]["data"]
    assert (new["status"], old["status"]) == (1, 0)
    assert old["withAutoReinvest"] is False
    assert new["id"] != old["id"]
    assert bench.history()[0]["actionType"] == 6


@pytest.mark.parametrize(
    ("held", "params", "expected"),
    [
        (None, {"plan": "no such plan"}, refusal(400, 0, plan="The selected plan is invalid.")),
        (None, {}, refusal(422, 0, amount="Investment does not exist")),
        ("closed", {}, refusal(422, 0, investment="Cannot withdraw from closed investment")),
        ("100", {"amount": "0"}, refusal(422, 0, amount="Withdraw amount is too small")),
        ("100", {"amount": "-1"}, refusal(422, 0, amount="Withdraw amount is too small")),
        ("100", {"amount": "100.000001"}, refusal(422, 0, amount="Withdraw amount exceeds total invested")),
        ("100", {"amount": "90.000001"}, refusal(422, 0, minAmountLeft="Amount left < min investment")),
    ],
)
def test_withdraw_refused(bench, held, params, expected):
    if held == "closed":
        bench.invest(Flex.USDT, "50")
        bench.flex("investments/close", plan=Flex.USDT)
    elif held:
        bench.invest(Flex.USDT, held)
    before = bench.exchange.ledger_view()["accounts"]
    assert bench.flex("investments/withdraw", **({"plan": Flex.USDT, "amount": "50"} | params)) == expected
    assert bench.exchange.ledger_view()["accounts"] == before


def test_smallest_withdrawal(bench):
    bench.invest(Flex.MIN_WITHDRAW, "100")
    assert bench.flex("investments/withdraw", plan=Flex.MIN_WITHDRAW, amount="0.999999") == refusal(
        422, 0, amount="Cannot withdraw amount < min possible"
    )
    assert bench.flex("investments/withdraw", plan=Flex.MIN_WITHDRAW, amount="1")[0] == 201


def test_close_refused(bench):
    assert bench.flex("investments/close", plan="x") == refusal(400, 0, plan="The selected plan is invalid.")
    assert bench.flex("investments/close") == refusal(400, 0, plan="The selected plan is invalid.")
    assert bench.flex("investments/close", plan=Flex.USDT) == refusal(422, 0, amount="Investment does not exist")
    bench.invest(Flex.USDT, "10")
    assert bench.flex("investments/close", plan=Flex.USDT)[0] == 201
    closed = refusal(422, 0, investment="Cannot withdraw from closed investment")
    assert bench.flex("investments/close", plan=Flex.USDT) == closed


@pytest.mark.parametrize("status", ["paused", "unavailable"])
def test_a_plan_that_is_not_open_can_only_be_closed(bench, status):
    bench.invest(Flex.USDT, "100")
    bench.exchange.change("plan", Flex.USDT, status=status)
    for amount in ("50", "100"):
        refused = bench.flex("investments/withdraw", plan=Flex.USDT, amount=amount)
        assert refused == refusal(400, 0, plan="The selected plan is invalid.")
    assert bench.flex("investments/close", plan=Flex.USDT)[0] == 201


def test_other_users_investments_are_invisible(bench):
    bench.invest(Flex.USDT, "100")
    investment = bench.flex("investments")[1]["data"][0]["id"]
    bench.key, bench.secret = "sandbox-key-second-user", "sandbox-secret-second-user"
    assert bench.flex("investments/close", plan=Flex.USDT) == refusal(422, 0, amount="Investment does not exist")
    assert bench.flex("investments")[1]["data"] == []
    assert bench.history() == []
    assert bench.flex("investments", investment=investment)[0] == 400


def test_auto_invest(bench):
    bench.invest(Flex.USDT, "10")
    for params, shown in (
        ({"enabled": True}, True),
        ({}, False),
        ({"enabled": True}, True),
        ({"enabled": False}, False),
    ):
        assert bench.flex("investments/auto-invest", plan=Flex.USDT, **params) == (200, {"data": []})
        assert bench.flex("investments")[1]["data"][0]["withAutoReinvest"] is shown
    assert len(bench.history()) == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, refusal(400, 0, plan="The plan field is required.")),
        ({"plan": ""}, refusal(400, 0, plan="The plan field is required.")),
        ({"plan": "x"}, refusal(400, 0, plan="The selected plan is invalid.")),
        ({"plan": [Flex.USDT]}, refusal(400, 0, plan="The selected plan is invalid.")),
        (
            {"enabled": "true"},
            refusal(400, 0, plan="The plan field is required.", enabled="The enabled field must be true or false."),
        ),
        ({"plan": Flex.USDT, "enabled": 1}, refusal(400, 0, enabled="The enabled field must be true or false.")),
        ({"plan": Flex.USDT}, refusal(422, 0, plan="No existing investments for this plan")),
    ],
)
def test_auto_invest_refused(bench, params, expected):
    assert bench.flex("investments/auto-invest", **params) == expected


def test_auto_invest_of_a_closed_investment(bench):
    bench.invest(Flex.USDT, "10")
    bench.flex("investments/close", plan=Flex.USDT)
    assert bench.flex("investments/auto-invest", plan=Flex.USDT) == refusal(
        422, 0, plan="No existing investments for this plan"
    )


@pytest.fixture
def busy(bench):
    """Three investments: an old closed one and an active one in USDT, one in BTC; 70 minutes, 5 transactions."""
    bench.invest(Flex.USDT, "100")
    bench.pass_time(seconds=60)
    bench.flex("investments/close", plan=Flex.USDT)
    bench.pass_time(seconds=60)
    bench.invest(Flex.USDT, "200")
    bench.pass_time(seconds=60)
    bench.invest(Flex.BTC, "0.5")
    bench.pass_time(seconds=60)
    bench.flex("investments/withdraw", plan=Flex.USDT, amount="20")
    return bench


def test_investments_filtered(busy):
    def ids(**params):
        return [row["id"] for row in busy.flex("investments", **params)[1]["data"]]

    bitcoin, active, closed = ids()
    assert ids(ticker="USDT") == [active, closed]
    assert ids(plan=Flex.USDT) == [active, closed]
    assert ids(investmentStatus=1) == [bitcoin, active]
    assert ids(investmentStatus=0) == [closed]
    assert ids(investmentStatus="0") == [closed]
    assert ids(investment=active) == [active]
    assert ids(investment=active, investmentStatus=0) == []
    assert ids(limit=1, offset=1) == [active]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ticker", "DOGE", "ticker"),
        ("plan", "x", "plan"),
        ("plan", 1, "plan"),
        ("investment", "inv_x", "investment"),
        ("investment", "\ud800", "investment"),
        ("investment", [], "investment"),
        ("investmentStatus", 2, "investment status"),
        ("investmentStatus", "active", "investment status"),
        ("investmentStatus", [], "investment status"),
    ],
)
def test_investments_refused(busy, field, value, words):
    expected = refusal(400, 0, **{field: f"The selected {words} is invalid."})
    assert busy.flex("investments", **{field: value}) == expected


def test_history_filtered(busy):
    def rows(**params):
        return [(row["actionType"], row["amount"]) for row in busy.history(**params)]

    everything = [(3, "20"), (6, "0.5"), (6, "200"), (5, "100"), (6, "100")]
    assert rows() == everything
    assert rows(plan=Flex.BTC) == [(6, "0.5")]
    assert rows(actionTypes=[3, 5]) == [(3, "20"), (5, "100")]
    assert rows(actionTypes=[]) == everything
    assert rows(dateFrom=START + 60, dateTo=START + 120) == [(6, "200"), (5, "100")]
    assert rows(dateFrom=str(START + 121)) == [(3, "20"), (6, "0.5")]
    assert rows(dateTo=START - 1) == []
    assert rows(limit=2, offset=1) == everything[1:3]
    newest = busy.history()[0]
    assert rows(transaction=newest["transaction_id"]) == [(3, "20")]
    assert rows(investment=newest["investmentId"]) == [(3, "20"), (6, "200")]
    assert busy.flex("investments/history")[1]["limit"] == 50


def test_history_dates_include_the_whole_second(bench):
    bench.pass_time(seconds=0.999)
    bench.invest(Flex.USDT, "10")
    assert len(bench.history(dateFrom=START, dateTo=START)) == 1


@pytest.mark.parametrize("call", ["investments/history", "investments/payment-history"])
@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"plan": "x"}, {"plan": "The selected plan is invalid."}),
        ({"investment": "x"}, {"investment": "The selected investment is invalid."}),
        ({"transaction": "x"}, {"transaction": "The selected transaction is invalid."}),
        ({"transaction": 1}, {"transaction": "The selected transaction is invalid."}),
        ({"dateFrom": "yesterday"}, {"dateFrom": "The date from is invalid."}),
        ({"dateTo": -1}, {"dateTo": "The date to is invalid."}),
        ({"dateTo": True}, {"dateTo": "The date to is invalid."}),
        ({"dateTo": 10**12}, {"dateTo": "The date to is invalid."}),
        ({"limit": 0}, {"limit": "The limit must be at least 1."}),
    ],
)
def test_histories_refused(bench, call, params, errors):
    assert bench.flex(call, **params) == refusal(400, 0, **errors)


@pytest.mark.parametrize("call", ["investments", "investments/history", "investments/payment-history"])
def test_a_large_limit_is_cut(bench, call):
    assert bench.flex(call, limit=500) == (200, {"data": [], "limit": 100, "offset": 0})


def test_action_types_refused(bench):
    assert bench.flex("investments/history", actionTypes=1) == refusal(
        400, 0, actionTypes="The action types must be an array."
    )
    assert bench.flex("investments/history", actionTypes=[7, 1, None]) == refusal(
        400,
        0,
        **{
            "actionTypes.0": "The selected action type is invalid.",
            "actionTypes.2": "The selected action type is invalid.",
        },
    )
    assert bench.flex("investments/payment-history", actionTypes=7)[0] == 200


def test_payment_history_lists_only_earnings(busy):
    assert busy.flex("investments/payment-history") == (200, {"data": [], "limit": 50, "offset": 0})


def test_identifiers_come_from_the_seed(make_bench):
    one, same, other = make_bench(seed=1), make_bench(seed=1), make_bench(seed=2)
    first = one.invest(Flex.USDT, "10")
    assert same.invest(Flex.USDT, "10") == first
    assert other.invest(Flex.USDT, "10") != first


def test_transactions_are_in_order(busy):
    assert [(row["action"], row["amount"]) for row in busy.exchange.transactions()] == [
        (6, "100"),
        (5, "100"),
        (6, "200"),
        (6, "0.5"),
        (3, "20"),
    ]


def test_transactions_name_the_nonce_of_their_request(bench):
    transaction = bench.invest(Flex.USDT, "10", nonce=bench.clock.now)
    assert bench.exchange.transactions() == [
        {
            "at_ms": bench.clock.now,
            "account": "main:sandbox",
            "plan": Flex.USDT,
            "investment": bench.flex("investments")[1]["data"][0]["id"],
            "ticker": "USDT",
            "amount": "10",
            "transaction_id": transaction,
            "action": 6,
            "nonce": bench.clock.now,
        }
    ]
