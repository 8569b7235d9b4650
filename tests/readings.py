"""Every call that reads, with a whole answer to it; and a client whose answers a test gives."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock

MAIN = "/api/v4/main-account"
FLEX, FIXED = f"{MAIN}/smart-flex", f"{MAIN}/smart"
NOW = pendulum.datetime(2026, 3, 1, 12, tz="UTC")
SECOND = NOW.int_timestamp
DAY = 86_400
FLEX_PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"

FIXED_PLAN = {
    "id": "fixed-1",
    "ticker": "USDT",
    "status": 1,
    "percent": "2",
    "duration": 43_200,
    "interestTicker": "USDT",
    "interestRatio": "1",
    "minInvestment": "10",
    "maxInvestment": "1000",
    "maxPossibleInvestment": "500",
}


def _flex_plan(name: str, ticker: str, rate: str) -> dict[str, Any]:
    return {"id": name, "ticker": ticker, "minInvestment": "10", "maxInvestment": "100000", "maxRate": rate}


def _flex_investment(name: str, plan: str, ticker: str, status: int) -> dict[str, Any]:
    times = {"createdAt": SECOND - 40 * DAY, "updatedAt": SECOND - DAY}
    fixed = {"id": name, "planId": plan, "currency": ticker, "invested": "500", "withAutoReinvest": True}
    return {**fixed, "status": status, **times}


def _transaction(number: int, action: int, amount: str) -> dict[str, Any]:
    names = {"planId": FLEX_PLAN, "investmentId": "inv-1", "currency": "USDT", "transaction_id": f"tx-{number}"}
    return {"createdAt": SECOND - number * DAY, **names, "amount": amount, "actionType": action}


def _fixed_investment(name: str, status: int) -> dict[str, Any]:
    times = {"created": SECOND - 5 * DAY, "updated": SECOND - 4 * DAY, "paymentTime": SECOND + 25 * DAY}
    return {"id": name, "plan": dict(FIXED_PLAN), "status": status, **times, "amount": "100", "interestPaid": "0"}


#: A whole answer to each call, by its path.
ANSWERS: dict[str, Any] = {
    "/api/v4/public/time": {"time": SECOND},
    "/api/v4/public/assets": {
        ticker: {"name": ticker, "can_withdraw": True, "can_deposit": True, "currency_precision": 8}
        for ticker in ("USDT", "BTC", "JUNK")
    },
    f"{MAIN}/balance": {ticker: {"main_balance": "1000"} for ticker in ("USDT", "BTC", "JUNK")},
    "/api/v4/trade-account/balance": {ticker: {"available": "5", "freeze": "1"} for ticker in ("USDT", "BTC", "JUNK")},
    "/api/v4/collateral-account/balance": {"USDT": "7", "BTC": "0.1", "JUNK": "2"},
    f"{FLEX}/plans": [
        _flex_plan(FLEX_PLAN, "USDT", "0.15"),
        _flex_plan("flex-2", "USDT", "0.12"),
        _flex_plan("flex-3", "BTC", "0.01"),
    ],
    f"{FLEX}/investments": {
        "data": [
            _flex_investment("inv-1", FLEX_PLAN, "USDT", 1),
            _flex_investment("inv-2", "flex-2", "USDT", 0),
            _flex_investment("inv-3", "flex-3", "BTC", 1),
        ],
        "limit": 100,
        "offset": 0,
    },
    f"{FLEX}/investments/history": {
        "data": [_transaction(1, 4, "0.2"), _transaction(1, 2, "0.2"), _transaction(40, 1, "500")],
        "limit": 100,
        "offset": 0,
    },
    f"{FLEX}/investments/payment-history": {
        "data": [_transaction(1, 4, "0.2"), _transaction(2, 4, "0.2"), _transaction(3, 4, "0.2")],
        "limit": 100,
        "offset": 0,
    },
    f"{FIXED}/plans": [dict(FIXED_PLAN), {**FIXED_PLAN, "id": "fixed-2", "percent": "1"}],
    f"{FIXED}/investments": {
        "records": [_fixed_investment("fix-1", 1), _fixed_investment("fix-2", 2)],
        "limit": 100,
        "offset": 0,
    },
    f"{FIXED}/interest-payment-history": {
        "records": [
            {
                "planId": "fixed-1",
                "investmentId": "fix-2",
                "amount": "2",
                "ticker": "USDT",
                "timestamp": SECOND - DAY,
            }
        ],
        "limit": 100,
        "offset": 0,
    },
}

_ACTIVITY = {"base_id": 1, "quote_id": 825, "quote_volume": "43341942.9", "base_volume": "4723.28", "change": "0.57"}
_MAIN_TRANSACTION = {
    "createdAt": SECOND - 2 * DAY,
    "transaction_id": "main-1",
    "method": 1,
    "ticker": "USDT",
    "amount": "50",
    "fee": "0",
    "status": 3,
    "network": None,
    "address": "0x1",
    "memo": "",
    "unique_id": None,
    "transactionHash": "0x2",
    "description": "",
}
_SUB_ACCOUNT = {"id": "sub-1", "alias": "a", "userId": "u", "email": "a@b", "status": "active", "permissions": {}}
_SUB_TRANSFER = {"createdAt": SECOND - DAY, "transaction_id": "sub-tx", "direction": "main_to_sub", "currency": "USDT"}
ANSWERS |= {
    "/api/v4/public/platform/status": {"status": "system operational"},
    "/api/v4/public/ticker": {
        "BTC_USDT": {**_ACTIVITY, "last_price": "100000", "isFrozen": False},
        "ETH_BTC": {**_ACTIVITY, "last_price": "0.04", "isFrozen": True},
        "USDT_EUR": {**_ACTIVITY, "last_price": "0.8", "isFrozen": False},
    },
    f"{MAIN}/history": {"records": [_MAIN_TRANSACTION], "total": 1, "limit": 100, "offset": 0},
    "/api/v4/sub-account/list": {"data": [_SUB_ACCOUNT], "limit": 100, "offset": 0},
    "/api/v4/sub-account/balances": {
        ticker: {"main": "2", "spot": "0", "collateral": "1"} for ticker in ("USDT", "BTC", "JUNK")
    },
    "/api/v4/sub-account/transfer/history": {"data": [{**_SUB_TRANSFER, "amount": "5"}], "limit": 100, "offset": 0},
}

Read = Callable[[WhiteBitClient], Any]
#: Each reading method of the client, with the path of its call.
CALLS: dict[str, tuple[str, Read]] = {
    "server_time": ("/api/v4/public/time", lambda client: client.server_time()),
    "assets": ("/api/v4/public/assets", lambda client: client.assets()),
    "main_balance": (f"{MAIN}/balance", lambda client: client.main_balance()),
    "trade_balance": ("/api/v4/trade-account/balance", lambda client: client.trade_balance()),
    "collateral_balance": ("/api/v4/collateral-account/balance", lambda client: client.collateral_balance()),
    "flex_plans": (f"{FLEX}/plans", lambda client: list(client.flex_plans())),
    "flex_investments": (f"{FLEX}/investments", lambda client: list(client.flex_investments())),
    "flex_history": (f"{FLEX}/investments/history", lambda client: list(client.flex_history())),
    "flex_payments": (f"{FLEX}/investments/payment-history", lambda client: list(client.flex_payments())),
    "fixed_plans": (f"{FIXED}/plans", lambda client: client.fixed_plans()),
    "fixed_investments": (f"{FIXED}/investments", lambda client: list(client.fixed_investments())),
    "platform_status": ("/api/v4/public/platform/status", lambda client: client.platform_status()),
    "market_activity": ("/api/v4/public/ticker", lambda client: client.market_activity()),
    "main_history": (f"{MAIN}/history", lambda client: list(client.main_history())),
    "sub_accounts": ("/api/v4/sub-account/list", lambda client: list(client.sub_accounts())),
    "sub_account_balances": (
        "/api/v4/sub-account/balances",
        lambda client: client.sub_account_balances("sub-1"),
    ),
    "sub_account_transfers": (
        "/api/v4/sub-account/transfer/history",
        lambda client: list(client.sub_account_transfers("sub-1")),
    ),
    "fixed_payments": (f"{FIXED}/interest-payment-history", lambda client: list(client.fixed_payments())),
}


def _rest(entries: Any, offset: int) -> Any:
    """What a page at an offset has of a list, or of an object in its place."""
    if isinstance(entries, dict):
        return dict(list(entries.items())[offset:])
    return entries[offset:] if isinstance(entries, list) else entries


class FakeTransport:
    """Answers each call from a table, without a socket, page by page.

    :param answers: decoded answers by path.
    """

    def __init__(self, answers: Mapping[str, Any] = ANSWERS) -> None:
        self.answers = dict(answers)
        self.clock = ExchangeClock(lambda: SECOND * 1000)

    def _repeatable(self, path: str, params: Mapping[str, Any] | None = None, **_: Any) -> Any:
        answer, offset = self.answers[path], (params or {}).get("offset", 0)
        if not offset:
            return answer
        if isinstance(answer, dict):
            return {name: _rest(value, offset) for name, value in answer.items()}
        return _rest(answer, offset)

    def close(self) -> None:
        pass


def client_of(answers: Mapping[str, Any] = ANSWERS) -> WhiteBitClient:
    """A client that gets these answers."""
    return WhiteBitClient(FakeTransport(answers))  # type: ignore[arg-type]


def answers_with(path: str, answer: Any) -> dict[str, Any]:
    """Whole answers to all calls but one."""
    return {**ANSWERS, path: answer}


def decoded(text: str) -> Any:
    """JSON as the client decodes it."""
    return json.loads(text, parse_float=Decimal)


def changed(path: str, field: str, value: Any, *, absent: bool = False) -> dict[str, Any]:
    """Whole answers to all calls, but for one field of one of them.

    :param field: names and positions on the way to it, for example ``data.0.maxRate``; empty for the whole answer.
    :param absent: leave it out instead of setting it.
    """
    if not field:
        return answers_with(path, value)
    answer = copy.deepcopy(ANSWERS[path])
    *way, last = [int(part) if part.isdecimal() else part for part in field.split(".")]
    inside = answer
    for part in way:
        inside = inside[part]
    if absent:
        del inside[last]
    else:
        inside[last] = value
    return answers_with(path, answer)


def moment(days: int) -> datetime:
    """Midnight some days before now."""
    return datetime.fromtimestamp(SECOND // DAY * DAY - days * DAY, UTC)
