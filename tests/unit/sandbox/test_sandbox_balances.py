"""Balances and transfers of the sandbox, and every refusal of the vendor's contract."""

from __future__ import annotations

import json

import pytest


def call(bench, path, **params):
    answer = bench.send_call(f"/api/v4/{path}", params)
    return answer.status, json.loads(answer.body)


def transfer(bench, **params):
    return bench.call("transfer", **params)


def held(bench, ticker="USDT"):
    return tuple(
        next(iter(shown.values())) if name == "collateral" else shown.get("available", shown.get("main_balance"))
        for name in ("main", "trade", "collateral")
        for shown in [call(bench, f"{name}-account/balance", ticker=ticker)[1]]
    )


def test_balances(bench):
    assert call(bench, "main-account/balance")[1]["USDT"] == {"main_balance": "10000"}
    assert call(bench, "trade-account/balance") == (200, {})
    bench.exchange.fund("BTC", "2", account="spot")
    assert call(bench, "trade-account/balance") == (200, {"BTC": {"available": "2", "freeze": "0"}})
    assert call(bench, "trade-account/balance", ticker="USDT") == (200, {"available": "0", "freeze": "0"})
    assert call(bench, "collateral-account/balance", ticker="USDT") == (200, {"USDT": "0"})
    assert call(bench, "collateral-account/balance")[1]["USDT"] == "0"
    assert call(bench, "main-account/balance", ticker="NOPE") == (200, {"main_balance": "0"})
    for name, text in (("trade", "Currency was not found."), ("collateral", "ticker is invalid.")):
        expected = {"code": 30, "message": "Validation failed", "errors": {"ticker": [text]}}
        for unknown in ("NOPE", "\ud800"):
            assert call(bench, f"{name}-account/balance", ticker=unknown) == (422, expected)
    for name in ("main", "trade", "collateral"):
        status, answer = call(bench, f"{name}-account/balance", ticker=7)
        assert (status, answer["errors"]) == (400, {"ticker": ["validation.string"]})


def test_transfers_in_both_forms_and_directions(bench):
    for form, after in [
        ({"from": "main", "to": "spot"}, ("9900", "100", "0")),
        ({"from": "spot", "to": "main"}, ("10000", "0", "0")),
        ({"from": "main", "to": "collateral"}, ("9900", "0", "100")),
        ({"from": "collateral", "to": "main"}, ("10000", "0", "0")),
        ({"method": "deposit"}, ("9900", "100", "0")),
        ({"method": "withdraw"}, ("10000", "0", "0")),
        ({"method": "collateral-deposit"}, ("9900", "0", "100")),
        ({"method": "collateral-withdraw"}, ("10000", "0", "0")),
    ]:
        assert transfer(bench, ticker="USDT", amount="100", **form) == (201, [])
        assert held(bench) == after
    assert len(bench.exchange.moves()) == 8
    bench.exchange.audit()


@pytest.mark.parametrize(
    ("params", "status", "code", "errors"),
    [
        (
            {},
            400,
            0,
            {
                "method": ["The method field is required."],
                "ticker": ["The ticker field is required."],
                "amount": ["The amount field is required."],
            },
        ),
        ({"method": "x"}, 400, 0, {"method": ["The selected method is invalid."]}),
        ({"method": 5}, 400, 0, {"method": ["The selected method is invalid."]}),
        (
            {"from": "x", "to": "y"},
            400,
            0,
            {"from": ["The selected from is invalid."], "to": ["The selected to is invalid."]},
        ),
        ({"from": "main"}, 400, 0, {"to": ["The selected to is invalid."]}),
        ({"from": "main", "to": "main"}, 400, 0, {"to": ["The to and from must be different."]}),
        ({"from": "spot", "to": "collateral"}, 400, 0, {"to": ["The selected to is invalid."]}),
        ({"method": "deposit", "ticker": "NOPE"}, 400, 0, {"ticker": ["The selected ticker is invalid."]}),
        ({"method": "deposit", "amount": "x"}, 400, 0, {"amount": ["The amount must be a number.", "Invalid number"]}),
        (
            {"method": "deposit", "amount": "0.000000001"},
            400,
            0,
            {"amount": ["The amount must be a number.", "Invalid number"]},
        ),
        ({"method": "deposit", "amount": "0"}, 400, 0, {"amount": ["The amount must be at least 0.00000001."]}),
        ({"method": "deposit", "amount": "-1"}, 400, 0, {"amount": ["The amount must be at least 0.00000001."]}),
        (
            {"method": "deposit", "amount": "10000.5"},
            422,
            3,
            {"amount": ["You don't have such amount for transfer (available 10000, in amount: 10000.5)"]},
        ),
        (
            {"method": "withdraw"},
            422,
            3,
            {"amount": ["You don't have such amount for transfer (available 0, in amount: 10)"]},
        ),
    ],
)  # fmt: skip
def test_refused_transfers(bench, params, status, code, errors):
    given = {"ticker": "USDT", "amount": "10", **params} if params else {}
    answered, answer = transfer(bench, **given)
    assert (answered, answer["code"], answer["errors"]) == (status, code, errors)
    assert held(bench) == ("10000", "0", "0")


def test_assets_with_transfers_disabled(bench):
    bench.exchange.fund("BTC", "1", account="spot")
    bench.exchange.change("asset", "BTC", deposits=False, withdrawals=False)
    for method, code, text in (("withdraw", 1, "Withdraw from"), ("deposit", 2, "Deposit to")):
        status, answer = transfer(bench, ticker="BTC", amount="0.1", method=method)
        assert (status, answer["code"]) == (422, code)
        assert answer["errors"] == {"currency": [f"{text} this currency is disabled"]}
    assets = json.loads(bench.exchange.handle("GET", "/api/v4/public/assets", {}, b"").body)
    assert (assets["BTC"]["can_deposit"], assets["BTC"]["can_withdraw"]) == (False, False)
    bench.exchange.change("asset", "BTC", withdrawals=True)
    assert transfer(bench, ticker="BTC", amount="0.1", method="withdraw")[0] == 201
    with pytest.raises(ValueError, match="no asset"):
        bench.exchange.change("asset", "NOPE", deposits=True)
