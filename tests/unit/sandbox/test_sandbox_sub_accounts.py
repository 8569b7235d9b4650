"""Sub-accounts of the sandbox, deposits and withdrawals of Main, and every refusal of the vendor's contract."""

from __future__ import annotations

import json

import pytest

TRADING, RESERVE, UNCONFIRMED = (
    "a4b7c8d9-0e1f-4a2b-8c3d-4e5f60718293",
    "b5c8d9e0-1f2a-4b3c-9d4e-5f60718293a4",
    "c6d9e0f1-2a3b-4c4d-8e5f-60718293a4b5",
)
INVALID_ID = {"id": ["The selected id is invalid."]}
BIG_OFFSET = {"offset": ["Offset is too big. Please use offset + limit less than 10000."]}


def call(bench, path, **params):
    answer = bench.send_call(f"/api/v4/{path}", params)
    return answer.status, json.loads(answer.body)


def transfer(bench, sub_account=TRADING, direction="main_to_sub", ticker="USDT", amount="100"):
    status, answer = call(
        bench, "sub-account/transfer", id=sub_account, direction=direction, ticker=ticker, amount=amount
    )
    assert status == 200, answer
    return answer["transaction_id"]


def held(bench, sub_account=TRADING, ticker="USDT"):
    return call(bench, "sub-account/balances", id=sub_account, ticker=ticker)[1][ticker]


def test_the_list(bench):
    status, answer = call(bench, "sub-account/list")
    assert (status, answer["limit"], answer["offset"]) == (200, 30, 0)
    assert [(one["id"], one["alias"], one["status"]) for one in answer["data"]] == [
        (TRADING, "trading", "active"),
        (RESERVE, "reserve", "active"),
        (UNCONFIRMED, "new", "unconfirmed"),
    ]
    assert answer["data"][0]["permissions"] == {"spotEnabled": True, "collateralEnabled": True}
    assert [one["id"] for one in call(bench, "sub-account/list", search="res")[1]["data"]] == [RESERVE]
    assert [one["id"] for one in call(bench, "sub-account/list", limit=1, offset=1)[1]["data"]] == [RESERVE]
    bench.key, bench.secret = "sandbox-key-second-user", "sandbox-secret-second-user"
    assert call(bench, "sub-account/list")[1]["data"] == []
    assert call(bench, "sub-account/balances", id=TRADING)[1]["errors"] == INVALID_ID


def test_money_moves_there_and_back_and_none_is_lost(bench):
    first = transfer(bench)
    bench.pass_time(seconds=2)
    second = transfer(bench, direction="sub_to_main", amount="30.5")
    assert bench.balance() == "9930.5"
    assert held(bench) == [{"main": "69.5", "spot": "0", "collateral": "0"}]
    assert call(bench, "sub-account/balances", id=TRADING)[1].keys() == bench.exchange.scenario.assets.keys()
    status, answer = call(bench, "sub-account/transfer/history", id=TRADING)
    assert (status, answer["limit"], answer["offset"]) == (200, 100, 0)
    assert answer["data"] == [
        {
            "transaction_id": second,
            "id": second,
            "direction": "sub_to_main",
            "currency": "USDT",
            "amount": "30.5",
            "createdAt": bench.clock.now // 1000,
        },
        {
            "transaction_id": first,
            "id": first,
            "direction": "main_to_sub",
            "currency": "USDT",
            "amount": "100",
            "createdAt": bench.clock.now // 1000 - 2,
        },
    ]
    found = call(bench, "sub-account/transfer/history", id=TRADING, direction="main_to_sub")[1]["data"]
    assert [one["id"] for one in found] == [first]
    assert call(bench, "sub-account/transfer/history", id=RESERVE)[1]["data"] == []
    assert [move["reference"] for move in bench.exchange.moves()] == [first, second]
    assert [one["transaction_id"] for one in bench.exchange.requests_view() if one["transaction_id"]] == [first, second]
    bench.exchange.audit()


def test_history_lag(bench):
    bench.exchange.faults.add("history_lag", seconds=5)
    transfer(bench)
    assert call(bench, "sub-account/transfer/history", id=TRADING)[1]["data"] == []
    bench.pass_time(seconds=5)
    assert len(call(bench, "sub-account/transfer/history", id=TRADING)[1]["data"]) == 1


@pytest.mark.parametrize(
    ("params", "status", "code", "errors"),
    [
        (
            {"id": ..., "direction": ..., "ticker": ..., "amount": ...},
            400,
            0,
            {
                "id": ["The id field is required."],
                "direction": ["The direction field is required."],
                "ticker": ["The ticker field is required."],
                "amount": ["The amount field is required."],
            },
        ),
        ({"id": "nobody"}, 400, 0, INVALID_ID),
        ({"direction": "sideways"}, 400, 0, {"direction": ["The selected direction is invalid."]}),
        ({"ticker": "NOPE"}, 400, 0, {"ticker": ["The selected ticker is invalid."]}),
        ({"amount": "x"}, 400, 0, {"amount": ["The amount must be a number.", "Invalid number"]}),
        ({"amount": "0"}, 400, 0, {"amount": ["The amount must be at least 0.00000001."]}),
        (
            {"amount": "10000.5"},
            422,
            3,
            {"amount": ["You don't have such amount for transfer (available 10000, in amount: 10000.5)"]},
        ),
        (
            {"direction": "sub_to_main"},
            422,
            3,
            {"amount": ["You don't have such amount for transfer (available 0, in amount: 1)"]},
        ),
        ({"id": UNCONFIRMED}, 422, 0, {}),
    ],
)
def test_refused_transfers(bench, params, status, code, errors):
    given = {"id": TRADING, "direction": "main_to_sub", "ticker": "USDT", "amount": "1", **params}
    answered, answer = call(bench, "sub-account/transfer", **given)
    assert (answered, answer["code"], answer["errors"]) == (status, code, errors)
    assert bench.exchange.moves() == []


@pytest.mark.parametrize(
    ("path", "params", "errors"),
    [
        ("list", {"limit": 101}, {"limit": ["The limit may not be greater than 100."]}),
        ("list", {"search": 5}, {"search": ["The search must be a string."]}),
        ("balances", {}, {"id": ["The id field is required."]}),
        ("balances", {"id": "x"}, INVALID_ID),
        ("balances", {"id": TRADING, "ticker": "NOPE"}, {"ticker": ["The selected ticker is invalid."]}),
        ("transfer/history", {}, {"id": ["The id field is required."]}),
        ("transfer/history", {"id": TRADING, "direction": 5}, {"direction": ["The selected direction is invalid."]}),
        ("transfer/history", {"id": TRADING, "limit": 0}, {"limit": ["The limit must be at least 1."]}),
        ("transfer/history", {"id": TRADING, "limit": 100, "offset": 9900}, BIG_OFFSET),
    ],
)
def test_refused_questions(bench, path, params, errors):
    status, answer = call(bench, f"sub-account/{path}", **params)
    assert (status, answer["code"], answer["errors"]) == (400, 0, errors)


@pytest.mark.parametrize("path", ["balances", "transfer/history"])
def test_unconfirmed_sub_accounts(bench, path):
    status, answer = call(bench, f"sub-account/{path}", id=UNCONFIRMED)
    assert (status, answer["message"]) == (422, "Account is not confirmed")
    bench.exchange.change("sub-account", UNCONFIRMED, status="active")
    assert call(bench, f"sub-account/{path}", id=UNCONFIRMED)[0] == 200


class TestMainHistory:
    def test_deposits_and_withdrawals_newest_first(self, bench):
        bench.pass_time(seconds=60)
        bench.exchange.fund("USDT", "25.5")
        bench.exchange.fund("BTC", "1", account="spot")
        bench.exchange.fund("USDT", "5", sub_account=TRADING)
        bench.pass_time(seconds=60)
        bench.exchange.withdraw("USDT", "7")
        transfer(bench)
        status, answer = call(bench, "main-account/history", ticker="USDT")
        assert (status, answer["limit"], answer["offset"], answer["total"]) == (201, 50, 0, 3)
        shown = [(one["method"], one["amount"], one["status"], one["createdAt"]) for one in answer["records"]]
        now = bench.clock.now // 1000
        assert shown == [(2, "7", 3, now), (1, "25.5", 3, now - 60), (1, "10000", 3, now - 120)]
        assert len({one["transaction_id"] for one in answer["records"]}) == 3
        assert answer["records"][0]["currency"] == "Tether"
        assert held(bench)[0]["main"] == "105"

    def test_filters(self, bench):
        bench.exchange.withdraw("USDT", "7")

        def found(**params):
            return [one["amount"] for one in call(bench, "main-account/history", ticker="USDT", **params)[1]["records"]]

        assert found(transactionMethod=1) == ["10000"]
        assert found(transactionMethod=2, limit=500) == ["7"]
        assert found(status=[3, 7]) == ["7", "10000"]
        assert found(status=[4]) == found(address="x") == found(memo="x") == found(offset=2) == []
        assert found(limit=1, offset=1) == ["10000"]

    @pytest.mark.parametrize(
        ("params", "errors"),
        [
            ({"ticker": "NOPE"}, {"ticker": ["The selected ticker is invalid."]}),
            ({"transactionMethod": 3}, {"transactionMethod": ["The selected transaction method is invalid."]}),
            ({"limit": 501}, {"limit": ["The limit may not be greater than 500."]}),
            ({"offset": 10001}, {"offset": ["The offset may not be greater than 10000."]}),
            ({"limit": 0}, {"limit": ["The limit must be at least 1."]}),
            ({"offset": -1}, {"offset": ["The offset must be at least 0."]}),
            ({"limit": "x"}, {"limit": ["The limit must be an integer."]}),
            ({"limit": 100, "offset": 9900}, BIG_OFFSET),
            ({"status": [3, 99, 98]}, {"status": ["The selected status is invalid."]}),
        ],
    )
    def test_refusals(self, bench, params, errors):
        status, answer = call(bench, "main-account/history", **params)
        assert (status, answer["code"], answer["errors"]) == (400, 0, errors)

    def test_rate_limit(self, bench):
        for _ in range(200):
            assert call(bench, "main-account/history")[0] == 201
        assert call(bench, "main-account/history")[0] == 429
        assert call(bench, "main-account/balance")[0] == 200

    @pytest.mark.parametrize(("amount", "words"), [("10001", "holds 10000"), ("0", "above 0")])
    def test_impossible_withdrawals(self, bench, amount, words):
        with pytest.raises(ValueError, match=words):
            bench.exchange.withdraw("USDT", amount)
        with pytest.raises(ValueError, match="no sub-account"):
            bench.exchange.fund("USDT", "1", sub_account="nobody")
