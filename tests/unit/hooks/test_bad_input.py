"""Bad input of every kind: each is a clear error, and nothing is sent that should not be."""

# ruff: noqa: RUF001

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.api import FIXED, FLEX, MAIN_BALANCE, TRADE_BALANCE, WhiteBitClient
from airflow_provider_whitebit.client.models import FlexAction, FlexActionType
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer
from airflow_provider_whitebit.hooks import executor as module
from airflow_provider_whitebit.hooks.settings import read_settings
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.operators import account, fixed, flex
from tests.sandbox_plans import SubAccounts

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
TERM = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"

AMOUNTS = [
    # not numbers
    "",
    " ",
    "x",
    "ten",
    "1O0",
    "0x10",
    "1_000",
    "1,000",
    "1.000,50",
    "1 000",
    "10 USDT",
    "$10",
    "10%",
    "1/2",
    "--1",
    "+5",
    "-5",
    "-0",
    "-0.0",
    "0",
    "0.0",
    "0.000000",
    "00",
    ".5",
    "5.",
    "1.2.3",
    "1..2",
    "1e5",
    "1E-3",
    "1e999999999",
    "NaN",
    "nan",
    "sNaN",
    "Infinity",
    "-inf",
    "inf",
    "None",
    "null",
    "true",
    "all the rest",
    "everything",
    # types
    None,
    True,
    False,
    [],
    {},
    ["10"],
    {"amount": "10"},
    (10,),
    b"10",
    object(),
    10.0,
    0.1,
    float("nan"),
    float("inf"),
    1j,
    Decimal("NaN"),
    Decimal("Infinity"),
    Decimal("-1"),
    Decimal("0"),
    0,
    -10,
    # sizes and decimals
    "9" * 31,
    "1" + "0" * 100,
    10**40,
    "0." + "1" * 31,
    "10.1234567",
    "10.0000001",
    Decimal("10.0000001"),
    "9.999999",
    "100000.000001",
    "9",
    # encodings and injection
    "１００",
    "١٠٠",
    "10\u200b",
    "10\x00",
    "10\n20",
    "½",
    "10\u00a0000",
    "{{ ds }}",
    "{{ 7*7 }}",
    "${10}",
    "'; DROP TABLE x",
    '10","plan":"x',
    "<10>",
    "\ud800",
]
SUB_TRANSFER = {"sub_account_id": SubAccounts.TRADING, "direction": "main_to_sub", "ticker": "USDT", "amount": "10"}
#: Too little for a plan, but not for a transfer.
FITS_A_TRANSFER = ("9", "9.999999")
TICKERS = [
    " ",
    "US DT",
    "USDT;",
    "USDT'",
    "../USDT",
    "USDT/BTC",
    "USDT\x00",
    "ＵＳＤＴ",
    "ÜSDT",
    "{{ ticker }}",
    "$USDT",
    "-",
    "A" * 21,
    "A" * 100_000,
    "NOSUCH",
    "usdd",
    5,
    True,
    ["USDT"],
    {"ticker": "USDT"},
    b"USDT",
    "USDT,BTC",
    "*",
    "%",
    "\ud800",
]
PLANS = [
    " ",
    "x",
    "8f2e9d3c",
    PLAN[:-1],
    PLAN + "0",
    PLAN.replace("8", "g"),
    PLAN + "\n" + PLAN,
    f"{PLAN}' OR 1=1",
    "{{ plan }}",
    "../../" + PLAN,
    5,
    5.5,
    True,
    [PLAN],
    {"id": PLAN},
    b"x",
    "00000000-0000-0000-0000-000000000000",
    "x" * 100_000,
    "\u202e" + PLAN,
    "inv_1",
]
ACCOUNTS = ["", " ", "Main ", "mein", "main,spot", "wallet", None, 5, True, ["main"], "main\x00", "{{ a }}"]
DAYS = ["x", "0", 0, -1, "-5", "1.5", 1.5, True, "ten", "9" * 10, [], "１０"]
IDENTIFIERS = ["", " ", "a b", "a/b", "a'b", "x" * 65, "{{ id }}", "a\x00", "ä", 5.5, True, [], {}, b"x"]
NUMBERS = ["x", "0", "-1", "1.5", "1e3", True, "１", "many", " ", "0x1", [1]]
MOMENTS = [
    "yesterday",
    "2026-13-01",
    "2026-02-30T00:00:00+00:00",
    "12:00",
    "-5",
    "1.5",
    "{{ ds }}x",
    "2026-01-01T99:00",
]
CONNECTIONS = [
    {"login": None},
    {"login": ""},
    {"login": " "},
    {"login": "key\nX: y"},
    {"login": "schlüssel"},
    {"password": None},
    {"password": ""},
    {"host": "ftp://whitebit.com"},
    {"host": "https://evil.example"},
    {"host": "https://whitebit.com.evil.example"},
    {"host": "https://whitebit.com@evil.example"},
    {"host": "https://user:pass@whitebit.com"},
    {"host": "whitebit.com/path"},
    {"host": "https://whitebit.com?x=1"},
    {"host": "http://whitebit.com"},
    {"host": "https://"},
    {"host": "https://whitebit.eu"},
    {"host": "https://whi tebit.com"},
    {"host": "javascript:alert(1)"},
    {"host": "http://127.0.0.1:99999"},
    {"extra": {"region": "us"}},
    {"extra": {"region": 5}},
    {"extra": {"timeout": "x"}},
    {"extra": {"timeout": 0}},
    {"extra": {"timeout": -1}},
    {"extra": {"timeout": 1e9}},
    {"extra": {"timeout": True}},
    {"extra": {"read_only": "maybe"}},
    {"extra": {"read_only": 2}},
    {"extra": {"max_move": "x"}},
    {"extra": {"max_move": {"USDT": "x"}}},
    {"extra": {"read_olny": True}},
    {"extra": {"maxmove": {"USDT": "5"}}},
    {"extra": {"allowed_ticker": "USDT"}},
    {"extra": {"max_move": {"USDT": "-1"}}},
    {"extra": {"max_move": ["USDT"]}},
    {"extra": {"max_move": {"U S": "1"}}},
    {"extra": {"allowed_tickers": 5}},
    {"extra": {"allowed_tickers": "U S"}},
    {"extra": {"allowed_tickers": ["USDT", 5]}},
    {"extra": {"reconcile_margin": -1}},
    {"extra": {"reconcile_margin": "x"}},
    {"extra": {"reconcile_margin": 10**9}},
    {"extra": {"verify_tls": "sometimes"}},
    {"extra": {"nonce_window": "x"}},
    {"extra": {"allow_custom_host": "x"}},
]
ANSWERS = [
    b"",
    b" ",
    b"null",
    b"true",
    b"5",
    b'"x"',
    b"[",
    b"{",
    b"[]x",
    b"\xff\xfe",
    b"\x00",
    b"<html></html>",
    b"NaN",
    b"Infinity",
    b"{}",
    b'{"data":5}',
    b'{"data":[5]}',
    b'{"data":[null]}',
    b'{"data":[[]]}',
    b'{"data":["x"]}',
    b'{"data":[{}]}',
    b'{"records":5}',
    b'{"data":[{"transaction_id":"x"}]}',
    b'{"data":[{"createdAt":"x","amount":"1","transaction_id":"t","actionType":1}]}',
    b'{"data":[{"createdAt":1,"amount":"x","transaction_id":"t","actionType":1}]}',
    b'{"data":[{"createdAt":1,"amount":"NaN","transaction_id":"t","actionType":1}]}',
    b'{"data":[{"createdAt":1,"amount":"1","transaction_id":"t","actionType":1.5}]}',
    b'{"data":[{"createdAt":1,"amount":"1","transaction_id":"t","actionType":"x"}]}',
    b'{"data":[{"createdAt":1,"amount":"1","actionType":1}]}',
    b'{"data":[{"createdAt":1e30,"amount":"1","transaction_id":"t","actionType":1}]}',
    b'{"data":[{"createdAt":-1e18,"amount":"1","transaction_id":"t","actionType":1}]}',
    b'{"data":[{"createdAt":1,"amount":true,"transaction_id":"t","actionType":1}]}',
    b'{"data":[{"createdAt":1,"amount":["1"],"transaction_id":"t","actionType":1}]}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"success":false,"message":"x"}',
    b'{"code":0,"message":"Something","errors":{}}',
]


class Exchange:
    """Answers reading calls. A call that would move money is recorded as a mistake."""

    def __init__(self, answer=None):
        self.answer = answer
        self.moved = []

    def send(self, method, path, headers, content):
        if path.endswith(("/invest", "/withdraw", "/close", "/investment", "/transfer", "/auto-invest")):
            self.moved.append(path)
        body = self.answer if self.answer is not None else json.dumps(self.known(path, content)).encode()
        return HttpAnswer(200, {}, body)

    def known(self, path, content):
        ticker = json.loads(content or b"{}").get("ticker")
        flex_plan = {"id": PLAN, "ticker": "USDT", "minInvestment": "10", "maxInvestment": "100000", "maxRate": "0.1"}
        fixed_plan = {**flex_plan, "id": TERM, "status": 1, "percent": "1", "duration": 14400}
        held = {"id": "inv_0", "planId": PLAN, "currency": "USDT", "invested": "50", "status": 1}
        return {
            "/api/v4/public/assets": {"USDT": {"currency_precision": 6}, "BTC": {"currency_precision": 8}},
            f"{FLEX}/plans": [flex_plan],
            f"{FLEX}/investments": {"data": [held]},
            f"{FIXED}/plans": [fixed_plan],
            f"{FIXED}/investments": {"records": []},
            # Of a ticker that it does not know, the exchange answers 0.
            MAIN_BALANCE: {"main_balance": "1000" if ticker in ("USDT", "BTC") else "0"},
            "/api/v4/sub-account/balances": {"USDT": [{"main": "0", "spot": "0", "collateral": "0"}]},
            TRADE_BALANCE: {"available": "0", "freeze": "0"},
        }[path]

    def close(self):
        pass


@pytest.fixture
def exchange():
    return Exchange()


@pytest.fixture
def hook(exchange, monkeypatch):
    connection = {"conn_type": "whitebit", "login": "k", "password": "s", "host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(connection))
    made = WhiteBitHook()
    transport = Transport("http://x", Credentials("k", "s"), retry=NO_RETRIES, wire=exchange)
    made.__dict__["_client"] = WhiteBitClient(transport)

    def no_move(execution, **options):
        # Resolving the request checks the rest of the input.
        execution.request.resolve(execution.account)
        raise AssertionError("it would have been sent")

    monkeypatch.setattr(module, "execute_move", no_move)
    return made


def name(value):
    # An address is another one in each process.
    return repr(value).partition(" at 0x")[0][:30].encode("ascii", "backslashreplace").decode()


def refused(call, exchange, kind=e.WhiteBitValidationError):
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert 20 < len(text) < 900, "an error that says what was wrong, and does not repeat a long input"
    assert "No money moved." in text
    assert exchange.moved == []


@pytest.mark.parametrize("amount", AMOUNTS, ids=name)
def test_amounts(hook, exchange, amount):
    refused(lambda: hook.flex_invest(plan_id=PLAN, amount=amount), exchange)
    refused(lambda: hook.fixed_invest(plan_id=TERM, amount=amount), exchange)


@pytest.mark.parametrize("amount", [amount for amount in AMOUNTS if amount not in FITS_A_TRANSFER], ids=name)
def test_amounts_of_transfers(hook, exchange, amount):
    refused(lambda: hook.transfer(ticker="USDT", amount=amount, source="main", target="spot"), exchange)
    refused(lambda: hook.sub_account_transfer(**{**SUB_TRANSFER, "amount": amount}), exchange)


@pytest.mark.parametrize("ticker", TICKERS, ids=name)
def test_tickers(hook, exchange, ticker):
    refused(lambda: hook.flex_invest(ticker=ticker, amount="10"), exchange)
    refused(lambda: hook.flex_withdraw(ticker=ticker, amount="10"), exchange)
    refused(lambda: hook.fixed_invest(ticker=ticker, amount="10"), exchange)
    refused(lambda: hook.transfer(ticker=ticker, amount="10", source="main", target="spot"), exchange)
    refused(lambda: hook.sub_account_transfer(**{**SUB_TRANSFER, "ticker": ticker}), exchange)


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_plans(hook, exchange, plan):
    for move in (hook.flex_invest, hook.fixed_invest):
        refused(lambda move=move: move(plan_id=plan, amount="10"), exchange)


@pytest.mark.parametrize("where", ACCOUNTS, ids=name)
def test_accounts(hook, exchange, where):
    if where == "Main ":
        assert hook.balances(where, "USDT") == {"USDT": 1000}
        return
    refused(lambda: hook.transfer(ticker="USDT", amount="10", source=where, target="spot"), exchange)
    refused(lambda: hook.balances(where), exchange)
    refused(lambda: hook.sub_account_transfer(**{**SUB_TRANSFER, "direction": where}), exchange)


@pytest.mark.parametrize("days", DAYS, ids=name)
def test_terms(hook, exchange, days):
    refused(lambda: hook.fixed_invest(ticker="USDT", days=days, amount="10"), exchange)


@pytest.mark.parametrize("identifier", IDENTIFIERS, ids=name)
def test_identifiers(hook, exchange, identifier):
    refused(lambda: hook.fixed_close(investment_id=identifier), exchange)


@pytest.mark.parametrize("number", NUMBERS, ids=name)
def test_numbers(exchange, number):
    refused(lambda: parsing.read_number("limit", number), exchange)
    refused(lambda: parsing.read_choice("action_types", FlexActionType, FlexAction, number), exchange)


@pytest.mark.parametrize("moment", MOMENTS, ids=name)
def test_moments(exchange, moment):
    refused(lambda: parsing.read_moment("date_from", moment), exchange)


@pytest.mark.parametrize("wrong", CONNECTIONS, ids=name)
def test_connections(exchange, wrong):
    good = {"login": "key", "password": "the-secret", "host": None, "extra": {}}
    refused(lambda: read_settings("conn", **{**good, **wrong}), exchange, e.WhiteBitConfigurationError)
    with pytest.raises(e.WhiteBitConfigurationError) as caught:
        read_settings("conn", **{**good, **wrong})
    assert "the-secret" not in str(caught.value)


@pytest.mark.parametrize("answer", ANSWERS, ids=name)
def test_answers_of_the_exchange(hook, exchange, answer):
    exchange.answer = answer
    client = hook.get_conn()
    readings = [
        lambda: list(client.flex_history()),
        lambda: client.main_balance("USDT"),
        lambda: client.server_time(),
        lambda: client.platform_status(),
        lambda: list(client.fixed_investments()),
    ]
    for reading in readings:
        with pytest.raises(e.WhiteBitError) as caught:
            reading()
        assert caught.value.money_moved is False
        assert len(str(caught.value)) < 900
    assert exchange.moved == []


@pytest.mark.parametrize(
    ("operator", "arguments", "kind"),
    [
        (flex.WhiteBitFlexInvestOperator, {"plan_id": PLAN, "ticker": "USDT", "amount": "1"}, ValueError),
        (fixed.WhiteBitFixedCloseOperator, {"plan_id": PLAN, "ticker": "USDT"}, ValueError),
        (fixed.WhiteBitFixedCloseOperator, {"investment_id": "x", "ticker": "USDT"}, ValueError),
        (flex.WhiteBitFlexWithdrawOperator, {"plan_id": PLAN, "amount": 1.5}, e.WhiteBitValidationError),
        (
            account.WhiteBitTransferOperator,
            {"ticker": "USDT", "amount": 1.5, "source": "main", "target": "spot"},
            e.WhiteBitValidationError,
        ),
    ],
)
def test_what_a_dag_cannot_even_be_written_with(operator, arguments, kind):
    with pytest.raises(kind):
        operator(task_id="t", **arguments)


def test_there_are_at_least_two_hundred():
    tables = (AMOUNTS, TICKERS, PLANS, ACCOUNTS, DAYS, IDENTIFIERS, NUMBERS, MOMENTS, CONNECTIONS, ANSWERS)
    assert sum(map(len, tables)) >= 250
